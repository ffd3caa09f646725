"""A continuous-batching scheduler in virtual time: arrivals in, completions out; no clock, no asyncio.

It follows vLLM's V1 scheduler: every decoding request gets one token in each step; what is left of the token budget
goes to prompts, running ones first, then waiting ones first come first served while the running cap and the KV cache
allow it; prompts are computed in chunks. And it follows the hot scheduler's pacing: between two steps that decode,
which start an interval apart on average, prompts are computed in steps of their own. Steps that only decode are worked
out in stretches, so a virtual day of traffic takes seconds.

Simplifications: nothing is preempted (see `Queues.reserved_tokens`), a running batch larger than a lowered cap or
budget drains down instead of being cut, and a request that is moved to another core or scheduler keeps its progress.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from reconfigure_daemon.emulated_engine.accounting import Counters, EnergyAccount, GapAccount, StepAccount
from reconfigure_daemon.emulated_engine.decode_run import DecodeRun
from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.model import EngineModel
from reconfigure_daemon.emulated_engine.prefix_cache import PrefixCache
from reconfigure_daemon.emulated_engine.queues import Queues
from reconfigure_daemon.emulated_engine.requests import Arrival, Completion, LiveRequest
from reconfigure_policies.domain.pacing import PacingClock
from reconfigure_policies.domain.steps import StepTotals
from reconfigure_policies.domain.workload import FinishReason, IterationTotals


@dataclass(frozen=True, slots=True)
class Step:
    """A step that has started: its end, its cost above idle, whether it decodes, and the prompts that it computes."""

    end_s: float
    energy_j: float
    decodes: bool
    chunks: tuple[tuple[LiveRequest, int], ...]


class EmulatedScheduler:
    """One engine, or one replica of it. Time only passes in `advance`; it never goes back.

    Attributes:
        now_s: the virtual time that was reached.
        step: steps that have ended, but for those that only newcomers had: each gave every decoding request a token.
    """

    def __init__(self, model: EngineModel, knobs: SchedulerKnobs, started_s: float = 0.0) -> None:
        self.model = model
        self.knobs = knobs
        self.now_s = started_s
        self.step = 0
        self._queues = Queues()
        self._cache = PrefixCache(model.kv_capacity_tokens)
        self._energy = EnergyAccount(started_s, model.idle_power_w)
        self._gaps = GapAccount()
        self._steps = StepAccount()
        self._counters = Counters()
        self._pacing = PacingClock()
        self._newcomers_steps = 0
        self._in_flight: Step | None = None
        self._last_token_s = self._last_end_s = -inf
        self._held_until_s = -inf

    # --- events in ---

    def submit(self, arrival: Arrival) -> None:
        """Add a request that arrives now or later.

        Raises:
            ValueError: if it could never fit in the KV cache, or if a live request has its id.
        """
        request = LiveRequest(arrival)
        if request.reserved_tokens > self.model.kv_capacity_tokens:
            raise ValueError(
                f"request {arrival.id} needs {request.reserved_tokens} tokens of KV cache; "
                f"{self.model.kv_capacity_tokens} fit"
            )
        if arrival.id in self._queues.live:
            raise ValueError(f"request {arrival.id} is live already; give every request its own id")
        self._queues.add(request)

    def abort(self, request_id: str) -> Completion | None:
        """End a request now; None if it has ended already."""
        request = self._queues.live.get(request_id)
        return None if request is None else self._end(request, FinishReason.ABORT)

    def set_knobs(self, knobs: SchedulerKnobs) -> None:
        """Obey these from the next step on."""
        self.knobs = knobs

    def hold(self, until_s: float) -> None:
        """Start no step before a time, `inf` for until further notice; requests wait."""
        self._held_until_s = until_s

    def replace_core(self, model: EngineModel, knobs: SchedulerKnobs, resume_s: float) -> int:
        """Go on as another deployment from `resume_s`, with an empty prefix cache; how many tokens were moved."""
        self.model, self.knobs = model, knobs
        self._cache = PrefixCache(model.kv_capacity_tokens)
        self._steps = StepAccount()
        self._energy.set_idle_power(self.now_s, model.idle_power_w)
        self.hold(resume_s)
        for request in self._queues.live.values():
            request.count_replay()
        return self._queues.kv_tokens

    def release(self) -> list[LiveRequest]:
        """Give all live requests away, for fresh schedulers to `adopt`; this one is done then.

        A step that is under way is lost: its joules are spent, and its tokens will be computed again.
        """
        queues, self._queues = self._queues, Queues()
        self._counters.arrived += queues.arrive(self.now_s)
        if self._in_flight is not None:
            self._energy.spend(self._in_flight.energy_j)
            self._in_flight = None
        for request in queues.live.values():
            request.count_replay()
            if request.first_step is not None and request.first_token_s is not None:
                request.longest_gap_s = self._longest_gap_s(request)
                request.last_token_s = max(self._last_token_s, request.first_token_s)
                request.first_step -= self.step
        return list(queues.live.values())

    def adopt(self, requests: Sequence[LiveRequest]) -> int:
        """Go on with requests that others released, before the first step; how many tokens they hold.

        The gap from their last tokens to the first that they get here is taken to be the longest of theirs.
        """
        assert self.step == 0, "requests count their tokens from step 0 of the scheduler that adopts them"
        for request in requests:
            self._queues.take_over(request, self.now_s, self.step)
        last_tokens_s = [request.last_token_s for request in requests if request.first_step is not None]
        self._last_token_s = min(last_tokens_s, default=-inf)
        return self._queues.kv_tokens

    def spend_energy(self, energy_j: float) -> None:
        """Account for something beside the steps, e.g. a boot."""
        self._energy.spend(energy_j)

    # --- outputs ---

    @property
    def energy_j(self) -> float:
        """Joules since the start, idle included."""
        return self._energy.total_j(self.now_s)

    @property
    def live_requests(self) -> int:
        """Requests that have not ended, those still to arrive included."""
        return len(self._queues.live)

    def generated_tokens(self, request_id: str) -> int:
        """Output tokens of a live request so far."""
        return self._queues.live[request_id].generated_tokens(self.step)

    def totals(self) -> IterationTotals:
        """Counters and gauges now."""
        queues, counters = self._queues, self._counters
        return IterationTotals(
            at_s=self.now_s,
            iterations=self.step + self._newcomers_steps,
            prompt_tokens=counters.prompt_tokens,
            cached_prompt_tokens=counters.cached_prompt_tokens,
            output_tokens=counters.output_tokens,
            arrived=counters.arrived,
            finished=counters.finished,
            preemptions=0,
            running=queues.running,
            waiting=sum(not request.ended for request in queues.waiting),
            kv_cache_usage=min(1.0, queues.kv_tokens / self.model.kv_capacity_tokens),
            itl_s_histogram=tuple(self._gaps.histogram),
        )

    def step_totals(self) -> StepTotals:
        """Sums over the steps that this deployment has begun."""
        return self._steps.totals(self.model.kv_capacity_tokens)

    # --- time ---

    def advance(self, until_s: float) -> list[Completion]:
        """Let time pass; what ended meanwhile, in order."""
        ended: list[Completion] = []
        while (event_s := self.next_event_s()) <= until_s:
            self.now_s = max(self.now_s, event_s)
            self._take_event(until_s, ended)
        self.now_s = max(self.now_s, until_s)
        return ended

    def next_event_s(self) -> float:
        """When something happens next: a step ends or starts, or a request arrives; infinity if nothing will."""
        if self._in_flight is not None:
            return self._in_flight.end_s
        return min(self._queues.next_arrival_s(), self._next_start_s())

    def _take_event(self, until_s: float, ended: list[Completion]) -> None:
        if self._in_flight is not None:
            self._end_step(self._in_flight, ended)
            return
        self._counters.arrived += self._queues.arrive(self.now_s)
        if self._next_start_s() > self.now_s:
            return
        if not self._has_prefill() and not self._pacing.held_up and self._decode_stretch(until_s, ended):
            return
        self._start_step()

    def _next_start_s(self) -> float:
        """When the next step may start; infinity without work. Only steps that decode are paced."""
        if self._has_prefill():
            return max(self.now_s, self._held_until_s)
        if self._queues.decoding:
            return max(self.now_s, self._pacing.due_s(self._pace_s()), self._held_until_s)
        return inf

    def _pace_s(self) -> float:
        """The interval, and none while somebody waits who cannot start: what the batch finishes is what makes room."""
        somebody_waits = self._queues.first_waiting() is not None
        is_full = self._queues.running + len(self._queues.waiting) > self.knobs.max_num_seqs
        return 0.0 if somebody_waits and (is_full or not self._has_prefill()) else self.knobs.pacing_interval_s

    def _has_prefill(self) -> bool:
        if self._queues.decoding >= self.knobs.max_num_batched_tokens:
            return False
        return bool(self._queues.prefilling) or self._admissible() is not None

    def _admissible(self) -> LiveRequest | None:
        """The request that may be admitted now."""
        if self._queues.running >= self.knobs.max_num_seqs:
            return None
        request = self._queues.first_waiting()
        if request is None:
            return None
        reserved_tokens = self._queues.reserved_tokens + request.reserved_tokens
        return request if reserved_tokens <= self.model.kv_capacity_tokens or not self._queues.running else None

    # --- a single step ---

    def _start_step(self) -> None:
        pace_s = self._pace_s()
        decodes = not self._queues.decoding or self._pacing.due_s(pace_s) <= self.now_s
        batch, kv_tokens = (self._queues.decoding, self._queues.kv_tokens) if decodes else (0, 0)
        chunks = tuple(self._plan_prefill(self.knobs.max_num_batched_tokens - batch))
        prefill_tokens = sum(tokens for _, tokens in chunks)
        duration_s = self.model.step_time_s(prefill_tokens, batch, kv_tokens)
        rested = self.now_s > self._last_end_s
        energy_j = self.model.step_energy_j(prefill_tokens, batch, rested)
        self._steps.add(prefill_tokens, batch, kv_tokens, duration_s, rested)
        if decodes:
            self._pacing.batch_started(self.now_s, pace_s)
        else:
            self._pacing.newcomers_started()
        self._in_flight = Step(self.now_s + duration_s, energy_j, decodes, chunks)

    def _plan_prefill(self, budget: int) -> list[tuple[LiveRequest, int]]:
        chunks: list[tuple[LiveRequest, int]] = []
        for request in self._queues.prefilling:
            budget -= self._plan_chunk(request, budget, chunks)
        while budget > 0 and (admitted := self._admissible()) is not None:
            cached_tokens = self._cache.hit_tokens(admitted.arrival) if self.knobs.reads_prefix_cache else 0
            self._queues.admit(admitted, cached_tokens)
            self._counters.cached_prompt_tokens += cached_tokens
            self._counters.prompt_tokens += admitted.arrival.prompt_tokens
            budget -= self._plan_chunk(admitted, budget, chunks)
        return chunks

    def _plan_chunk(self, request: LiveRequest, budget: int, chunks: list[tuple[LiveRequest, int]]) -> int:
        limit = self.knobs.long_prefill_token_threshold or request.missing_tokens
        tokens = min(request.missing_tokens, budget, limit)
        if tokens > 0:
            chunks.append((request, tokens))
        return max(tokens, 0)

    def _end_step(self, step: Step, ended: list[Completion]) -> None:
        self._in_flight = None
        self._energy.spend(step.energy_j)
        if step.decodes:
            gap_s = self.now_s - self._last_token_s
            self._count_decode_steps(1, gap_s, gap_s, ended)
            self._last_token_s = self.now_s
        else:
            self._newcomers_steps += 1
        for request, tokens in step.chunks:
            if not request.ended:
                self._end_chunk(request, tokens, ended)
        self._last_end_s = self.now_s

    def _end_chunk(self, request: LiveRequest, tokens: int, ended: list[Completion]) -> None:
        request.computed_tokens += tokens
        self._queues.kv_tokens += tokens
        if request.missing_tokens > 0:
            return
        self._cache.add(request.arrival)
        request.first_step, request.first_token_s = self.step, self.now_s
        self._queues.start_decoding(request)
        self._queues.kv_tokens += 1
        self._counters.output_tokens += 1
        if request.last_step == self.step:
            ended.append(self._end(request, request.arrival.finish_reason))

    # --- a stretch of decode-only steps ---

    def _decode_stretch(self, until_s: float, ended: list[Completion]) -> bool:
        """Take as many steps at once as the batch stays the same for; False if not even one ends in time."""
        queues, end_step = self._queues, self._queues.next_end_step()
        assert end_step is not None
        run = DecodeRun(
            self.now_s,
            self.model.batch_time_s(0, queues.decoding),
            self.model.kv_read_s_per_token,
            queues.kv_tokens,
            queues.decoding,
            self._pace_s(),
        )
        steps = run.steps_until(min(until_s, queues.next_arrival_s()), end_step - self.step)
        if steps == 0:
            return False
        self._take_run(run, steps, ended)
        return True

    def _take_run(self, run: DecodeRun, steps: int, ended: list[Completion]) -> None:
        first_rested = run.started_s > self._last_end_s
        self._steps.add_run(run, steps, first_rested)
        first_j = self.model.step_energy_j(0, run.batch, first_rested)
        later_j = self.model.step_energy_j(0, run.batch, rested=run.is_paced)
        self._energy.spend(first_j + (steps - 1) * later_j)
        gap_s = run.end_s(0) - self._last_token_s
        self._pacing.batch_started(run.start_s(steps - 1), run.interval_s)
        self.now_s = self._last_end_s = self._last_token_s = run.end_s(steps - 1)
        self._count_decode_steps(1, gap_s, gap_s, ended)
        if steps > 1:
            mean_gap_s = (self.now_s - run.end_s(0)) / (steps - 1)
            longest_gap_s = self.now_s - run.end_s(steps - 2)  # the context grows, and the gaps with it
            self._count_decode_steps(steps - 1, mean_gap_s, longest_gap_s, ended)

    def _count_decode_steps(self, steps: int, mean_gap_s: float, longest_gap_s: float, ended: list[Completion]) -> None:
        """Every decoding request got a token in each of these steps; those that have all of theirs end."""
        queues = self._queues
        self.step += steps
        self._gaps.add(self.step, steps, mean_gap_s, longest_gap_s, queues.decoding)
        self._counters.output_tokens += steps * queues.decoding
        queues.kv_tokens += steps * queues.decoding
        while queues.next_end_step() == self.step:
            finished = queues.first_ending()
            ended.append(self._end(finished, finished.arrival.finish_reason))

    def _end(self, request: LiveRequest, reason: FinishReason) -> Completion:
        record = request.record(self.now_s, self.step, self._longest_gap_s(request), reason)
        self._queues.remove(request, self.step)
        self._counters.finished += 1
        return Completion(request.arrival.id, record)

    def _longest_gap_s(self, request: LiveRequest) -> float:
        longest_gap_s = max(request.longest_gap_s, self._gaps.longest_after_s(request.first_step))
        if request.first_token_s is None:
            return longest_gap_s
        # It may have come after the batch's last one: its first gap is shorter.
        return min(longest_gap_s, self.now_s - request.first_token_s)
