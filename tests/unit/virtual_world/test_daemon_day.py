"""Hours of the slow loop in seconds; the same seed gives the same hours."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reconfigure_daemon.cli.main import app
from reconfigure_daemon.cli.simulate import MOST_CANDIDATES
from reconfigure_daemon.settings import load_settings
from reconfigure_daemon.virtual_world.clairvoyant import look_back
from reconfigure_daemon.virtual_world.daemon_day import Orders, live
from reconfigure_daemon.virtual_world.forecasting import ForecastError, ImperfectForecaster
from reconfigure_daemon.virtual_world.traffic import WindowTraffic
from reconfigure_daemon.virtual_world.window_model import WindowModel
from reconfigure_policies.decision import DecisionTerms
from reconfigure_policies.domain.configuration import ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.decision import DecisionKind
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.objective import Objective, ServiceLevelObjective
from tests.told import words_of

SPACE = ConfigurationSpace(
    (
        Knob("tensor_parallel_size", Tier.COLD, (1, 2, 4), 2),
        Knob("pacing_interval_s", Tier.HOT, (0.0, 0.02, 0.04), 0.0),
        Knob("max_num_seqs", Tier.HOT, (512,), 512),
    )
)
SLO = ServiceLevelObjective(ttft_s=1.0, tpot_s=0.05)
ORDERS = Orders(SPACE, SLO, Objective.ENERGY, DecisionTerms(), SPACE.default())


def windows(rates_rps, prompt=500, output=60, seed=1):
    draw, found = random.Random(seed), []
    for rate_rps in rates_rps:
        n = max(1, round(draw.gauss(rate_rps * 30, (rate_rps * 30) ** 0.5)))
        found.append(WindowTraffic(30.0, n, n * prompt, n * output, 3 * prompt))
    return found


QUIET_THEN_BUSY = windows([10] * 120 + [110] * 120 + [10] * 120)


def test_the_same_seed_gives_the_same_hours():
    """Decisions, joules and all; another seed's forecasts err elsewhere."""
    days = [live(QUIET_THEN_BUSY, ORDERS, WindowModel(SLO), seed) for seed in (1, 1, 2)]
    assert days[0] == days[1]
    assert days[0] != days[2]


def test_it_follows_the_load_and_saves_energy():
    """One GPU while it is quiet, more for the busy hour, named as a shift; the SLO holds, and joules are saved."""
    day = live(QUIET_THEN_BUSY, ORDERS, WindowModel(SLO), 3)
    hindsight = look_back(QUIET_THEN_BUSY, SPACE, WindowModel(SLO))
    gpus = [each["tensor_parallel_size"] for each in day.configurations]
    assert gpus[100] == gpus[350] == 1
    assert gpus[200] > 1
    assert len(day.configurations) == 360
    assert day.shifts[0].factors["arrival_rate_rps"] == pytest.approx(11, rel=0.2)
    assert 3600 < day.shifts[0].at_s <= 3600 + 120
    assert day.attainment > 0.97
    assert hindsight.clairvoyant.energy_j < day.energy_j < hindsight.single_account.energy_j
    assert 2 <= day.cold_switches <= 6


def test_hindsight_is_never_worse_than_a_single_configuration():
    """A schedule may stay where the single one is, so it costs no more; both hold the SLO where anything does."""
    hindsight = look_back(QUIET_THEN_BUSY, SPACE, WindowModel(SLO))
    assert hindsight.clairvoyant.energy_j <= hindsight.single_account.energy_j
    assert hindsight.single_account.attainment >= 0.99
    assert hindsight.clairvoyant.attainment >= 0.99


def test_hindsight_tries_nothing_that_is_reserved_for_others():
    """The day itself may not choose it either."""
    gpus = replace(SPACE.knob("tensor_parallel_size"), reserved=((1, frozenset({Objective.ENERGY})),))
    space = ConfigurationSpace((gpus, *SPACE.knobs[1:]))
    quiet = windows([2] * 20)
    chosen = [
        look_back(quiet, space, WindowModel(SLO), objective=o).single for o in (Objective.ENERGY, Objective.BALANCED)
    ]
    assert [each["tensor_parallel_size"] for each in chosen] == [1, 2]


def test_every_redeploy_is_followed_by_its_canary():
    """What was changed is judged, within its time, before anything else is."""
    day = live(QUIET_THEN_BUSY, ORDERS, WindowModel(SLO), 3)
    decisions = [decision for _, decision in day.decisions]
    for index, decision in enumerate(decisions[:-1]):
        if decision.kind is DecisionKind.REDEPLOY and decision.expected:
            assert "canary" in decisions[index + 1].reason or "shifted" in decisions[index + 1].reason


