"""A workload that is another than before, told in words."""

from __future__ import annotations

from dataclasses import dataclass

from reconfigure_policies.domain.forecast import WorkloadContext

#: Fields of a context that a shift is told in, with their names for people.
SHIFT_WORDS = {
    "arrival_rate_rps": "arrival rate",
    "prompt_tokens": "prompt length",
    "output_tokens": "output length",
}

#: A change by less than this factor is not worth a word.
_WORTH_TELLING = 1.25

#: Prompt tokens for each output token from which traffic looks like code completion, and below which like writing.
_CODE, _WRITING = 20.0, 1.0


@dataclass(frozen=True, slots=True)
class WorkloadShift:
    """From one steady workload to another.

    Attributes:
        before, after: means of the two.
        at_s: when the window ended that gave it away, on the host's monotonic clock.
    """

    before: WorkloadContext
    after: WorkloadContext
    at_s: float

    @property
    def factors(self) -> dict[str, float]:
        """After over before, for the fields that changed enough to tell, the largest change first."""
        factors = {
            name: getattr(self.after, name) / getattr(self.before, name)
            for name in SHIFT_WORDS
            if getattr(self.before, name) > 0 and getattr(self.after, name) > 0
        }
        told = {name: factor for name, factor in factors.items() if max(factor, 1 / factor) >= _WORTH_TELLING}
        return dict(sorted(told.items(), key=lambda each: max(each[1], 1 / each[1]), reverse=True))

    def __str__(self) -> str:
        changes = ", ".join(
            f"{SHIFT_WORDS[name]} {'up' if factor > 1 else 'down'} {max(factor, 1 / factor):.2g}x "
            f"to {getattr(self.after, name):.3g}"
            for name, factor in self.factors.items()
        )
        before, after = kind_of_traffic(self.before), kind_of_traffic(self.after)
        return f"from {before} to {after}: {changes}" if before != after else changes


def kind_of_traffic(context: WorkloadContext) -> str:
    """What requests of this shape usually are: `code` reads much and writes little, `writing` the other way round."""
    ratio = context.prompt_tokens / max(1.0, context.output_tokens)
    return "code" if ratio >= _CODE else "writing" if ratio < _WRITING else "chat"
