"""How an emulated deployment boots, what a cut costs its streams, and the faults that a test asks for.

`EMULATED_ENGINE` in the environment holds these as JSON, e.g.
`{"boot_s": 0.05, "faults": [{"when": {"block_size": 32}, "fault": "out_of_memory"}]}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.errors import SettingsInvalid
from reconfigure_policies.domain.configuration import KnobValue

VARIABLE = "EMULATED_ENGINE"

_NotNegative = Annotated[float, Field(ge=0)]


class Fault(StrEnum):
    """What goes wrong when a deployment boots."""

    BOOT_FAILS = "boot_fails"
    OUT_OF_MEMORY = "out_of_memory"
    HANGS = "hangs"
    WRONG_WARM_UP = "wrong_warm_up"


_LAST_WORDS = {
    Fault.BOOT_FAILS: "ValueError: the engine does not support this configuration (emulated fault)",
    Fault.OUT_OF_MEMORY: "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 13.50 GiB (emulated fault)",
    Fault.WRONG_WARM_UP: "the warm-up generated tokens other than the expected ones (emulated fault)",
}


class BootFailed(Exception):
    """A deployment did not come up; the message is the engine's own last error."""


class FaultRule(BaseModel):
    """Deployments whose configuration has all of these values fail in this way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: dict[str, KnobValue]
    fault: Fault


class Emulation(BaseModel):
    """Times and faults of booting and switching; defaults are an H200's with a pre-imported spare process.

    Attributes:
        boot_s: from the request to the first generated token.
        stall_base_s, stall_per_request_s: what a cut after pre-copy costs every live stream.
        beside_factor: how much longer steps take while two deployments share devices.
        room_beside: whether a second deployment fits beside the first, which `auto` switching asks.
        faults: the first rule that matches counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    boot_s: _NotNegative = 9.0
    stall_base_s: _NotNegative = 0.02
    stall_per_request_s: _NotNegative = 0.0006
    beside_factor: Annotated[float, Field(ge=1)] = 1.5
    room_beside: bool = True
    faults: tuple[FaultRule, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Emulation:
        """What the environment asks for; the defaults if it says nothing.

        Raises:
            SettingsInvalid: if it is not such JSON.
        """
        try:
            return cls.model_validate_json(environ.get(VARIABLE) or "{}")
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
            raise SettingsInvalid([f"environment variable {VARIABLE}: {fault}" for fault in faults]) from error

    def stall_s(self, live_requests: int) -> float:
        """How long the streams stand still when they are cut over."""
        return self.stall_base_s + self.stall_per_request_s * live_requests

    async def boot(self, configuration: Mapping[str, KnobValue], deadline_s: float, clock: Clock) -> None:
        """Let the boot of a deployment take its time.

        Raises:
            BootFailed: if a rule says so, or if it takes longer than `deadline_s`.
        """
        fault = self._fault_of(configuration)
        if fault is Fault.HANGS or self.boot_s > deadline_s:
            await clock.sleep(deadline_s)
            raise BootFailed("the new deployment did not answer before its deadline")
        await clock.sleep(self.boot_s)
        if fault is not None:
            raise BootFailed(_LAST_WORDS[fault])

    def _fault_of(self, configuration: Mapping[str, KnobValue]) -> Fault | None:
        matching = (rule.fault for rule in self.faults if rule.when.items() <= dict(configuration).items())
        return next(matching, None)
