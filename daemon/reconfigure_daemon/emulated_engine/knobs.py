"""The knobs that the emulated scheduler obeys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from reconfigure_policies.domain.configuration import ConfigurationOutsideSpace, KnobValue

_AtLeastOne = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class SchedulerKnobs:
    """What bounds a step; names and meanings of `settings.HOT_KNOBS`, and what switches prefix caching off."""

    max_num_seqs: _AtLeastOne = 256
    max_num_batched_tokens: _AtLeastOne = 8192
    long_prefill_token_threshold: Annotated[int, Field(ge=0)] = 0
    pacing_interval_s: Annotated[float, Field(ge=0)] = 0.0
    prefix_cache_reading: bool = True
    speculation_batch_limit: Annotated[int, Field(ge=0)] = 0  # obeyed trivially: this engine drafts nothing
    enable_prefix_caching: bool = True

    def changed(self, configuration: Mapping[str, KnobValue]) -> SchedulerKnobs:
        """These knobs with the values of a configuration; knobs that the scheduler does not know are passed over.

        Raises:
            ConfigurationOutsideSpace: for a value that means nothing for its knob.
        """
        before = asdict(self)
        known = {name: value for name, value in configuration.items() if name in before}
        try:
            return _FORM.validate_python({**before, **known})
        except ValidationError as error:
            faults = [f"{fault['loc'][0]}={fault['input']}: {fault['msg']}" for fault in error.errors()]
            raise ConfigurationOutsideSpace(faults) from error

    @property
    def reads_prefix_cache(self) -> bool:
        """Whether a new request may take its prefix from the cache."""
        return self.enable_prefix_caching and self.prefix_cache_reading


_FORM = TypeAdapter(SchedulerKnobs)
