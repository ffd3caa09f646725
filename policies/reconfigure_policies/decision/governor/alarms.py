"""Signs within one second that everything is to be given back."""

from __future__ import annotations

from math import sqrt

from reconfigure_policies.decision.governor.load import Load
from reconfigure_policies.decision.governor.sample import EngineSample
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.step_cost import Setting

#: Arrivals count as a surge above this multiple of the usual rate, chance allowed for.
_SURGE = 3.0

#: What is usual is not known before: the load was there already when one began to watch.
_LEAST_WATCHED_S = 5.0

#: Share of the running cap from which the queue is about to grow.
_NEAR_CAP = 0.9

#: Where no TTFT is demanded, requests may still not wait longer than this for their admission.
_LONGEST_WAIT_S = 1.0


def alarm(
    sample: EngineSample, waiting_before: float, load: Load, setting: Setting, slo: ServiceLevelObjective
) -> str | None:
    """Why pacing must end at once, with its numbers; None while all is well.

    Each replica is judged by itself, and told are the numbers of all together.

    Args:
        sample: the latest.
        waiting_before: requests that waited one sample earlier.
        load: the load before this sample.
        setting: what the engine was asked for.
        slo: latencies to hold.
    """
    all_of = sample.replicas
    usual_rps = max(load.usual_rps.mean, load.recent_rps.mean)
    is_usual = load.usual_rps.weight >= _LEAST_WATCHED_S
    sure_arrivals = sample.arrivals - 2 * sqrt(sample.arrivals)
    if is_usual and sure_arrivals > _SURGE * usual_rps * sample.duration_s:
        rate_rps = all_of * sample.arrivals / sample.duration_s
        return f"{rate_rps:.0f} requests/s arrive where {all_of * usual_rps:.3g} did"
    if sample.running >= _NEAR_CAP * setting.max_num_seqs and setting.max_num_seqs > 1:
        each = f" in each of {all_of} replicas" if all_of > 1 else ""
        return f"{sample.running:.0f} requests run of {setting.max_num_seqs} that may{each}"
    allowed = max(4.0, usual_rps * (slo.ttft_s or _LONGEST_WAIT_S) / 2)
    if sample.waiting > allowed and sample.waiting >= waiting_before:
        return f"{all_of * sample.waiting:.0f} requests wait, {all_of * allowed:.0f} would still start in time"
    if sample.preemptions:
        return f"{all_of * sample.preemptions:.0f} requests lost their place in the KV cache"
    return None