def test_intervals_hold_what_the_model_does():
    """95 of 100 forecasts of joules hold the model's own, errors drawn anew for each configuration and seed."""
    model, context = WindowModel(SLO), WorkloadContext(10.0, 500.0, 60.0)
    truth = ImperfectForecaster(model, tuple(SPACE.enumerate()), ForecastError(0, 0, 0, 0), 0)
    exact = {each.configuration: each.energy_per_output_token_j.median for each in truth.forecasts(context)}
    held = []
    for seed in range(40):
        forecaster = ImperfectForecaster(model, tuple(SPACE.enumerate()), ForecastError(window=0.0), seed)
        for each in forecaster.forecasts(context, with_throughput=False):
            estimate = each.energy_per_output_token_j
            held.append(estimate.low <= exact[each.configuration] <= estimate.high)
    assert 0.9 < sum(held) / len(held) < 0.99


CONFIG = """
space:
  tensor_parallel_size: {values: [1, 2], default: 2}
  pacing_interval_s: {values: [0, 0.02]}
slo: {ttft_s: 1, tpot_s: 0.05}
start_objective: energy
"""


@pytest.fixture
def files(tmp_path):
    config, trace = tmp_path / "config.yaml", tmp_path / "trace.csv"
    config.write_text(CONFIG)
    lines = [f"{second / 2:.3f},400,50" for second in range(2400)]
    trace.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *lines]) + "\n")
    return ["--config", str(config), "--trace", str(trace)]


def test_the_command_tells_what_would_have_been_done_and_saved(files):
    """Beside the best single configuration and the clairvoyant schedule, and that it is an emulation."""
    result = CliRunner().invoke(app, ["simulate", *files])
    assert result.exit_code == 0, result.output
    assert "Emulated, not measured" in result.output
    assert "Redeploy for tensor_parallel_size from 2 to 1" in result.output
    assert "clairvoyant schedule" in result.output


def test_for_programs_it_is_one_document(files):
    """With every decision, and marked as emulated."""
    document = json.loads(CliRunner().invoke(app, ["simulate", *files, "--limit", "10m", "--json"]).output)
    assert document["engine"] == "emulated"
    assert document["span_s"] == 600
    assert document["daemon"]["decisions"][0]["kind"] == "redeploy"
    assert document["saved_j"] == pytest.approx(document["best_single"]["energy_j"] - document["daemon"]["energy_j"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--start", "9h"], "found no request in this part of the trace"),
        (["--day", "--limit", "1h"], "give one of the two"),
        (["--times", "0"], "expected a number above 0"),
    ],
)
def test_what_cannot_be_simulated_is_told(files, options, words):
    """In a sentence, as wrong usage."""
    result = CliRunner().invoke(app, ["simulate", *files, *options])
    assert result.exit_code == 2
    assert words in words_of(result.output)


def test_a_trace_that_is_not_there_is_told(tmp_path):
    """As for `replay`: wrong usage, before anything is read."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    result = CliRunner().invoke(app, ["simulate", "--config", str(config), "--trace", str(tmp_path / "none.csv")])
    assert result.exit_code == 2
    assert "does not exist" in words_of(result.output)


def test_bad_lines_of_a_trace_are_told_and_may_be_left_out(files):
    """The way that is told is one that this verb has."""
    trace = Path(files[-1])
    trace.write_text(trace.read_text().replace("1.000,400,50", "1.000,many,50"))
    refused = CliRunner().invoke(app, ["simulate", *files, "--limit", "10m"])
    assert refused.exit_code == 2
    assert "--skip-bad" in refused.output
    assert CliRunner().invoke(app, ["simulate", *files, "--limit", "10m", "--skip-bad"]).exit_code == 0


def test_the_shipped_space_can_be_simulated(files):
    """Its candidates are within the limit, which the help tells; a space beyond it is refused with the limit."""
    shipped = load_settings(Path(__file__).parents[3] / "config.yaml", {}).configuration_space()
    assert sum(1 for _ in shipped.enumerate()) <= MOST_CANDIDATES
    assert f"at most {MOST_CANDIDATES} candidates" in words_of(CliRunner().invoke(app, ["simulate", "--help"]).output)
    config = Path(files[1])
    many = ", ".join(str(value) for value in range(1, MOST_CANDIDATES // 4 + 2))
    config.write_text(CONFIG.replace("space:", f"space:\n  some_number: {{values: [{many}]}}"))
    refused = CliRunner().invoke(app, ["simulate", *files, "--limit", "1m"])
    assert refused.exit_code == 2
    assert f"found more than {MOST_CANDIDATES} candidates" in words_of(refused.output)


def test_a_window_without_an_occasion_forecasts_nothing(monkeypatch):
    """A steady hour asks a few times, not once a window: forecasts of every candidate are what takes the time."""
    asked = []
    forecasts = ImperfectForecaster.forecasts

    def counted(self, context, **how):
        asked.append(context)
        return forecasts(self, context, **how)

    monkeypatch.setattr(ImperfectForecaster, "forecasts", counted)
    steady = windows([10] * 120)
    live(steady, ORDERS, WindowModel(SLO), 1)
    assert 0 < len(asked) < len(steady) / 2
