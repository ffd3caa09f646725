"""The ledger is what the front end has got: nothing is noted twice, dropped or credited to the wrong core."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.engine_host.live_requests import RECORDS_KEPT, Ledger
from reconfigure_policies.domain.workload import ITL_BUCKETS_S, FinishReason

STOP, LENGTH = 0, 1


@dataclass
class Output:
    """The fields of vLLM's `EngineCoreOutput` that the ledger reads."""

    request_id: str
    new_token_ids: list[int] = field(default_factory=list)
    finish_reason: int | None = None
    prefill_stats: object = None


def request(request_id, prompt=(1, 2, 3)):
    return SimpleNamespace(request_id=request_id, prompt_token_ids=list(prompt), sampling_params=None)


def test_outputs_accumulate_until_the_request_ends():
    """A finished request leaves a record with its tokens, and is live no more."""
    ledger = Ledger()
    live = ledger.admit(request("a"), core=1)
    ledger.take([Output("a", [7, 8])], core=1)
    assert live.generated == [7, 8]
    ledger.take([Output("a", [9], LENGTH)], core=1)
    assert ledger.get("a") is None
    records, sequence, dropped = ledger.records_after(0)
    assert (records[0].output_tokens, records[0].finish_reason, sequence, dropped) == (3, FinishReason.LENGTH, 1, 0)


def test_an_echo_of_the_core_a_request_was_moved_from_is_dropped():
    """Only the core that runs a request now speaks for it."""
    ledger = Ledger()
    live = ledger.admit(request("a"), core=1)
    live.core = 2
    assert ledger.take([Output("a", [7])], core=1) == []
    assert live.generated == []
    assert len(ledger.take([Output("a", [7])], core=2)) == 1


def test_a_moved_stream_stands_from_its_last_output_to_its_next():
    """One that had not begun has no stall, since nothing stood still."""
    ledger = Ledger()
    begun, fresh = ledger.admit(request("a"), 1), ledger.admit(request("b"), 1)
    ledger.take([Output("a", [1])], 1)
    begun.moved_s, fresh.moved_s = begun.last_output_s - 0.5, 0.0
    ledger.take([Output("a", [2]), Output("b", [3])], 1)
    (stall_s,) = ledger.collect_stalls()
    assert stall_s >= 0.5
    assert begun.moved_s is None
    assert fresh.moved_s is None
    assert ledger.collect_stalls() == []


def test_a_request_that_cannot_be_saved_is_counted_lost_and_an_aborted_one_is_not():
    """The front end's own abort is the client's wish."""
    ledger = Ledger()
    ledger.admit(request("a"), 1)
    ledger.admit(request("b"), 1)
    ledger.finish("a", FinishReason.ABORT)
    ledger.finish("b", FinishReason.ERROR)
    ledger.finish("b", FinishReason.ERROR)
    assert (ledger.lost, ledger.finished, len(ledger)) == (1, 2, 0)


async def test_waiting_ends_with_the_output_that_fulfils_it():
    """No polling: the ledger wakes those who wait, and tells who waited in vain."""
    ledger = Ledger()
    ledger.admit(request("a"), 1)
    waiting = asyncio.create_task(ledger.until(lambda: len(ledger) == 0, 5))
    await asyncio.sleep(0)
    ledger.take([Output("a", [1], STOP)], 1)
    assert await waiting
    assert not await ledger.until(lambda: False, 0.01)


def test_records_overwritten_before_they_were_read_are_told():
    """The ring keeps the newest; what fell out is a number."""
    ledger = Ledger()
    for number in range(RECORDS_KEPT + 5):
        ledger.admit(request(str(number)), 1)
        ledger.finish(str(number), FinishReason.ABORT)
    records, sequence, dropped = ledger.records_after(2)
    assert (len(records), sequence, dropped) == (RECORDS_KEPT, RECORDS_KEPT + 5, 3)


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=3, unique=True), max_size=40))
def test_totals_conserve_what_came_out(steps):
    """Output tokens are those that were handed out, and every gap between two outputs is in one bucket."""
    ledger = Ledger()
    for name in "abc":
        ledger.admit(request(name), 1)
    for step in steps:
        ledger.take([Output(name, [1]) for name in step], 1)
    totals = ledger.totals()
    outputs = sum(map(len, steps))
    assert totals.output_tokens == outputs == sum(len(live.generated) for live in ledger)
    begun = sum(live.first_output_s is not None for live in ledger)
    assert sum(totals.itl_s_histogram) == outputs - begun
    assert len(totals.itl_s_histogram) == len(ITL_BUCKETS_S) + 1
