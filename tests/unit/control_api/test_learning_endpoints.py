"""What was learned, over real HTTP."""

from __future__ import annotations

import json

import pytest

from reconfigure_daemon.control_api.learning_messages import ExplanationView, ParetoView, SurrogateView

HEADER = {"format": "reconfigure-trials", "version": 1, "engine": "emulated", "engine_version": "1",
          "model": "emulated", "device": "emulated"}  # fmt: skip


def line(number=0, cap=16, **facts):
    context = {"arrival_rate_rps": 4.0, "prompt_tokens": 512.0, "output_tokens": 128.0, "prefix_hit_share": 0.0}
    measured = {"energy_per_output_token_j": [0.3, 0.01], "throughput_tps": [300.0, 0.01]}
    configuration = {"max_num_seqs": cap, "pacing_interval_s": 0, "block_size": 16}
    return {"at": 100.0 + number, "configuration": configuration, "context": context, "measured": measured} | facts


async def send(api, *lines):
    body = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines).encode()
    headers = {"Content-Type": "application/json"}
    async with api.session.post("/v1/trials", data=body, headers=headers) as answer:
        return answer.status, await answer.json()


@pytest.fixture
async def header(api):
    """The header of this very host."""
    async with api.session.get("/v1/trials") as answer:
        return json.loads((await answer.text()).splitlines()[0])


async def learned(api, header):
    status, _ = await send(api, header, *(line(number) for number in range(12)))
    assert status == 200
    await api.controller.trials.save_session(api.controller.session)


async def test_what_one_host_exports_another_takes_in_once(api, header):
    """The lines come back as they were sent; sent again, all are known."""
    lines = [line(number) for number in range(3)]
    assert await send(api, header, *lines) == (200, {"taken": 3, "known": 0})
    assert await send(api, header, *lines) == (200, {"taken": 0, "known": 3})
    async with api.session.get("/v1/trials") as answer:
        exported = [json.loads(each) for each in (await answer.text()).splitlines()]
    assert [each["at"] for each in exported[1:]] == [100.0, 101.0, 102.0]
    assert exported[1]["measured"] == lines[0]["measured"]


@pytest.mark.parametrize(("name", "value"), [("model", "qwen"), ("device", "8 x NVIDIA H200"), ("engine", "vllm")])
async def test_trials_of_something_else_are_refused_with_both_names(api, header, name, value):
    """Another model, GPU or engine: nothing is taken, and there is no way to insist."""
    status, body = await send(api, header | {name: value}, line())
    assert (status, body["error"]["kind"]) == (409, "request_refused")
    assert f"{name} {value!r} there, {header[name]!r} here" in body["error"]["message"]
    assert await send(api, header, line()) == (200, {"taken": 1, "known": 0})


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "the file is empty"),
        (["no JSON"], "line 1 is no header"),
        ([{"a": 1}], "line 1 is no header"),
        ([[1]], "line 1 is no header"),
        ([HEADER | {"version": 7}], "found version 7 of the format, and this daemon reads 1"),
        (["HERE", line(measured={"energy_per_output_token_j": [-1, 0]})], "line 2 is no trial"),
        (["HERE", line(measured={"happiness": [1, 0]})], "line 2 is no trial"),
    ],
)
async def test_a_file_that_is_no_export_is_refused_with_its_line(api, header, lines, words):
    """All of it or none: what is before the bad line is not taken either."""
    status, body = await send(api, *(header if each == "HERE" else each for each in lines))
    assert status == 400
    assert words in body["error"]["message"]


async def test_the_front_is_shown_for_the_workload_that_was_measured(api, header):
    """Highest throughput first; every point has its intervals."""
    await learned(api, header)
    status, body = await api.get("/v1/pareto")
    assert status == 200
    view = ParetoView.model_validate(body)
    throughputs = [forecast.throughput_tps.median for forecast in view.front]
    assert throughputs == sorted(throughputs, reverse=True)
    assert len(view.measured) == 12


async def test_the_enforced_configuration_is_explained_by_its_neighbours(api, header):
    """One knob otherwise, each with what it would change."""
    await learned(api, header)
    view = ExplanationView.model_validate((await api.get("/v1/explanation"))[1])
    assert view.forecast.configuration["max_num_seqs"] == 64
    assert {each.knob for each in view.neighbours} == {"max_num_seqs", "pacing_interval_s", "block_size"}


async def test_before_anything_was_learned_explanations_say_what_is_missing(api):
    """No error: the decision itself can still be told."""
    view = ExplanationView.model_validate((await api.get("/v1/explanation"))[1])
    assert view.forecast is None
    assert "nothing has been learned yet" in view.basis


async def test_surrogates_say_how_good_they_are(api, header):
    """Leave-one-out figures for each quantity once fitted; before, what is needed."""
    before = SurrogateView.model_validate((await api.get("/v1/surrogate"))[1])
    assert (before.fitted, before.needed) == (False, 12)
    await learned(api, header)
    view = SurrogateView.model_validate((await api.get("/v1/surrogate"))[1])
    assert view.trusted
    assert {each.quantity for each in view.quantities} == {"energy_per_output_token_j", "throughput_tps"}
