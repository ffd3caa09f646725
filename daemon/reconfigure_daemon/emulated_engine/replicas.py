"""Replicas of a model in one deployment: vLLM's data parallelism of dense models, where each replica is by itself."""

from __future__ import annotations

from statistics import fmean

from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.model import EngineModel
from reconfigure_daemon.emulated_engine.requests import Arrival, Completion, LiveRequest
from reconfigure_daemon.emulated_engine.scheduler import EmulatedScheduler
from reconfigure_policies.domain.steps import StepTotals, steps_of_all
from reconfigure_policies.domain.workload import IterationTotals


class EmulatedReplicas:
    """Schedulers of one deployment in the same virtual time, which share nothing but the requests that come in.

    It is used like one `EmulatedScheduler`, whose docstrings hold here for all replicas together. Knobs bound, and
    pace, each replica by itself.
    """

    def __init__(self, model: EngineModel, knobs: SchedulerKnobs, started_s: float = 0.0, replicas: int = 1) -> None:
        """Replicas without work.

        Args:
            model: of each replica.
            knobs: of each replica.
            started_s: when time begins.
            replicas: how many, at least 1.

        Raises:
            ValueError: for fewer than one.
        """
        self._present = _made(model, knobs, started_s, replicas)
        self._replica_of: dict[str, EmulatedScheduler] = {}
        self._gone: IterationTotals | None = None
        self._gone_j = 0.0

    @property
    def replicas(self) -> int:
        """How many there are in the present deployment."""
        return len(self._present)

    @property
    def model(self) -> EngineModel:
        """That of each replica."""
        return self._present[0].model

    @model.setter
    def model(self, model: EngineModel) -> None:
        for replica in self._present:
            replica.model = model

    @property
    def knobs(self) -> SchedulerKnobs:
        """Those of each replica."""
        return self._present[0].knobs

    # --- events in ---

    def submit(self, arrival: Arrival) -> None:
        """Give a request to the replica with the fewest live ones; which that is, is decided now.

        Raises:
            ValueError: if it could never fit in the KV cache of one replica, or if a live request has its id.
        """
        if arrival.id in self._replica_of:
            raise ValueError(f"request {arrival.id} is live already; give every request its own id")
        replica = min(self._present, key=lambda each: each.live_requests)
        replica.submit(arrival)
        self._replica_of[arrival.id] = replica

    def abort(self, request_id: str) -> Completion | None:
        """End a request now; None if it has ended already."""
        replica = self._replica_of.pop(request_id, None)
        return None if replica is None else replica.abort(request_id)

    def set_knobs(self, knobs: SchedulerKnobs) -> None:
        """Obey these from the next step on."""
        for replica in self._present:
            replica.set_knobs(knobs)

    def hold(self, until_s: float) -> None:
        """Start no step before a time, `inf` for until further notice; requests wait."""
        for replica in self._present:
            replica.hold(until_s)

    def replace_core(self, model: EngineModel, knobs: SchedulerKnobs, resume_s: float, replicas: int = 1) -> int:
        """Go on as another deployment from `resume_s`, with empty prefix caches; how many tokens were moved.

        Where the number of replicas changes, live requests are spread anew, evenly at each stage, and a step that is
        under way is lost; otherwise each replica goes on with those that it has.

        Raises:
            ValueError: for fewer than one replica.
        """
        if replicas == self.replicas:
            return sum(replica.replace_core(model, knobs, resume_s) for replica in self._present)
        newcomers = _made(model, knobs, self.now_s, replicas)
        moved = sorted((request for replica in self._present for request in replica.release()), key=_by_stage)
        self._gone, self._gone_j = self.totals(), self.energy_j
        self._present = newcomers
        self.hold(resume_s)
        tokens = 0
        for index, replica in enumerate(self._present):
            share = moved[index::replicas]
            tokens += replica.adopt(share)
            self._replica_of.update((request.arrival.id, replica) for request in share)
        return tokens

    def spend_energy(self, energy_j: float) -> None:
        """Account for something beside the steps, e.g. a boot."""
        self._present[0].spend_energy(energy_j)

    # --- outputs ---

    @property
    def energy_j(self) -> float:
        """Joules since the start, idle included, of replicas that are gone, too."""
        return self._gone_j + sum(replica.energy_j for replica in self._present)

    @property
    def live_requests(self) -> int:
        """Requests that have not ended, those still to arrive included."""
        return len(self._replica_of)

    def generated_tokens(self, request_id: str) -> int:
        """Output tokens of a live request so far."""
        return self._replica_of[request_id].generated_tokens(request_id)

    def totals(self) -> IterationTotals:
        """Counters since the start, of replicas that are gone, too, and gauges of the present ones.

        Both are sums, but for the KV cache, whose usage is the mean.
        """
        present = [replica.totals() for replica in self._present]
        counted = present if self._gone is None else [self._gone, *present]
        return IterationTotals(
            at_s=self.now_s,
            iterations=sum(each.iterations for each in counted),
            prompt_tokens=sum(each.prompt_tokens for each in counted),
            cached_prompt_tokens=sum(each.cached_prompt_tokens for each in counted),
            output_tokens=sum(each.output_tokens for each in counted),
            arrived=sum(each.arrived for each in counted),
            finished=sum(each.finished for each in counted),
            preemptions=sum(each.preemptions for each in counted),
            running=sum(each.running for each in present),
            waiting=sum(each.waiting for each in present),
            kv_cache_usage=fmean(each.kv_cache_usage for each in present),
            itl_s_histogram=tuple(map(sum, zip(*(each.itl_s_histogram for each in counted), strict=True))),
        )

    def step_totals(self) -> StepTotals:
        """Sums over the steps that this deployment has begun; the capacity is that of one replica."""
        return steps_of_all(replica.step_totals() for replica in self._present)

    # --- time ---

    @property
    def now_s(self) -> float:
        """The virtual time that was reached."""
        return self._present[0].now_s

    def advance(self, until_s: float) -> list[Completion]:
        """Let time pass; what ended meanwhile, in order."""
        ended = [completion for replica in self._present for completion in replica.advance(until_s)]
        for completion in ended:
            del self._replica_of[completion.id]
        return ended if self.replicas == 1 else sorted(ended, key=_ended_s)

    def next_event_s(self) -> float:
        """When something happens next in any replica; infinity if nothing will."""
        return min(replica.next_event_s() for replica in self._present)


def _made(model: EngineModel, knobs: SchedulerKnobs, started_s: float, replicas: int) -> list[EmulatedScheduler]:
    if replicas < 1:
        raise ValueError(f"{replicas} replicas of the model; there must be at least 1")
    return [EmulatedScheduler(model, knobs, started_s) for _ in range(replicas)]


def _by_stage(request: LiveRequest) -> tuple[bool, bool, float]:
    """Those that decode first, then those in prefill, then those that wait or are to come, each as they arrived."""
    return request.first_step is None, not request.admitted, request.arrival.at_s


def _ended_s(completion: Completion) -> float:
    return completion.record.arrived_s + completion.record.e2e_latency_s
