"""Replicas serve side by side, each within its own bounds, and a change of their number loses nothing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from math import inf
from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.virtual_time import LoopClock, in_virtual_time
from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.emulated_engine.host import EmulatedHost
from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.model import EngineModel
from reconfigure_daemon.emulated_engine.replicas import EmulatedReplicas
from reconfigure_daemon.emulated_engine.requests import Arrival
from reconfigure_daemon.emulated_engine.scheduler import EmulatedScheduler
from reconfigure_daemon.ports import SwitchMode, SwitchRequest
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.workload import FinishReason
from tests.simulation.plant import poisson
from tests.unit.emulated_engine.conftest import FAST
from tests.unit.emulated_engine.examples import FOREVER_S, arrivals, unhurried

COUNTERS = ("iterations", "prompt_tokens", "cached_prompt_tokens", "output_tokens", "arrived", "finished")

knobs = st.builds(
    SchedulerKnobs,
    max_num_seqs=st.integers(1, 12),
    max_num_batched_tokens=st.sampled_from([16, 512, 8192]),
    pacing_interval_s=st.sampled_from([0.0, 0.03]),
)


def replicas_of(number, knobs=None, model=None, requests=()):
    replicas = EmulatedReplicas(model or EngineModel(), knobs or SchedulerKnobs(), replicas=number)
    for request in requests:
        replicas.submit(request)
    return replicas


def served(number, requests, until_s):
    """Every request submitted when it arrives; records of those that ended, and the replicas."""
    replicas, records = replicas_of(number), []
    for request in requests:
        records += [end.record for end in replicas.advance(request.at_s)]
        replicas.submit(request)
    records += [end.record for end in replicas.advance(until_s)]
    return records, replicas


def latencies(records):
    """Medians and 99th percentiles of the times to the first token and per further token."""
    ttfts = quantiles((record.ttft_s for record in records), n=100)
    tpots = quantiles(((each.e2e_latency_s - each.ttft_s) / (each.output_tokens - 1) for each in records), n=100)
    return [ttfts[49], ttfts[98], tpots[49], tpots[98]]


@unhurried
@given(arrivals, knobs, st.floats(0, 3))
def test_one_replica_is_one_scheduler(requests, knobs, until_s):
    """To the last bit: records, joules, counters, sums over steps, also after another core has taken over."""
    scheduler, replicas = EmulatedScheduler(EngineModel(), knobs), replicas_of(1, knobs)
    for engine in (scheduler, replicas):
        for request in requests:
            engine.submit(request)
    assert replicas.advance(until_s) == scheduler.advance(until_s)
    moved = [each.replace_core(EngineModel(), knobs, until_s + 0.5) for each in (scheduler, replicas)]
    assert moved[0] == moved[1]
    assert replicas.next_event_s() == scheduler.next_event_s()
    assert replicas.advance(FOREVER_S) == scheduler.advance(FOREVER_S)
    assert (replicas.energy_j, replicas.totals()) == (scheduler.energy_j, scheduler.totals())
    assert replicas.step_totals() == scheduler.step_totals()


def test_twice_as_many_serve_twice_the_load_at_the_same_latency_for_twice_the_power():
    """Medians stay, tails become no longer, as the least loaded one is chosen; one alone is slower under that load."""
    span_s = 120.0
    single, one = served(1, poisson(30, span_s), span_s)
    double, two = served(2, poisson(60, span_s), span_s)
    overloaded, _ = served(1, poisson(60, span_s), span_s)
    assert len(double) == pytest.approx(2 * len(single), rel=0.05)
    ratios = [two / one for one, two in zip(latencies(single), latencies(double), strict=True)]
    assert ratios[::2] == pytest.approx([1, 1], rel=0.05)
    assert all(0.75 < ratio < 1.02 for ratio in ratios[1::2])
    assert latencies(overloaded)[2] > 1.2 * latencies(single)[2]
    assert two.energy_j == pytest.approx(2 * one.energy_j, rel=0.03)
    assert two.step_totals().decode_tokens == pytest.approx(2 * one.step_totals().decode_tokens, rel=0.05)
    assert two.step_totals().kv_capacity_tokens == one.step_totals().kv_capacity_tokens


def test_a_newcomer_goes_where_the_fewest_are():
    """Live requests stay level, and whoever is rid of its own gets the next ones."""
    replicas = replicas_of(3, requests=[Arrival(str(i), 0.0, 100, 1000) for i in range(8)])
    assert [each.live_requests for each in replicas._present] == [3, 3, 2]
    for freed in ("0", "3"):
        replicas.abort(freed)
    replicas.submit(Arrival("next", 0.0, 100, 1000))
    replicas.submit(Arrival("after", 0.0, 100, 1000))
    assert [each.live_requests for each in replicas._present] == [3, 3, 2]
    assert replicas.live_requests == 8
    with pytest.raises(ValueError, match="request 7 is live already"):
        replicas.submit(Arrival("7", 0.0, 100, 1000))
    with pytest.raises(ValueError, match="800001 tokens of KV cache; 800000 fit"):
        replicas.submit(Arrival("large", 0.0, 800_000, 1))
    assert replicas.live_requests == 8


@unhurried
@given(arrivals, knobs, st.integers(1, 4))
def test_each_replica_keeps_its_own_bounds(requests, knobs, number):
    """Running cap and token budget are each replica's; none lets another wait; ends are told in order."""
    replicas, ends_s = replicas_of(number, knobs, requests=requests), []
    while (event_s := replicas.next_event_s()) < inf:
        ends_s += [end.record.arrived_s + end.record.e2e_latency_s for end in replicas.advance(event_s)]
        for each in replicas._present:
            assert each._queues.running <= knobs.max_num_seqs
            if (step := each._in_flight) is not None:
                batch = each._queues.decoding if step.decodes else 0
                assert batch + sum(tokens for _, tokens in step.chunks) <= knobs.max_num_batched_tokens
    assert len(ends_s) == len(requests)
    assert ends_s == pytest.approx(sorted(ends_s))


