"""A core's steps are summed with the time that each of them took of the device."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import TypeAdapter

from reconfigure_daemon.engine_host.step_account import StepAccount
from reconfigure_policies.domain.steps import StepTotals


def batch(*tokens, drafts=None):
    """What vLLM's scheduler hands out: tokens per request, and drafted tokens of speculation."""
    return SimpleNamespace(
        num_scheduled_tokens={str(i): n for i, n in enumerate(tokens)},
        total_num_scheduled_tokens=sum(tokens),
        scheduled_spec_decode_tokens=drafts or {},
    )


def totals(account):
    return TypeAdapter(StepTotals).validate_python(account.totals(1000.0))


def test_one_after_another():
    """A step that begins after a rest lasts from its begin; one that follows at once lasts from the other's end."""
    account, first, second = StepAccount(), batch(1, 1), batch(1, 1, 512)
    account.begin(first, 10.0, 100.0)
    account.end(first, 10.005)
    account.begin(second, 10.0055, 600.0)
    account.end(second, 10.020)
    read = totals(account)
    assert read.decode_only.duration_s == pytest.approx(0.005)
    assert read.with_prefill.duration_s == pytest.approx(0.015)
    assert (read.decode_only.decode_tokens, read.with_prefill.decode_tokens) == (2, 2)
    assert read.with_prefill.prefill_tokens == read.back_to_back_prefill_tokens == 512
    assert read.kv_tokens == 700
    assert read.back_to_back_steps == 1
    assert read.kv_capacity_tokens == 1000


def test_handed_out_while_another_runs():
    """With asynchronous scheduling a step costs from the end of the one before it, however early it was handed out."""
    account, first, second = StepAccount(), batch(1), batch(1)
    account.begin(first, 1.0, 0.0)
    account.begin(second, 1.001, 0.0)
    account.end(first, 1.004)
    account.end(second, 1.008)
    assert totals(account).busy_s == pytest.approx(0.008)
    assert totals(account).back_to_back_steps == 1


def test_empty_and_unknown_batches_leave_no_trace():
    """A batch that schedules nothing, or whose begin was not seen, is no step."""
    account, empty = StepAccount(), batch()
    account.begin(empty, 1.0, 0.0)
    account.end(empty, 1.1)
    account.end(batch(1), 1.2)
    assert totals(account) == StepTotals(kv_capacity_tokens=1000.0)


def test_an_empty_batch_ends_no_other():
    """With asynchronous scheduling a paced core hands out empty batches while a real one runs; it counts."""
    account, step, empty = StepAccount(), batch(1, 1), batch()
    account.begin(step, 1.0, 0.0)
    account.begin(empty, 1.001, 0.0)
    account.end(empty, 1.002)
    account.end(step, 1.005)
    assert totals(account).busy_s == pytest.approx(0.005)
    assert totals(account).decode_tokens == 2


def test_drafted_tokens_are_no_prompt():
    """A request with drafts decodes: neither its token nor its drafts count as prefill."""
    account, drafted = StepAccount(), batch(4, 1, 100, drafts={"0": [7, 8, 9]})
    account.begin(drafted, 1.0, 0.0)
    account.end(drafted, 1.1)
    assert totals(account).with_prefill.prefill_tokens == 100
    assert totals(account).decode_tokens == 2


def test_another_core_is_noticed():
    """Sums that went back belong to another core, and no difference is made of the two."""
    account, step = StepAccount(), batch(1)
    account.begin(step, 1.0, 0.0)
    account.end(step, 1.1)
    assert StepTotals().since(totals(account)) is None
    assert totals(account).since(StepTotals()) == totals(account)
