"""Clocks and power limits of the GPUs as two more hot knobs of the engine that runs on them.

The control loop sees one engine host; this one asks the device helper for what is a card's and the real host for the
rest. A knob that cannot be moved is off, with its reason, and whatever else the engine host does goes on without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from reconfigure_daemon.actuation.device_helper import CardsState, CardState, DeviceHelperUnreachable, DeviceRefused
from reconfigure_daemon.errors import ReconfigureError, RequestRefused
from reconfigure_daemon.ports import (
    EngineHost,
    EngineHostLauncher,
    HostState,
    HotResult,
    ProfileTraces,
    ProgressSink,
    SwitchReport,
    SwitchRequest,
    TelemetryBatch,
)
from reconfigure_policies.domain.configuration import KnobValue

log = logging.getLogger(__name__)

CLOCK, POWER_CAP = "gpu_clock_mhz", "power_cap_w"


class DeviceHelper(Protocol):
    """The way to the cards; see `DeviceHelperClient`, whose errors its methods raise."""

    async def renew(self) -> CardsState:
        """Hold on to what is held, and see every card."""

    async def set_clock(self, uuids: list[str], most_mhz: int) -> CardsState:
        """Lock the SM clock of cards, all or none."""

    async def set_power_cap(self, uuids: list[str], most_w: float) -> CardsState:
        """Limit the power of cards, all or none."""


class DeviceKnobs:
    """Implements `ports.EngineHost` over another one and the device helper.

    Args:
        engine: everything but the cards.
        helper: the cards.
        names: which of the two knobs the space has.
        choose: indices of the daemon's own among all cards, by their UUIDs.
    """

    def __init__(
        self,
        engine: EngineHost,
        helper: DeviceHelper,
        names: Sequence[str],
        choose: Callable[[Sequence[str]], Sequence[int]],
    ) -> None:
        self._engine = engine
        self._helper = helper
        self._names = tuple(names)
        self._choose = choose
        self._target: dict[str, KnobValue] = {}
        self._enforced: dict[str, KnobValue] = {}
        self._uuids: list[str] = []
        self._off: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._wanted: dict[str, KnobValue] = {}
        self._let_go = False
        self._helper_id: str | None = None
        self._asking = asyncio.Lock()
        self._begun = asyncio.Event()

    # --- ports.EngineHost ---

    async def state(self) -> HostState:
        """See `EngineHost.state`; asking renews the lease on the cards, and sets them again if it had lapsed."""
        await self._begun.wait()  # or the cards' knobs would look like somebody's choice before they are set
        await self._look()
        await self._set_again()
        return self._with_cards(await self._engine.state())

    async def set_knobs(self, changes: Mapping[str, KnobValue]) -> HotResult:
        """See `EngineHost.set_knobs`: the cards first, and as they were if the engine then refuses.

        Raises:
            RequestRefused: if a knob is off or a card refuses; nothing was changed.
        """
        own, rest = self._divide(changes)
        before = dict(self._enforced)
        self._forget_what_is_off()
        await self._set(own)
        try:
            result = await self._engine.set_knobs(rest) if rest or not own else await self._unchanged()
        except ReconfigureError:
            await self._set({name: before[name] for name in own if name in before})
            raise
        target, enforced = {**result.target, **self._target}, {**result.enforced, **self._enforced}
        return result.model_copy(update={"target": target, "enforced": enforced})

    async def switch(self, request: SwitchRequest, on_progress: ProgressSink | None = None) -> SwitchReport:
        """See `EngineHost.switch`: the cards last, so that a core boots and warms up as fast as before."""
        own, rest = self._divide(request.configuration)
        report = await self._engine.switch(request.model_copy(update={"configuration": rest}), on_progress)
        detail = report.detail
        if report.outcome == "applied" and not request.dry_run:
            self._forget_what_is_off()
            try:
                await self._set(own)
            except RequestRefused as refusal:
                detail = f"{detail} {refusal}"
        return report.model_copy(update={"enforced": {**report.enforced, **self._enforced}, "detail": detail})

    async def telemetry(self, after: int) -> TelemetryBatch:
        """See `EngineHost.telemetry`."""
        return await self._engine.telemetry(after)

    async def profile(self, seconds: float) -> ProfileTraces:
        """See `EngineHost.profile`."""
        return await self._engine.profile(seconds)

    async def stop(self, drain_timeout_s: float) -> None:
        """See `EngineHost.stop`; the cards are given back when the lease runs out."""
        await self._engine.stop(drain_timeout_s)

    # --- what an engine begins with ---

    async def begin_with(self, configuration: Mapping[str, KnobValue]) -> None:
        """Set the cards as a configuration says; where that fails the engine serves all the same."""
        await self._look()
        own = {name: value for name, value in self._divide(configuration)[0].items() if name not in self._off}
        try:
            await self._set(own)
        except RequestRefused as refusal:
            log.warning("%s", refusal)
        self._begun.set()

    def engine_part(self, configuration: Mapping[str, KnobValue]) -> dict[str, KnobValue]:
        """A configuration without the cards' knobs."""
        return self._divide(configuration)[1]

    # --- the cards ---

    async def _set(self, changes: Mapping[str, KnobValue]) -> None:
        """Set all of these, or none.

        Raises:
            RequestRefused: if a knob is off or refused.
        """
        for name in changes:
            if name in self._off:
                raise RequestRefused(f"{name} is off: {self._off[name]}")
        before, done = dict(self._enforced), []
        try:
            for name, value in changes.items():
                await self._set_one(name, value)
                done.append(name)
        except RequestRefused:
            with suppress(RequestRefused):
                for name in done:
                    await self._set_one(name, before[name])
            raise

    async def _set_one(self, name: str, value: KnobValue) -> None:
        if value != self._enforced.get(name):
            await self._ask(name, value)
        self._target[name] = self._wanted[name] = value

    async def _set_again(self) -> None:
        """A helper that was restarted, or did not hear of us for a while, has put the cards back."""
        if not self._let_go or not any(self._wanted.values()):
            return
        lost = {name: value for name, value in self._wanted.items() if name not in self._off}
        try:
            await self._set(lost)
            log.info("the device helper had put the cards back; they are set again: %s", lost)
        except RequestRefused as refusal:
            log.warning("%s", refusal)

    def _forget_what_is_off(self) -> None:
        """A command that comes while a knob is off is made without it: what was wanted of it before is over."""
        self._wanted = {name: value for name, value in self._wanted.items() if name not in self._off}

    async def _ask(self, name: str, value: KnobValue) -> None:
        try:
            await self._tell(name, value)
        except DeviceRefused as refusal:
            if refusal.by_card:
                self._refused[name] = str(refusal)
                with suppress(DeviceRefused, DeviceHelperUnreachable):
                    await self._tell(name, 0)  # a knob that is off holds no card
                self._switch_off({name: str(refusal)})
            raise RequestRefused(f"{name}={value} was not set: {refusal}") from refusal
        except DeviceHelperUnreachable as silence:
            self._switch_off(dict.fromkeys(self._names, str(silence)))
            raise RequestRefused(f"{name}={value} was not set: {silence}") from silence

    async def _tell(self, name: str, value: KnobValue) -> None:
        async with self._asking:
            if name == CLOCK:
                self._take(await self._helper.set_clock(self._uuids, int(value)))
            else:
                self._take(await self._helper.set_power_cap(self._uuids, float(value)))

    async def _look(self) -> None:
        """See the cards, and hold on to them; a card that nobody can see takes its knobs along."""
        try:
            async with self._asking:  # or an answer from before a change could be taken after it
                self._take(await self._helper.renew())
        except (DeviceHelperUnreachable, DeviceRefused) as fault:
            self._switch_off(dict.fromkeys(self._names, str(fault)))

    def _take(self, seen: CardsState) -> None:
        if seen.helper != self._helper_id:
            self._helper_id, self._refused = seen.helper, {}  # what its predecessor was refused may be allowed now
        cards = [seen.gpus[index] for index in self._choose([card.uuid for card in seen.gpus])]
        self._uuids = [card.uuid for card in cards]
        self._let_go = any(card.holder is None for card in cards)
        fault = _fault(cards)
        self._switch_off(dict.fromkeys(self._names, fault) if fault else self._refused)
        clocks_mhz, caps_w = [card.clock_mhz for card in cards], [card.power_cap_w for card in cards]
        for name in self._names:
            if name not in self._off:
                self._enforced[name] = _common(clocks_mhz if name == CLOCK else caps_w)
                self._target.setdefault(name, self._enforced[name])

    def _switch_off(self, off: Mapping[str, str]) -> None:
        """Knobs that are off have neither target nor value; others that were off are on again."""
        for name, reason in off.items():
            if name not in self._off:
                log.warning("%s is off: %s", name, reason)
            self._target.pop(name, None)
            self._enforced.pop(name, None)
        self._off = dict(off)

    async def _unchanged(self) -> HotResult:
        state = await self._engine.state()
        return HotResult(target=state.target, enforced=state.enforced, latency_s=0.0)

    def _with_cards(self, state: HostState) -> HostState:
        capabilities = state.capabilities
        hot = [*capabilities.hot_knobs, *(name for name in self._names if name not in self._off)]
        return state.model_copy(
            update={
                "target": {**state.target, **self._target},
                "enforced": {**state.enforced, **self._enforced},
                "capabilities": capabilities.model_copy(update={"hot_knobs": hot}),
                "off_knobs": {**state.off_knobs, **self._off},
            }
        )

    def _divide(self, values: Mapping[str, KnobValue]) -> tuple[dict[str, KnobValue], dict[str, KnobValue]]:
        own = {name: value for name, value in values.items() if name in self._names}
        return own, {name: value for name, value in values.items() if name not in own}