def test_caps_paces_and_caches_add_up():
    """Three replicas with a cap of 4 run 12 requests, each at the pace; usage of the KV cache is the mean."""
    knobs, model = SchedulerKnobs(max_num_seqs=4, pacing_interval_s=0.05), EngineModel(kv_capacity_tokens=10_000)
    replicas = replicas_of(3, knobs, model, [Arrival(str(i), 0.0, 100, 200) for i in range(12)])
    replicas.advance(1.0)
    totals = replicas.totals()
    assert (totals.running, totals.waiting, totals.arrived) == (12, 0, 12)
    assert totals.iterations == pytest.approx(3 * 20, abs=6)
    assert totals.kv_cache_usage == pytest.approx(4 * 120 / 10_000, rel=0.05)
    assert sum(totals.itl_s_histogram) == totals.output_tokens - 12
    for name in range(12, 20):
        replicas.submit(Arrival(str(name), 1.0, 100, 200))
    replicas.advance(1.1)
    assert (replicas.totals().running, replicas.totals().waiting) == (12, 8)
    replicas.set_knobs(SchedulerKnobs(max_num_seqs=5))
    assert replicas.knobs.max_num_seqs == 5
    replicas.advance(1.2)
    assert (replicas.totals().running, replicas.totals().waiting) == (15, 5)


def test_a_prefix_is_known_to_the_replica_that_computed_it():
    """The same prompt on another one is computed again."""
    replicas = replicas_of(2)
    prompts = [Arrival(name, 0.0, 1600, 50, blocks=range(100)) for name in ("first", "beside", "again")]
    replicas.submit(prompts[0])
    replicas.advance(0.2)
    replicas.submit(prompts[1])
    replicas.submit(prompts[2])
    ends = {end.id: end.record.cached_prompt_tokens for end in replicas.advance(FOREVER_S)}
    assert ends == {"first": 0, "beside": 0, "again": 1599}


