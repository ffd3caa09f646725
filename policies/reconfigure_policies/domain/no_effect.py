"""Values that change nothing: two configurations that differ only in them are one, and are learned and tried once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconfigure_policies.domain.configuration import KnobValue

#: A knob, and which of its values do the same in a configuration: nothing.
Inert = tuple[str, "Callable[[KnobValue], bool]"]


def inert_values(values: Mapping[str, KnobValue]) -> Iterator[Inert]:
    """Knobs of a configuration some of whose values have no effect in it."""
    budget = values.get("max_num_batched_tokens")
    if isinstance(budget, int) and "long_prefill_token_threshold" in values:
        # 0 is no limit; and nothing in a step is longer than the step
        yield "long_prefill_token_threshold", lambda limit: limit == 0 or float(limit) >= budget
    if values.get("enable_prefix_caching") is False and "prefix_cache_reading" in values:
        yield "prefix_cache_reading", lambda _: True
    if values.get("speculative") == "none" and "speculation_batch_limit" in values:
        yield "speculation_batch_limit", lambda _: True
    if values.get("enforce_eager") is True and "cudagraph_mode" in values:
        yield "cudagraph_mode", lambda _: True
