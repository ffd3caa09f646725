"""What the daemon does by itself holds by forecast, pays, and is never done too often."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconfigure_policies.decision import DecisionTerms, redecide
from reconfigure_policies.decision.own_changes import free_at
from reconfigure_policies.decision.service_level import broken_limit, most_of
from reconfigure_policies.domain.decision import Author, DecisionKind
from reconfigure_policies.domain.history import OwnChanges
from reconfigure_policies.domain.objective import Objective, ServiceLevelObjective
from tests.unit.decision.forecasts import (
    CANDIDATES,
    FORECASTS,
    NOW,
    OWN,
    PAST,
    SLO,
    SNAPSHOTS,
    SPACE,
    block,
    forecast,
    forecasts_with,
    reserved_for,
    snapshot,
)

TERMS = DecisionTerms()
SWITCHES = st.sampled_from([(), PAST])


def decided(seen, own=None, terms=TERMS, past=PAST):
    return redecide("the workload shifted: arrivals up 2x", seen, SPACE, terms, own or OwnChanges(), past)


def by_configuration(forecasts):
    return {each.configuration: each for each in forecasts}


def eligible_at(judged, seen, own):
    """What boots, is trusted, and holds the SLO by its intervals in these forecasts."""
    usual = by_configuration(seen.forecasts)
    return {
        each.configuration
        for each in judged
        if broken_limit(each, SLO, most_tps=most_of(judged)) is None
        and usual[each.configuration].feasibility >= TERMS.min_feasibility
        and own.trusts(each.configuration, NOW)
    }


@settings(max_examples=60)
@given(SNAPSHOTS, OWN, SWITCHES)
def test_no_change_leads_out_of_the_slo_by_forecast(seen, own, past):
    """It boots, is trusted, and holds the SLO by its intervals at the busiest; where nothing does, at the usual."""
    decision = decided(seen, own, past=past)
    assert decision.author is Author.PLANNER
    SPACE.check(decision.target)
    if decision.kind is DecisionKind.KEEP:
        assert decision.target == seen.enforced
        return
    busy, usual = eligible_at(seen.strained, seen, own), eligible_at(seen.forecasts, seen, own)
    assert decision.target in (busy or usual)


@settings(max_examples=40)
@given(SNAPSHOTS, OWN, SWITCHES)
def test_every_decision_says_why_in_one_sentence(seen, own, past):
    """It names the occasion, and ends with one full stop."""
    reason = decided(seen, own, past=past).reason
    assert "the workload shifted: arrivals up 2x" in reason
    assert reason.endswith(".")
    assert ". " not in reason.replace("e.g. ", "")


@settings(max_examples=60)
@given(SNAPSHOTS, OWN)
def test_redeploys_keep_their_distance(seen, own):
    """None beyond the cap of an hour; within the dwell none but to hold the SLO."""
    decision = decided(seen, own)
    if decision.kind is not DecisionKind.REDEPLOY:
        return
    lately = [at for at in own.redeploys_at if NOW - at < 3600]
    assert len(lately) < TERMS.max_switches_per_hour
    present = next(each for each in seen.strained if each.configuration == seen.enforced)
    if broken_limit(present, SLO, most_tps=most_of(seen.strained)) is None:
        assert all(NOW - at >= TERMS.min_dwell_s for at in own.redeploys_at)


@settings(max_examples=40)
@given(SNAPSHOTS, SWITCHES)
def test_once_there_it_stays(seen, past):
    """The same facts after the change ask for no other one."""
    decision = decided(seen, past=past)
    again = decided(replace(seen, enforced=decision.target), past=past)
    assert again.kind is DecisionKind.KEEP or again.target == decision.target or decision.kind is DecisionKind.KEEP


@given(FORECASTS, st.floats(0.5, 0.999))
def test_what_saves_too_little_is_left_alone(forecasts, least):
    """A change improves the objective by the least share, or the SLO asks for it."""
    seen, terms = snapshot(forecasts), DecisionTerms(min_saving=least, caution=0.0)
    decision = decided(seen, terms=terms)
    now = next(each for each in forecasts if each.configuration == seen.enforced)
    if decision.kind is DecisionKind.KEEP or broken_limit(now, SLO, most_tps=most_of(forecasts)) is not None:
        return
    then = decision.expected["energy_per_output_token_j"].median
    assert 1 - then / now.energy_per_output_token_j.median >= least - 1e-9


def test_what_is_reserved_for_another_objective_is_not_chosen():
    """However much it would save; the next best is."""
    seen = snapshot(forecasts_with(block_64={"energy_j": 0.1}, block_32={"energy_j": 0.15}))
    ours, others = (
        redecide("the workload shifted", seen, reserved_for(64, each), TERMS, OwnChanges(), PAST)
        for each in (Objective.ENERGY, Objective.THROUGHPUT)
    )
    assert (ours.cold, others.cold) == ({"block_size": 64}, {"block_size": 32})


def test_what_is_reserved_for_another_objective_is_left():
    """Though it is the best by far, and although it was redeployed only now."""
    seen = snapshot(forecasts_with(block_64={"energy_j": 0.1}), enforced=block(64))
    own = OwnChanges(redeploys_at=(NOW - 1,))
    decision = redecide("an objective ended", seen, reserved_for(64, Objective.THROUGHPUT), TERMS, own, PAST)
    assert decision.kind is DecisionKind.REDEPLOY
    assert decision.cold["block_size"] != 64
    assert "what is enforced is reserved for other objectives than energy" in decision.reason


def test_a_cheaper_core_that_pays_is_redeployed():
    """With what it costs now and then, both with their intervals, and the joules of the switch against the saving."""
    decision = decided(snapshot(forecasts_with(block_32={"energy_j": 0.2})))
    assert decision.kind is DecisionKind.REDEPLOY
    assert decision.target == block(32)
    assert decision.reason == (
        "Redeploy for block_size from 16 to 32 (cold), since the workload shifted: arrivals up 2x: 0.2 (0.19 to 0.21) "
        "J per output token instead of 0.3 (0.285 to 0.315) J per output token, 33% saved, 360 kJ saved in 60 min "
        "against 7 kJ for the switch (median of 1 switch)."
    )
    assert decision.expected["energy_per_output_token_j"].high == pytest.approx(0.21)


def test_a_switch_that_costs_more_than_it_saves_is_not_made():
    """Nine joules a second for ten minutes do not pay for a switch of 7 kJ."""
    seen = snapshot(forecasts_with(block_32={"energy_j": 0.29}), objective_until=NOW + 600)
    decision = decided(seen, terms=DecisionTerms(min_saving=0.01))
    assert decision.kind is DecisionKind.KEEP
    assert "would not pay: 6 kJ saved in 10 min against 7 kJ for the switch" in decision.reason


def test_a_switch_costs_what_it_did_under_load():
    """Beyond serving. One that moved nothing has no serving in it: until another has, all of it counts."""
    (busy,) = PAST
    idle = replace(busy, measurements={**busy.measurements, "energy_j": 4000.0, "live_requests": 0.0})
    seen = snapshot(forecasts_with(block_32={"energy_j": 0.2}))
    reason = decided(seen, past=(idle, idle)).reason
    assert "against 4 kJ for the switch (median of 2 switches that moved no stream, all their joules)" in reason
    assert "against 7 kJ for the switch (median of 1 switch)" in decided(seen, past=(idle, busy, idle)).reason


def test_before_any_switch_was_measured_the_terms_assume_one():
    """A minute at full power, and the reason says that nothing was measured."""
    decision = decided(snapshot(forecasts_with(block_32={"energy_j": 0.2})), past=())
    assert "against 18 kJ for the switch (no switch measured yet)" in decision.reason


def test_an_emptied_prefix_cache_is_a_cost():
    """A core that serves half of its prompts from the cache starts again with none."""
    context = replace(forecasts_with()[0].context, prefix_hit_share=0.5)
    cached = tuple(replace(each, context=context) for each in forecasts_with(block_32={"energy_j": 0.2}))
    assert "against 71.3 kJ for the switch" in decided(snapshot(cached)).reason


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (OwnChanges(redeploys_at=(NOW - 100,)), "the last redeploy was 100 s ago, and each stays for 600 s"),
        (OwnChanges(redeploys_at=(NOW - 3000,) * 6), "6 redeploys were made in the last hour, of 6 allowed"),
        (
            OwnChanges(redeploys_at=(NOW - 3000,) * 5),
            "5 redeploys were made in the last hour, and the last of 6 allowed is for when the SLO does not hold",
        ),
    ],
)
def test_a_redeploy_that_comes_too_soon_waits(own, words):
    """And says for what."""
    decision = decided(snapshot(forecasts_with(block_32={"energy_j": 0.2})), own)
    assert decision.kind is DecisionKind.KEEP
    assert words in decision.reason


def test_the_last_redeploy_of_an_hour_is_for_the_service_level():
    """A core that was left for savings can be come back to; what saves waits until another hour allows it."""
    made_at = tuple(NOW - 3000 + n for n in range(5))
    own = OwnChanges(redeploys_at=made_at)
    broken = forecasts_with(block_16={"ttft_s": 3.0}, block_64={"ttft_s": 3.0})
    decision = decided(snapshot(broken), own)
    assert (decision.kind, decision.target) == (DecisionKind.REDEPLOY, block(32))
    assert free_at(own, NOW, TERMS) == made_at[0] + 3600
    one = replace(TERMS, max_switches_per_hour=1)
    assert decided(snapshot(forecasts_with(block_32={"energy_j": 0.2})), terms=one).kind is DecisionKind.REDEPLOY
    assert free_at(OwnChanges(), NOW, one) == NOW


def climbing(**facts):
    """A load whose end only one core of three holds, at the usual none is cheaper than what is enforced."""
    strained = tuple(forecast(each, ttft_s=0.2 if each["block_size"] == 64 else 3.0) for each in CANDIDATES)
    given_facts = {"strained": strained, "climbs": True, **facts}
    return snapshot(forecasts_with(block_64={"energy_j": 0.9}), **given_facts)


def test_what_a_climb_comes_to_is_served_in_time():
    """By a dearer core, within the dwell: the present one holds now and would not then."""
    decision = decided(climbing(), OwnChanges(redeploys_at=(NOW - 100,)))
    assert (decision.kind, decision.target) == (DecisionKind.REDEPLOY, block(64))
    assert "TTFT p99 may reach" in decision.reason


@pytest.mark.parametrize(("most_tps", "stays"), [(1120, True), (1100, False)])
def test_a_core_that_a_climb_would_fill_is_left_in_time(most_tps, stays):
    """Its tails may be foretold to hold: nine tenths of what it gives when full is the most that is asked of it."""
    full = {"tps": most_tps}
    fuller = forecasts_with(block_16=full, block_32={"energy_j": 0.5}, block_64=full)
    decision = decided(snapshot(fuller, strained=fuller, climbs=True))
    assert (decision.kind is DecisionKind.KEEP) == stays
    assert stays or decision.target == block(32)
    assert stays or "1000 output tokens/s are asked for of 1100" in decision.reason


def test_where_the_load_fills_every_core_the_most_capable_serves():
    """And stays; one that can give nearly as much is not left for it."""
    full = forecasts_with(block_16={"tps": 900}, block_32={"tps": 1000, "energy_j": 0.5}, block_64={"tps": 980})
    seen = snapshot(full, strained=full, climbs=True)
    there = decided(seen)
    assert there.target == block(64)  # cheaper than block 32, and as capable
    assert "1000 output tokens/s are asked for of 900" in there.reason
    assert decided(replace(seen, enforced=block(64))).kind is DecisionKind.KEEP
    assert decided(replace(seen, enforced=block(32), climbs=False)).kind is not DecisionKind.KEEP  # it saves


def test_without_limits_a_full_core_breaks_nothing():
    """Nor with one on the time per token alone, which a queue does not lengthen."""
    full = forecast(block(16), tps=900)
    assert broken_limit(full, ServiceLevelObjective()) is None
    assert broken_limit(full, ServiceLevelObjective(tpot_s=0.05)) is None
    assert broken_limit(full, SLO) is not None


def test_what_holds_a_climb_stays_whatever_would_save():
    """A load on its way is none to save for."""
    cheaper = forecasts_with(block_32={"energy_j": 0.1})
    decision = decided(snapshot(cheaper, strained=cheaper, climbs=True))
    assert decision.kind is DecisionKind.KEEP
    assert "it holds that, and what saves is decided once the load has settled" in decision.reason
    assert decided(snapshot(cheaper, strained=cheaper)).target == block(32)


def test_where_nothing_surely_holds_a_climb_what_likely_does_is_taken():
    """A wide interval is no reason to stay where the median says that requests would queue up."""
    unsure = tuple(forecast(each, ttft_s=0.9 if each["block_size"] == 64 else 3.0, spread=0.5) for each in CANDIDATES)
    assert decided(climbing(strained=unsure)).target == block(64)
    assert decided(climbing(strained=unsure, climbs=False)).kind is DecisionKind.KEEP


def test_where_nothing_surely_holds_the_busiest_no_core_is_taken_that_likely_would_not():
    """However cheap it is as the workload is; one that likely would may be taken, and what is there stays."""
    cheaper = forecasts_with(block_32={"energy_j": 0.1}, block_64={"energy_j": 0.2})
    likely = {16: 0.9, 32: 1.5, 64: 0.9}
    unsure = tuple(forecast(each, ttft_s=likely[each["block_size"]], spread=0.5) for each in CANDIDATES)
    assert decided(snapshot(cheaper, strained=unsure)).target == block(64)
    assert decided(snapshot(cheaper, strained=unsure, enforced=block(64))).kind is DecisionKind.KEEP
    assert decided(snapshot(cheaper, strained=unsure, enforced=block(32))).kind is DecisionKind.KEEP


def test_while_the_load_climbs_no_core_is_taken_that_could_serve_less():
    """However well its tails are foretold; by its best hot knobs, since these follow the load."""
    strained = tuple(forecast(each, ttft_s=0.2 if each["block_size"] == 64 else 3.0) for each in CANDIDATES)
    less = forecasts_with(block_64={"energy_j": 0.1, "tps": 2000.0})
    more = forecasts_with(block_64={"energy_j": 0.1, "tps": 9000.0})
    assert decided(snapshot(less, strained=strained, climbs=True)).kind is DecisionKind.KEEP
    assert decided(snapshot(more, strained=strained, climbs=True)).target == block(64)
    assert decided(snapshot(less, strained=strained)).target == block(64)


@pytest.mark.parametrize("made_at", [(NOW + 86_400,) * 6, (NOW - 3000, NOW + 86_400, NOW + 86_500)])
def test_redeploys_from_a_clock_that_was_ahead_hold_nothing_back(made_at):
    """What lies in the future since the clock was set right was not made in the last hour."""
    own = OwnChanges(redeploys_at=made_at)
    assert decided(snapshot(forecasts_with(block_32={"energy_j": 0.2})), own).kind is DecisionKind.REDEPLOY
    assert free_at(own, NOW, TERMS) == NOW


def test_a_clock_that_was_ahead_by_seconds_frees_no_redeploy():
    """A small correction just after a redeploy does not end its dwell, nor does it go back to before it."""
    own = OwnChanges(redeploys_at=(NOW + 30,))
    decision = decided(snapshot(forecasts_with(block_32={"energy_j": 0.2})), own)
    assert decision.kind is DecisionKind.KEEP
    assert "the last redeploy was 0 s ago, and each stays for 600 s" in decision.reason
    assert free_at(own, NOW, TERMS) == NOW + 30 + TERMS.min_dwell_s


def test_the_latest_redeploy_counts_though_an_earlier_one_was_told_by_a_clock_ahead():
    """Redeploys told out of order are put in order before the dwell is counted."""
    own = OwnChanges(redeploys_at=(NOW - 100, NOW - 2000))
    decision = decided(snapshot(forecasts_with(block_32={"energy_j": 0.2})), own)
    assert "the last redeploy was 100 s ago" in decision.reason
    assert free_at(own, NOW, TERMS) == NOW - 100 + TERMS.min_dwell_s


def test_what_needs_no_new_core_is_done_meanwhile():
    """While the best must wait, the best hot change is made."""
    forecasts = tuple(
        forecast(each, energy_j=0.2 if each["block_size"] == 32 else 0.25 if each["pacing_interval_s"] else 0.3)
        for each in CANDIDATES
    )
    decision = decided(snapshot(forecasts), OwnChanges(redeploys_at=(NOW - 100,)))
    assert decision.kind is DecisionKind.ADJUST
    assert decision.target["block_size"] == 16
    assert decision.target["pacing_interval_s"] == 0.02


def test_the_governors_knobs_are_left_to_it():
    """What it moves by itself is not moved a second time."""
    forecasts = tuple(forecast(each, energy_j=0.2 if each["pacing_interval_s"] else 0.3) for each in CANDIDATES)
    seen = snapshot(forecasts, governed=frozenset({"pacing_interval_s", "max_num_seqs"}))
    assert decided(seen).kind is DecisionKind.KEEP


def test_what_the_governor_can_mend_is_no_haste():
    """A pace whose tail is foretold too widely is the governor's to judge: another core must save, and pay."""
    pace = frozenset({"pacing_interval_s"})

    def paced(cheaper_j):
        """The present pace is cheap and may break the SLO, that of no other core is known to hold either."""
        return tuple(
            forecast(
                each, **({"energy_j": 0.2, "tpot_s": 0.049} if each["pacing_interval_s"] else {"energy_j": of_core})
            )
            for each in CANDIDATES
            for of_core in [cheaper_j if each["block_size"] == 32 else 0.3]
        )

    there = block(16, pacing_interval_s=0.02)
    alone, governed = (snapshot(paced(0.295), enforced=there, governed=of) for of in (frozenset(), pace))
    assert "TPOT p99 may reach 0.0515 s of 0.05 s" in decided(alone).reason
    assert decided(alone).kind is not DecisionKind.KEEP
    assert decided(governed).kind is DecisionKind.KEEP
    assert (
        "of 6 candidates that hold the SLO its core has the best, 0.3 ("
        in decided(snapshot(paced(0.3), enforced=there, governed=pace)).reason
    )
    saves = decided(replace(governed, forecasts=paced(0.2)))
    assert saves.target == block(32)
    assert (
        "instead of 0.3 (0.285 to 0.315) J per output token, each with the governor's knobs where they" in saves.reason
    )
    soon = decided(replace(governed, forecasts=paced(0.2)), OwnChanges(redeploys_at=(NOW - 100,)))
    assert soon.kind is DecisionKind.KEEP