@unhurried
@given(arrivals, knobs, st.lists(st.tuples(st.floats(0, 1), st.integers(1, 4)), max_size=6))
def test_a_change_of_their_number_loses_nothing(requests, knobs, changes):
    """Every request gets exactly its tokens, from however many replicas, and no counter ever goes back."""
    replicas, ended, known = replicas_of(1, knobs, requests=requests), [], (0,) * len(COUNTERS)
    energy_j = 0.0
    for after_s, number in [*changes, (FOREVER_S, 1)]:
        ended += replicas.advance(replicas.now_s + after_s)
        before = {name: replicas.generated_tokens(name) for name in replicas._replica_of}
        expected, held = replicas.totals(), sum(each._queues.kv_tokens for each in replicas._present)
        moved = replicas.replace_core(EngineModel(), knobs, replicas.now_s + 0.1, number)
        totals = replicas.totals()
        assert {name: replicas.generated_tokens(name) for name in replicas._replica_of} == before
        assert (replicas.replicas, replicas.live_requests) == (number, len(requests) - len(ended))
        assert (totals.running, totals.output_tokens) == (expected.running, expected.output_tokens)
        assert moved == held
        counted = tuple(getattr(totals, name) for name in COUNTERS)
        assert all(now >= earlier for now, earlier in zip(counted, known, strict=True))
        assert replicas.energy_j >= energy_j
        known, energy_j = counted, replicas.energy_j
    by_id = {end.id: end.record for end in ended}
    assert {name: record.output_tokens for name, record in by_id.items()} == {r.id: r.output_tokens for r in requests}
    assert len(ended) == len(by_id)
    for record in by_id.values():
        assert 0 < record.ttft_s <= record.e2e_latency_s
        assert record.longest_gap_s <= record.e2e_latency_s
        assert record.replays <= len(changes)
    assert totals.arrived == totals.finished == len(requests)
    assert totals.prompt_tokens == sum(request.prompt_tokens for request in requests)
    assert totals.output_tokens == sum(request.output_tokens for request in requests)
    assert sum(totals.itl_s_histogram) == totals.output_tokens - len(requests)
    assert all(each._queues.reserved_tokens == 0 for each in replicas._present)


@pytest.mark.parametrize("numbers", [(1, 2), (1, 3), (3, 2), (4, 1)])
def test_live_requests_are_spread_evenly_at_each_stage(numbers):
    """Those that decode, and those that wait: one more than elsewhere at most; first come is still first served."""
    before, after = numbers
    knobs = SchedulerKnobs(max_num_seqs=6)
    replicas = replicas_of(before, knobs, requests=[Arrival(str(i), 0.001 * i, 100, 500) for i in range(40)])
    replicas.advance(0.5)
    replicas.replace_core(EngineModel(), knobs, 0.5, after)
    decoding = [each._queues.decoding for each in replicas._present]
    assert (sum(decoding), max(decoding) - min(decoding) <= 1) == (6 * before, True)
    waiting = [[request.arrival.at_s for request in each._queues.waiting] for each in replicas._present]
    assert all(line == sorted(line) for line in waiting)
    assert max(map(len, waiting)) - min(map(len, waiting)) <= 1
    assert replicas.step_totals().steps == 0


def test_a_stream_that_is_moved_sees_one_long_gap():
    """From its last token there to its first token here; what it saw before the move is not forgotten."""
    replicas = replicas_of(1, requests=[Arrival("a", 0.0, 100, 400), Arrival("b", 0.0, 100, 400)])
    replicas.advance(0.3)
    replicas.replace_core(EngineModel(), SchedulerKnobs(), 0.8, replicas=2)
    replicas.advance(1.0)
    replicas.replace_core(EngineModel(), SchedulerKnobs(), 1.1, replicas=1)
    replicas.submit(Arrival("late", 1.0, 10, 100))
    ends = {end.id: end.record for end in replicas.advance(FOREVER_S)}
    for name in ("a", "b"):
        assert ends[name].longest_gap_s == pytest.approx(0.5, abs=0.01)
        assert ends[name].replays == 2
    assert ends["late"].longest_gap_s < 0.02
    assert ends["late"].replays == 0


def test_no_stream_is_told_a_shorter_gap_than_it_had():
    """Where they come from replicas that gave their last tokens at different times."""
    knobs = SchedulerKnobs(pacing_interval_s=0.2)
    replicas = replicas_of(2, knobs, requests=[Arrival("a", 0.0, 10, 20), Arrival("b", 0.1, 10, 20)])
    replicas.advance(1.09)  # "a" has had its last token at 1.0 s, "b" at 0.9 s
    replicas.replace_core(EngineModel(), knobs, 2.0, replicas=1)
    for end in replicas.advance(FOREVER_S):
        assert end.record.longest_gap_s == pytest.approx(1.1, abs=0.01)


