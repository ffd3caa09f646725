"""What the replicas of a core say, put together."""

from __future__ import annotations

from types import SimpleNamespace

from reconfigure_daemon.engine_host.cores import Core
from reconfigure_daemon.engine_host.replicas import enforced_by_all
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.steps import StepMoments, StepTotals, step_products, steps_of_all


def test_a_cap_that_has_still_to_drain_in_one_replica_is_not_enforced_yet():
    """The rest is the same in all."""
    each = [{"max_num_seqs": 4, "pacing_interval_s": 0.02}, {"max_num_seqs": 9, "pacing_interval_s": 0.02}]
    assert enforced_by_all(each) == {"max_num_seqs": 9, "pacing_interval_s": 0.02}
    assert enforced_by_all([{"pacing_interval_s": 0.0}]) == {"pacing_interval_s": 0.0}


def test_steps_of_replicas_add_up_and_what_fits_is_told_of_one():
    """As a step-cost model needs them: it is of one replica's steps, whoever took them."""
    one = StepTotals(StepMoments(step_products(0, 4, 100, 0.01)), StepMoments(), 1, 0.0, 5000.0)
    other = StepTotals(StepMoments(), StepMoments(step_products(64, 2, 50, 0.03)), 0, 8.0, 5000.0)
    both = steps_of_all([one, other])
    assert (both.steps, both.busy_s, both.prefill_tokens, both.decode_tokens) == (2, 0.04, 64, 6)
    assert (both.back_to_back_steps, both.back_to_back_prefill_tokens, both.kv_capacity_tokens) == (1, 8.0, 5000.0)
    assert steps_of_all([one]) == one


async def test_a_utility_is_called_in_every_replica_and_answers_come_by_rank():
    """With one replica through vLLM's own call, which its tested versions share."""

    class Client:
        core_engines = ("first", "second")
        resources = SimpleNamespace(engine_dead=False)

        async def _call_utility_async(self, method, *arguments, engine):
            return (method, arguments, engine)

        async def call_utility_async(self, method, *arguments):
            return (method, arguments)

    core = Core(1, Client(), None, Configuration({}), 0.0, 0.0, replicas=2)
    assert await core.utility_of_each("read", 1) == [("read", (1,), "first"), ("read", (1,), "second")]
    assert await core.utility("read") == ("read", (), "first")
    alone = Core(1, Client(), None, Configuration({}), 0.0, 0.0)
    assert await alone.utility_of_each("read", 1) == [("read", (1,))]