def test_a_core_that_no_pace_saves_is_left_at_once():
    """What the governor moves cannot mend everything."""
    broken = {"tpot_s": 0.06}
    seen = snapshot(forecasts_with(block_16=broken, block_32={"energy_j": 0.4}, block_64=broken),
                    governed=frozenset({"pacing_interval_s", "max_num_seqs"}))  # fmt: skip
    decision = decided(seen, OwnChanges(redeploys_at=(NOW - 100,)))
    assert decision.target == block(32)
    assert "TPOT p99 may reach 0.063 s of 0.05 s" in decision.reason


def test_a_broken_slo_does_not_wait_for_the_dwell():
    """Nor for joules: the latency that would be reached is the reason."""
    forecasts = forecasts_with(block_16={"tpot_s": 0.06}, block_64={"tpot_s": 0.06}, block_32={"energy_j": 0.4})
    decision = decided(snapshot(forecasts), OwnChanges(redeploys_at=(NOW - 100,)))
    assert decision.kind is DecisionKind.REDEPLOY
    assert decision.target == block(32)
    assert "TPOT p99 may reach 0.063 s of 0.05 s" in decision.reason


def test_an_slo_that_nothing_holds_keeps_what_is_there():
    """A clear sentence, with how many were looked at and an example."""
    decision = decided(snapshot(tuple(forecast(each, ttft_s=3.0) for each in CANDIDATES)))
    assert decision.kind is DecisionKind.KEEP
    assert "none of 12 candidates may be chosen: the SLO would not hold for 12, e.g. " in decision.reason
    assert "TTFT p99 may reach 3.15 s of 1 s" in decision.reason


