from __future__ import annotations

import asyncio
import json

import pytest

from reconfigure_daemon.control_api.messages import CalendarView, DecisionList, IntentResult, StatusView, WindowList
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.workload import Percentiles, WorkloadWindow


async def test_status_shows_everything_at_a_glance(api):
    """One answer holds objective, engine, target, enforced values, energy, the last decision and notices."""
    status, body = await api.get("/v1/status")
    view = StatusView.model_validate(body)
    assert status == 200
    assert view.enforced == view.target == {"block_size": 16, "max_num_seqs": 64, "pacing_interval_s": 0}
    assert view.engine.engine == "emulated"
    assert view.energy.source == "estimated"
    assert view.last_decision.source == "daemon"
    assert view.notices == ["a notice"]


async def test_apply_answers_with_plan_decision_and_outcome(api):
    """The result says what was planned, why it was done, and what is enforced now."""
    status, body = await api.post({"kind": "apply", "changes": {"max_num_seqs": 16}})
    result = IntentResult.model_validate(body)
    assert status == 200
    assert [(c.name, c.tier, c.before, c.after) for c in result.decision.changes] == [("max_num_seqs", "hot", 64, 16)]
    assert result.decision.outcome.kind == "applied"
    assert result.decision.outcome.enforced["max_num_seqs"] == 16
    assert result.plan.mode is None


async def test_a_dry_run_answers_with_the_plan_only(api):
    """Nothing is decided, so there is neither an intent nor a decision to name."""
    _, body = await api.post({"kind": "apply", "changes": {"block_size": 32}, "dry_run": True})
    result = IntentResult.model_validate(body)
    assert (result.intent_id, result.decision, result.plan.mode) == (None, None, "overlapped")


async def test_progress_streams_line_by_line_and_the_result_is_last(api):
    """With `Accept: application/x-ndjson` every step of a switch is a line."""
    headers = {"Accept": "application/x-ndjson"}
    wanted = {"kind": "apply", "changes": {"block_size": 32}}
    async with api.session.post("/v1/intents", json=wanted, headers=headers) as answer:
        lines = [json.loads(line) async for line in answer.content]
    assert answer.content_type == "application/x-ndjson"
    assert [line["event"] for line in lines] == ["progress"] * (len(lines) - 1) + ["result"]
    assert len(lines) > 1
    assert lines[-1]["decision"]["outcome"]["kind"] == "applied"


async def test_a_refusal_before_the_first_step_has_its_own_status(api):
    """A client that asked for a stream still sees 400, not a stream that ends in a fault."""
    headers = {"Accept": "application/x-ndjson"}
    status, body = await api.post({"kind": "apply", "changes": {"block_size": 17}}, headers=headers)
    assert (status, body["error"]["kind"]) == (400, "configuration_outside_space")
    assert body["error"]["faults"] == ["block_size=17 is outside the space; allowed: 16, 32, 64"]


async def test_decisions_page_backwards(api):
    """`limit` and `before` walk through the history, newest first."""
    for cap in (16, 32):
        await api.post({"kind": "apply", "changes": {"max_num_seqs": cap}})
    _, body = await api.get("/v1/decisions", params={"limit": 2})
    newest = DecisionList.model_validate(body).decisions
    assert [decision.target["max_num_seqs"] for decision in newest] == [32, 16]
    _, body = await api.get("/v1/decisions", params={"before": newest[-1].id})
    assert [decision["source"] for decision in body["decisions"]] == ["daemon"]


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "many"}, {"limit": "501"}, {"before": "-1"}])
async def test_a_wrong_page_is_refused_with_what_is_allowed(api, query):
    """Neither a default nor an empty list stands in for a number that makes no sense."""
    status, body = await api.get("/v1/decisions", params=query)
    assert (status, body["error"]["kind"]) == (400, "request_invalid")
    assert "write a whole number from 1" in body["error"]["message"]


