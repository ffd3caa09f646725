"""vLLM's scheduler with knobs that move while it runs; lives inside an EngineCore process.

A knob is set in another thread than the core's, by a call that does not wait for the step under way (`core_plugin`);
a lock keeps it out of the planning of a step, so it is in force for every step planned after the call returns. Values
are targets: what is enforced can be higher for a while, because a cap never falls below what already runs (vLLM 0.24
asserts on it and the core would die) and a budget never below one token for each running sequence.

Pacing: steps that decode start an interval apart on average. A newcomer's prompt does not wait for that, and is not
slowed down by the batch that does: between two such steps it is computed in steps of its own. What it keeps the batch
waiting is made up by the steps after it (`PacingClock`).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.interface import PauseState
from vllm.v1.core.sched.scheduler import Scheduler

from reconfigure_daemon.engine_host.resumption import generated_tokens
from reconfigure_daemon.engine_host.step_account import StepAccount
from reconfigure_policies.domain.pacing import PacingClock

if TYPE_CHECKING:
    from vllm.v1.core.sched.scheduler import Scheduler as _Above
else:
    _Above = object


#: What bounds `running`, in one version or another.
_CAPS = ("max_num_running_reqs", "max_num_active_reqs")


class HotKnobs(_Above):
    """Mixin over a vLLM scheduler: running cap, token budget, prefill threshold, pacing, resumed requests."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.running: list[Any]
        self.max_num_running_reqs: int
        self.max_num_active_reqs: int
        self.max_num_scheduled_tokens: int
        self._pause_state: Any
        self._has_active_cap = hasattr(self, "max_num_active_reqs")  # vLLM 0.32: a cap that drains down by itself
        self._boot_cap = int(self.max_num_running_reqs)
        self._boot_budget = int(self.max_num_scheduled_tokens)
        self._target: dict[str, Any] = {
            "max_num_seqs": self._boot_cap,
            "max_num_batched_tokens": self._boot_budget,
            "long_prefill_token_threshold": int(self.scheduler_config.long_prefill_token_threshold),
            "pacing_interval_s": 0.0,
            "prefix_cache_reading": True,
            "speculation_batch_limit": self._boot_cap,
        }
        self._planning = threading.Lock()  # held while a step is planned or a knob is set
        self._pacing = PacingClock()
        self._resting = 0  # decoding requests that the step being planned leaves out
        self._newcomers_stuck = False  # the last step was to be theirs, and none of them could start
        self._input_queue: Any = None
        self._ungrammared: dict[str, list[int]] = {}
        self._kv_capacity_tokens = float(self.cache_config.num_gpu_blocks * self.block_size)
        self._steps = StepAccount()

    def bind_input_queue(self, input_queue: Any) -> None:
        """Let arrivals end the pacing wait; without it pacing does nothing."""
        self._input_queue = input_queue

    def set_knobs(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Take new targets and enforce what can be enforced now; returns the enforced values."""
        with self._planning:
            self._target.update(changes)
            self._enforce()
            enforced = self.enforced_knobs()
        if self._input_queue is not None:
            with self._input_queue.not_empty:
                self._input_queue.not_empty.notify_all()  # a pacing wait goes by the new interval
        return enforced

    def enforced_knobs(self) -> dict[str, Any]:
        """The values in force, read from the fields that vLLM itself reads."""
        return {
            "max_num_seqs": self.max_num_active_reqs if self._has_active_cap else self.max_num_running_reqs,
            "max_num_batched_tokens": self.max_num_scheduled_tokens,
            "long_prefill_token_threshold": self.scheduler_config.long_prefill_token_threshold,
            "pacing_interval_s": self._target["pacing_interval_s"] if self._input_queue is not None else 0.0,
            "prefix_cache_reading": self._target["prefix_cache_reading"],
            "speculation_batch_limit": self._boot_cap if self._drafts_on_device() else self._draft_limit(),
        }

    def _draft_limit(self) -> int:
        return int(self._target["speculation_batch_limit"])

    def _drafts_on_device(self) -> bool:
        """Whether drafts never pass through the scheduler, which then cannot drop them."""
        return self.num_spec_tokens > 0 and isinstance(self, AsyncScheduler)

    def update_draft_token_ids(self, draft_token_ids: Any) -> None:
        """Take drafts as vLLM does, and drop them all while more requests run than speculation pays for.

        What costs at a large batch is verifying drafts, which is thereby saved; looking up n-grams goes on.
        """
        super().update_draft_token_ids(draft_token_ids)
        if len(self.running) > self._draft_limit():
            for request in self.running:
                request.spec_token_ids = []

    def _enforce(self) -> None:
        running = len(self.running)
        cap = max(1, min(int(self._target["max_num_seqs"]), self._boot_cap))
        if self._has_active_cap:
            self.max_num_active_reqs = cap
        else:
            self.max_num_running_reqs = max(cap, running)
        floor = max(1, running * (1 + self.num_spec_tokens))
        budget = min(int(self._target["max_num_batched_tokens"]), self._boot_budget)
        self.max_num_scheduled_tokens = min(self._boot_budget, max(budget, floor))
        self.scheduler_config.long_prefill_token_threshold = int(self._target["long_prefill_token_threshold"])

    def add_request(self, request: Any) -> None:
        """Admit a request; one that comes from another core goes on where it stood there."""
        generated = generated_tokens(request.sampling_params)
        if generated:
            request.append_output_token_ids(list(generated))
            request.prefill_stats = None  # its prompt was counted when it first ran
            if request.use_structured_output:
                self._ungrammared[request.request_id] = list(generated)
        elif not self._target["prefix_cache_reading"]:
            request.skip_reading_prefix_cache = True
        super().add_request(request)

    def get_grammar_bitmask(self, scheduler_output: Any) -> Any:
        """Advance the grammar of resumed requests over what they had generated, then as vLLM does."""
        for request_id in [r for r in self._ungrammared if r in scheduler_output.num_scheduled_tokens]:
            tokens = self._ungrammared.pop(request_id)
            request = self.requests.get(request_id)
            grammar = request.structured_output_request.grammar if request is not None else None
            if grammar is not None:
                grammar.accept_tokens(request_id, tokens)
        return super().get_grammar_bitmask(scheduler_output)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """One step's batch: everybody's when the interval is over, before that only newcomers', as soon as any come."""
        if self._must_pace():
            newcomers = [request for request in self.running if _in_prefill(request)]
            _, waiting = self.get_request_counts()  # every queue of newcomers, whatever this version calls them
            if newcomers or waiting:
                if not self._newcomers_stuck and self._has_room_for(waiting):
                    return self._newcomers_step(newcomers, *args, **kwargs)
            elif any(request.num_output_placeholders for request in self.running):
                return self._empty_step(*args, **kwargs)  # first let the tokens in flight reach their streams
            elif self._arrival_ends_wait():
                return self._empty_step(*args, **kwargs)  # the core takes it in, and plans again
        self._newcomers_stuck = False
        begun_s = time.monotonic()
        self._pacing.batch_started(begun_s, self._target["pacing_interval_s"])
        step = self._plan_step(*args, **kwargs)
        self._steps.begin(step, begun_s, self.kv_cache_manager.usage * self._kv_capacity_tokens)
        return step

    def get_request_counts(self) -> tuple[int, int]:
        """`(running, waiting)` as vLLM counts them, whoever rests included."""
        running, waiting = super().get_request_counts()
        return running + self._resting, waiting

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """Take a step's result as vLLM does, newest requests first, and account for the step.

        A paced step answers many streams at once; whoever waits for a first token is not kept behind all of them.
        """
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        for of_client in outputs.values():
            of_client.outputs.reverse()
        self._steps.end(scheduler_output, time.monotonic())
        return outputs

    def reading(self) -> dict[str, Any]:
        """Knobs in force, requests, and sums over all steps so far (a `StepTotals` in plain values).

        Never in the middle of a plan, which may have set requests aside and lowered a cap for it. An engine that has
        become idle plans no step, so that a cap which waited for the last requests to end is lowered here.
        """
        with self._planning:
            self._enforce()
            return {
                "enforced": self.enforced_knobs(),
                "running": len(self.running),
                "waiting": len(self.waiting),
                "steps": self._steps.totals(self._kv_capacity_tokens),
            }

    def _plan_step(self, *args: Any, **kwargs: Any) -> Any:
        with self._planning:
            self._enforce()
            return super().schedule(*args, **kwargs)

    def _must_pace(self) -> bool:
        if not self._target["pacing_interval_s"] or self._input_queue is None:
            return False
        if self._pause_state != PauseState.UNPAUSED or self._interval_left_s() <= 0:
            return False
        return any(not _in_prefill(request) for request in self.running)

    def _has_room_for(self, waiting: int) -> bool:
        """Whether the running cap lets all of them in: if not, the engine is full, and a pace would only cost capacity.

        The batch must then go on, for that is what makes room, and prompts run beside it: alone they would read the
        weights once more for each request that ends.
        """
        return len(self.running) + waiting <= int(self.enforced_knobs()["max_num_seqs"])

    def _newcomers_step(self, newcomers: list[Any], *args: Any, **kwargs: Any) -> Any:
        """A step as if nobody decoded; an empty one if none of the newcomers can start, and the next is everybody's."""
        begun_s = time.monotonic()
        with self._planning:
            self._enforce()
            decoding = [request for request in self.running if not _in_prefill(request)]
            caps = {name: getattr(self, name) for name in _CAPS if hasattr(self, name)}
            self.running, self._resting = newcomers, len(decoding)
            for name, cap in caps.items():
                setattr(self, name, max(0, cap - len(decoding)))
            try:
                step = super().schedule(*args, **kwargs)
            finally:
                self.running, self._resting = decoding + self.running, 0
                for name, cap in caps.items():
                    setattr(self, name, cap)
        self._newcomers_stuck = not step.total_num_scheduled_tokens
        self._pacing.newcomers_started()
        self._steps.begin(step, begun_s, 0.0)
        return step

    def _empty_step(self, *args: Any, **kwargs: Any) -> Any:
        saved = self._pause_state
        self._pause_state = PauseState.PAUSED_ALL
        try:
            return self._plan_step(*args, **kwargs)
        finally:
            self._pause_state = saved

    def _interval_left_s(self) -> float:
        return self._pacing.due_s(self._target["pacing_interval_s"]) - time.monotonic()

    def _arrival_ends_wait(self) -> bool:
        """Wait out the interval; True as soon as the core has something else to do."""
        queue = self._input_queue
        with queue.not_empty:
            while not queue.queue and (left_s := self._interval_left_s()) > 0:
                queue.not_empty.wait(left_s)
            return bool(queue.queue)


def _in_prefill(request: Any) -> bool:
    """Whether a running request has more than one token to compute before its next, or has not had its first step."""
    missing = request.num_tokens + request.num_output_placeholders - request.num_computed_tokens
    return missing > 1 or not (request.num_output_tokens or request.num_output_placeholders)


class HotScheduler(HotKnobs, Scheduler):
    """For cores without asynchronous scheduling."""


class HotAsyncScheduler(HotKnobs, AsyncScheduler):
    """For cores with asynchronous scheduling; a plain `Scheduler` would lose it."""