class DeviceLauncher:
    """Implements `ports.EngineHostLauncher` over another one: its hosts come with the cards' knobs."""

    def __init__(self, launcher: EngineHostLauncher, device: DeviceKnobs) -> None:
        self._launcher = launcher
        self._device = device

    async def adopt_or_start(self, configuration: Mapping[str, KnobValue] | None = None) -> EngineHost:
        """See `EngineHostLauncher.adopt_or_start`."""
        await self._device.begin_with(configuration or {})
        await self._launcher.adopt_or_start(None if configuration is None else self._device.engine_part(configuration))
        return self._device

    async def restart(self, configuration: Mapping[str, KnobValue]) -> EngineHost:
        """See `EngineHostLauncher.restart`."""
        await self._device.begin_with(configuration)
        await self._launcher.restart(self._device.engine_part(configuration))
        return self._device


def _fault(cards: Sequence[CardState]) -> str | None:
    """Why these cards cannot be set now, or None."""
    if not cards:
        return "no GPU is this daemon's; look at CUDA_VISIBLE_DEVICES"
    return next((f"GPU {card.uuid} does not answer ({card.fault})" for card in cards if card.fault), None)


def _common(values: Sequence[float]) -> KnobValue:
    """What all cards have in common; 0 where they differ, since no value is in force then. Whole numbers are ints."""
    value = values[0] if len(set(values)) == 1 else 0
    return int(value) if float(value).is_integer() else value