def test_what_ends_in_several_replicas_is_told_in_order():
    """Over a long time at once."""
    requests = [Arrival(str(i), 0.0, 10, 10 * (8 - i)) for i in range(8)]
    ends = replicas_of(2, requests=requests).advance(FOREVER_S)
    assert [end.id for end in ends] == [str(i) for i in range(7, -1, -1)]


def test_a_slower_model_slows_every_replica():
    """As when another deployment boots on the same devices."""
    ends_s = []
    for factor in (1, 2):
        replicas = replicas_of(2, requests=[Arrival("a", 0.0, 100, 50), Arrival("b", 0.0, 100, 50)])
        replicas.model = replicas.model.slowed(factor)
        ends_s.append([end.record.e2e_latency_s for end in replicas.advance(FOREVER_S)])
    assert ends_s[1] == pytest.approx([2 * end_s for end_s in ends_s[0]])


def test_idle_power_changes_when_the_number_does():
    """Neither before that nor after it, and not for the past."""
    model = EngineModel()
    replicas, readings_j = replicas_of(1), []
    for until_s, number in ((10.0, 3), (20.0, 2), (30.0, 2)):
        replicas.advance(until_s)
        readings_j.append(replicas.energy_j)
        replicas.replace_core(model, SchedulerKnobs(), until_s, number)
        assert replicas.energy_j == readings_j[-1]
    assert readings_j == [model.idle_power_w * seconds for seconds in (10, 40, 60)]
    replicas.spend_energy(5.0)
    assert replicas.energy_j == readings_j[-1] + 5.0


def test_a_step_that_is_cut_off_is_paid_for():
    """Its joules stay counted, and its tokens are computed again."""
    replicas = replicas_of(1, requests=[Arrival("a", 0.0, 8000, 2)])
    replicas.advance(0.01)
    replicas.replace_core(EngineModel(), SchedulerKnobs(), 0.01, replicas=2)
    (end,) = replicas.advance(FOREVER_S)
    spent_j = replicas.energy_j - EngineModel().idle_power_w * (0.01 + 2 * (FOREVER_S - 0.01))
    assert spent_j > 2 * 8000 * EngineModel().prefill_energy_j_per_token
    assert end.record.ttft_s == pytest.approx(0.01 + EngineModel().step_time_s(8000, 0, 0))


def test_there_is_at_least_one():
    """Fewer are refused before anything is changed."""
    with pytest.raises(ValueError, match="0 replicas of the model"):
        replicas_of(0)
    replicas = replicas_of(2, requests=[Arrival("a", 0.0, 10, 10)])
    with pytest.raises(ValueError, match="0 replicas of the model"):
        replicas.replace_core(EngineModel(), SchedulerKnobs(), 0.0, replicas=0)
    assert (replicas.replicas, len(replicas.advance(FOREVER_S))) == (2, 1)


# --- through the host ---


@asynccontextmanager
async def host_of(clock=None, initial=None, **emulation):
    space = {
        "max_num_seqs": {"values": [2, 16], "default": 16},
        "data_parallel_size": {"values": [1, 2], "default": 1},
        "tensor_parallel_size": {"values": [1, 2], "default": 1},
    }
    given = Settings.model_validate({"engine": {"kind": "emulated", "start_timeout_s": 1}, "space": space})
    emulated = Emulation.model_validate({"boot_s": 0.01, **emulation})
    host = EmulatedHost(given, clock or SystemClock(), emulated, FAST)
    time_passing = asyncio.create_task(host.engine.run())
    try:
        await host.boot(initial or {})
        yield host
    finally:
        time_passing.cancel()
        await asyncio.gather(time_passing, return_exceptions=True)


async def generate(host, tokens):
    counts = [count async for count in host.engine.generate(10, tokens, (), 16, FinishReason.LENGTH)]
    assert counts == sorted(counts)
    return counts[-1]


def to(mode=SwitchMode.AUTO, **changes):
    return SwitchRequest(configuration=changes, mode=mode)