async def test_windows_are_told_oldest_first_and_bounded(api):
    """The newest of them, or those after one that is known already, with what charts need."""
    window = WorkloadWindow(
        0.0, 30.0, 60, 55, 50, 1000, 0, 3000, 0, 4.0, 1.0, Percentiles(0.04, 0.09, 0.2), energy_j=600.0
    )
    for at in (100.0, 130.0, 160.0):
        await api.controller.store.record_window(window, Configuration({"max_num_seqs": 64}), "h", at)
    _, body = await api.get("/v1/windows", params={"limit": 2})
    told = WindowList.model_validate(body).windows
    assert [each.at for each in told] == [130.0, 160.0]
    assert (told[0].arrival_rate_rps, told[0].mean_power_w, told[0].energy_per_output_token_j) == (2.0, 20.0, 0.2)
    assert told[0].slo_attainment == pytest.approx(50 / 55)
    _, body = await api.get("/v1/windows", params={"after": told[0].id})
    assert [each["at"] for each in body["windows"]] == [160.0]


@pytest.mark.parametrize("query", [{"limit": "1001"}, {"limit": "0"}, {"after": "x"}])
async def test_more_windows_than_a_page_can_use_are_refused(api, query):
    """A thousand are eight hours of the usual length."""
    status, body = await api.get("/v1/windows", params=query)
    assert (status, body["error"]["kind"]) == (400, "request_invalid")


async def test_the_calendar_is_told_for_so_many_days(running_api):
    """What holds now and what begins, each with its time zone; status names the next change."""
    async with running_api(
        schedules={"night": {"cron": "0 22 * * *", "timezone": "Asia/Tokyo", "objective": "energy"}}
    ) as api:
        _, body = await api.get("/v1/schedule", params={"days": 2})
        calendar = CalendarView.model_validate(body)
        _, status = await api.get("/v1/status")
    assert (calendar.in_force.schedule, calendar.in_force.timezone) == ("night", "Asia/Tokyo")
    assert calendar.in_force.begins_at <= calendar.now < calendar.coming[0].begins_at
    assert len(calendar.coming) == 2
    assert status["next_change"] == body["coming"][0]


async def test_an_empty_calendar_wants_nothing(api):
    """Without schedules there is neither a present nor a next change."""
    _, body = await api.get("/v1/schedule")
    assert (body["in_force"], body["coming"]) == (None, [])
    assert (await api.get("/v1/status"))[1]["next_change"] is None


async def test_pareto_is_refused_until_something_was_learned(api):
    """There is no front without surrogates, and the answer says so."""
    status, body = await api.get("/v1/pareto")
    assert (status, body["error"]["kind"]) == (409, "request_refused")


async def test_probes_tell_alive_from_ready(running_api):
    """While the engine boots the daemon is healthy and not ready; status tells what it waits for."""
    async with running_api(emulation=Emulation(boot_s=60), serving=False) as api:
        assert (await api.get("/healthz"))[0] == 200
        status, body = await api.get("/readyz")
        assert (status, body["status"]) == (503, "the engine host is being adopted or started")
        _, view = await api.get("/v1/status")
        assert (view["engine"], view["engine_error"]) == (None, "the engine host is being adopted or started")
        status, body = await api.post({"kind": "apply", "changes": {"max_num_seqs": 16}})
        assert (status, body["error"]["kind"]) == (503, "engine_host_unreachable")


async def test_ready_while_serving(api):
    """Clients are served, so the probe says ok."""
    assert await api.get("/readyz") == (200, {"status": "ok"})


async def test_not_ready_before_a_command_would_be_taken(api, monkeypatch):
    """An engine may be seen to serve a moment before it is adopted, and would refuse whoever waited for the probe."""
    monkeypatch.setattr(api.controller.loop.keeper, "_host", None)
    assert (await api.get("/readyz"))[0] == 503
    assert (await api.post({"kind": "apply", "changes": {"max_num_seqs": 16}}))[0] == 503


async def test_a_loop_that_hangs_is_not_healthy(api, monkeypatch):
    """A process that lives is not enough: its loop must tick."""
    hangs = asyncio.Event()

    async def hang():
        hangs.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(api.controller.loop, "tick", hang)
    await hangs.wait()
    api.controller.loop.last_tick_s -= 3600
    status, body = await api.get("/healthz")
    assert status == 503
    assert "has not ticked for" in body["status"]


async def test_metrics_are_prometheus_text(api):
    """The exposition is passed on as it is, with its content type."""
    async with api.session.get("/metrics") as answer:
        text = await answer.text()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert 'reconfigure_build_info{version="test"} 1.0' in text