def test_energy_without_joules_keeps_what_is_there():
    """Nothing is chosen for what was never measured."""
    forecasts = tuple(replace(forecast(each), energy_per_output_token_j=None) for each in CANDIDATES)
    assert "nothing was measured of what the objective counts for 12" in decided(snapshot(forecasts)).reason


def test_without_forecasts_it_says_so():
    """And keeps still."""
    decision = decided(snapshot(basis="4 observations of 12 needed"))
    assert decision.kind is DecisionKind.KEEP
    assert "nothing is learned yet (4 observations of 12 needed)" in decision.reason


def test_throughput_is_judged_in_tokens():
    """Room for more tokens against those lost to the stall."""
    seen = snapshot(forecasts_with(block_32={"tps": 4000.0}), objective=Objective.THROUGHPUT)
    decision = decided(seen)
    assert decision.target == block(32)
    assert "room for 3.6e+06 tokens won in 60 min against 300 lost by the switch" in decision.reason


@given(st.floats(0, 1))
def test_balanced_lies_between_its_two_ends(weight):
    """Whoever is best in both is chosen at any weight."""
    seen = snapshot(forecasts_with(block_64={"energy_j": 0.2, "tps": 5000.0}), objective=Objective.BALANCED)
    assert decided(seen, terms=DecisionTerms(balanced_energy_weight=weight)).target == block(64)


def test_a_value_without_effect_is_no_reason_to_change():
    """What does the same is the same configuration, whatever it is called."""
    seen = snapshot(forecasts_with())
    assert decided(seen).reason.startswith(f"Keep {SPACE.default()}: of 12 candidates that hold the SLO it is the best")


def test_wide_intervals_are_read_with_caution():
    """Of two equal medians the surer one is cheaper."""
    seen = snapshot(forecasts_with(block_32={"energy_j": 0.2, "spread": 0.5}, block_64={"energy_j": 0.2}))
    assert decided(seen).target == block(64)


def test_while_nothing_holds_at_the_busiest_the_workload_as_it_is_decides():
    """Just after a shift the busiest is a guess; a queue that grows now is none."""
    strained = tuple(forecast(each, ttft_s=3.0) for each in CANDIDATES)
    forecasts = forecasts_with(block_16={"ttft_s": 3.0}, block_64={"ttft_s": 3.0})
    assert decided(snapshot(forecasts, strained=strained)).target == block(32)