@pytest.mark.parametrize("mode", [SwitchMode.OVERLAPPED, SwitchMode.SEQUENTIAL])
async def test_streams_live_through_switches_to_two_replicas_and_back(mode):
    """All get all of their tokens, are spread over what serves, and telemetry tells how many that are."""
    async with host_of() as host:
        streams = [asyncio.create_task(generate(host, 400)) for _ in range(6)]
        while host.engine.live_requests < 6:  # noqa: ASYNC110  # the engine has no event for it
            await asyncio.sleep(0.001)
        told, spread = [await host.telemetry(0)], []
        for number in (2, 1):
            report = await host.switch(to(mode, data_parallel_size=number))
            assert (report.outcome, report.enforced["data_parallel_size"]) == ("applied", number)
            assert report.live_requests == 6
            told.append(await host.telemetry(0))
            spread.append([each.live_requests for each in host.engine.scheduler._present])
        assert await asyncio.gather(*streams) == [400] * 6
        told.append(await host.telemetry(0))
    assert [batch.replicas for batch in told] == [1, 2, 1, 1]
    assert spread == [[3, 3], [6]]
    outputs = [batch.totals.output_tokens for batch in told]
    assert outputs == sorted(outputs)
    assert (outputs[-1], told[-1].totals.arrived, told[-1].totals.finished) == (6 * 400, 6, 6)
    assert [record.replays for record in told[-1].records] == [2] * 6


async def test_a_switch_that_fails_leaves_the_replicas_as_they_were():
    """Of two, two go on."""
    async with host_of(faults=[{"when": {"tensor_parallel_size": 2}, "fault": "out_of_memory"}]) as host:
        await host.switch(to(data_parallel_size=2))
        stream = asyncio.create_task(generate(host, 60))
        await asyncio.sleep(0.005)
        report = await host.switch(to(tensor_parallel_size=2))
        assert report.outcome == "rolled_back"
        assert (await host.telemetry(0)).replicas == 2
        assert await stream == 60


async def test_idle_power_is_that_of_all_devices():
    """Two replicas of two GPUs each: four."""
    async with host_of() as host:
        await host.switch(to(data_parallel_size=2, tensor_parallel_size=2))
        first = host.energy()
        await asyncio.sleep(0.002)
        second = host.energy()
        assert (second.energy_j - first.energy_j) / (second.at_s - first.at_s) == pytest.approx(4 * 121.0)


async def test_a_hot_knob_reaches_every_replica():
    """The cap holds in each of them."""
    async with host_of() as host:
        await host.switch(to(data_parallel_size=2))
        await host.set_knobs({"max_num_seqs": 2})
        streams = [asyncio.create_task(generate(host, 100)) for _ in range(10)]
        await asyncio.sleep(0.02)
        assert (await host.telemetry(0)).totals.running == 4
        assert await asyncio.gather(*streams) == [100] * 10


async def test_it_boots_with_as_many_as_it_is_told():
    """Without a switch; a drain changes their number, too."""
    async with host_of(initial={"data_parallel_size": 2}) as host:
        assert (await host.telemetry(0)).replicas == 2
        await host.switch(to(SwitchMode.DRAIN, data_parallel_size=1))
        assert (await host.telemetry(0)).replicas == 1
        await host.switch(to(SwitchMode.DRAIN, data_parallel_size=2))
        assert (await host.telemetry(0)).replicas == 2


@pytest.mark.parametrize("number", [1, 2])
def test_booting_replicas_takes_power_for_each(number):
    """Above the idle power of what serves meanwhile."""

    async def story():
        async with host_of(LoopClock(), boot_s=0.5) as host:
            before = host.energy()
            await host.switch(to(data_parallel_size=number))
            after = host.energy()
            return after.energy_j - before.energy_j - FAST.idle_power_w * (after.at_s - before.at_s)

    assert in_virtual_time(story()) == pytest.approx(0.5 * number * FAST.boot_power_w)


def test_replicas_compute_what_is_moved_side_by_side():
    """Each its share of the tokens, so that two need half the time of one."""

    async def story(number):
        async with host_of(LoopClock(), beside_factor=2) as host:
            streams = [asyncio.create_task(generate(host, 1000)) for _ in range(4)]
            await asyncio.sleep(0.5)
            report = await host.switch(to(data_parallel_size=number))
            assert await asyncio.gather(*streams) == [1000] * 4
            return report.phases_s["move"] / report.replayed_tokens

    for number in (1, 2):
        assert in_virtual_time(story(number)) == pytest.approx(2 * FAST.compute_s_per_token / number)
