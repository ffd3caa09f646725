"""Keys that are fine alone and wrong together; pure but for the date that the calendar is looked through from."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from difflib import get_close_matches
from ipaddress import ip_address
from typing import TYPE_CHECKING

from reconfigure_daemon.durations import format_duration
from reconfigure_daemon.schedules import Schedule
from reconfigure_daemon.settings.knobs import DEVICE_KNOBS, HOT_KNOBS, misspelt_hot_knob, values_faults
from reconfigure_daemon.settings.limits import impossible, lone_memory_keys, unknown_exclusions
from reconfigure_policies.decision.governor import CLOCK
from reconfigure_policies.domain.configuration import Knob, KnobValue, Tier, format_value
from reconfigure_policies.domain.parallelism import DATA_PARALLEL

if TYPE_CHECKING:
    from reconfigure_daemon.settings.model import KnobSettings, Settings

#: Where a key stands, and what is wrong with it.
Contradiction = tuple[tuple[str | int, ...], str]

#: Words of vLLM's command line that have a key of their own, or that the daemon decides.
_OWN_KEYS = {"host": "engine.host", "port": "engine.port", "model": "engine.model", "uds": "engine.host"}


def contradictions(settings: Settings) -> list[Contradiction]:
    """Every disagreement between keys, each at the key to change."""
    space = [fault for name, knob in settings.space.items() for fault in _knob(name, knob)]
    space += _largest(settings)
    named = [*_objectives(settings), *unknown_exclusions(settings), *lone_memory_keys(settings)]
    return [
        *space,
        *named,
        *(() if space or named else impossible(settings)),  # only sound values can be put together
        *_schedules(settings),
        *_governor(settings),
        *_device(settings),
        *_arguments(settings),
        *_addresses(settings),
    ]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _knob(name: str, knob: KnobSettings) -> Iterator[Contradiction]:
    meant = misspelt_hot_knob(name)
    if meant:
        yield ("space", name), f"there is no knob {name!r}; did you mean {meant!r}?"
        return
    for index, text in values_faults(name, knob.values):
        yield ("space", name, "values", index), text
    if knob.default is not None and not _allows(knob, knob.default):
        yield ("space", name, "default"), _outside(knob.default, knob) + "; choose one of them or add it to values"
    yield from _reserved(name, knob)


def _reserved(name: str, knob: KnobSettings) -> Iterator[Contradiction]:
    """A fresh engine starts with the default whatever the objective, and hot knobs are the governor's to move."""
    for objective, values in knob.reserved.items():
        at = ("space", name, "reserved", objective.value)
        default = knob.values[0] if knob.default is None else knob.default
        for index, value in enumerate(values):
            if not _allows(knob, value):
                yield (*at, index), _outside(value, knob) + "; choose one of them or add it to values"
            elif value == default:
                yield (*at, index), f"found {format_value(value)}, which is the default; reserve another or change that"
        if name in HOT_KNOBS or name in DEVICE_KNOBS:
            yield at, f"{name} moves inside the running core; only values of knobs that need a new one are reserved"


def _largest(settings: Settings) -> Iterator[Contradiction]:
    """A core boots with the largest of both, and vLLM refuses fewer tokens in a step than requests."""
    requests, tokens = settings.space.get("max_num_seqs"), settings.space.get("max_num_batched_tokens")
    if requests is None or tokens is None:
        return
    most = [[v for v in knob.values if isinstance(v, int)] for knob in (requests, tokens)]
    if most[0] and most[1] and max(most[1]) < max(most[0]):
        yield (
            ("space", "max_num_batched_tokens", "values"),
            f"found {max(most[1])} as the largest token budget and {max(most[0])} as the largest max_num_seqs; each"
            f" running request takes a token of every step, so add a budget of {max(most[0])} or lower max_num_seqs",
        )


def _objectives(settings: Settings) -> Iterator[Contradiction]:
    for objective, values in settings.objectives.items():
        for name, value in values.items():
            knob = settings.space.get(name)
            at = ("objectives", objective.value, name)
            if knob is None:
                meant = get_close_matches(name, settings.space, n=1)
                hint = f"did you mean {meant[0]!r}?" if meant else f"it has: {', '.join(settings.space)}"
                yield at, f"there is no knob {name!r} in the space; {hint}"
            elif not _allows(knob, value):
                yield at, _outside(value, knob) + f"; choose one of them or add it to space.{name}.values"
            elif owners := [o for of, own in knob.owners() if of == value and objective not in own for o in own]:
                reserved = f"found {format_value(value)}, which space.{name}.reserved keeps for {', '.join(owners)}"
                yield at, f"{reserved}; choose another, or add it there for {objective}"


def _schedules(settings: Settings) -> Iterator[Contradiction]:
    """Each wants an objective that has a configuration or may find one, and no two want different things at once."""
    for name, schedule in settings.schedules.items():
        if schedule.objective not in settings.objectives and not settings.decision.enabled:
            yield (
                ("schedules", name, "objective"),
                f"found {schedule.objective}, which has no configuration; add it to objectives, or enable decision",
            )
    for clash in settings.calendar().contradictions(time.time()):
        first, second = clash.first, clash.second
        at = datetime.fromtimestamp(clash.at, second.recurrence.zone)
        yield (
            ("schedules", second.name, "cron"),
            f"begins together with schedule {first.name!r} at {at:%Y-%m-%d %H:%M} ({at.tzinfo}) and wants"
            f" {_wish(second)} where that one wants {_wish(first)}; change one of the two",
        )


def _wish(schedule: Schedule) -> str:
    lasting = "" if schedule.lasts_s is None else f" for {format_duration(schedule.lasts_s)}"
    return f"{schedule.objective}{lasting}"


def _governor(settings: Settings) -> Iterator[Contradiction]:
    """It slows decoding down as far as the SLO allows, so the SLO must say how far, and the space by what steps."""
    if not settings.governor.enabled:
        return
    at = ("governor", "enabled")
    if settings.slo.tpot_s is None and settings.slo.e2e_latency_s is None:
        yield at, "found true, and nothing says how slow an answer may be; set slo.tpot_s, e.g. 0.05, or false"
    pacing = settings.space.get("pacing_interval_s")
    if pacing is None or len(pacing.values) < 2:
        yield (
            at,
            "found true, and there is no pace to choose; give space.pacing_interval_s several values, e.g."
            " [0, 0.01, 0.02, 0.03, 0.045]",
        )
    clocks = settings.space.get(CLOCK)
    if settings.governor.clocks and (clocks is None or len(clocks.values) < 2):
        yield (
            ("governor", "clocks"),
            f"found true, and there is no clock to choose; give space.{CLOCK} several values, e.g. [0, 1200, 1590], or"
            " set it to false",
        )


def _device(settings: Settings) -> Iterator[Contradiction]:
    """Without 0 a card could never be given back."""
    for name in DEVICE_KNOBS:
        knob = settings.space.get(name)
        if knob is None:
            continue
        if not settings.device.enabled:
            yield ("space", name), "the daemon may not set GPUs; set device.enabled to true, or take this knob out"
        elif 0 not in knob.values:
            yield ("space", name, "values"), "found no 0, which gives the cards back; add it"


def _arguments(settings: Settings) -> Iterator[Contradiction]:
    for given, value in settings.engine.arguments.items():
        name, at = given.replace("-", "_"), ("engine", "arguments", given)
        if name in settings.space:
            yield at, f"{name} is also a knob of the space, which decides its value; remove one of the two"
        elif name == "compilation_config" and "cudagraph_mode" in settings.space and not _is_json_object(value):
            yield at, f"found {value!r}; beside space.cudagraph_mode a JSON object is allowed, e.g. '{{\"level\": 3}}'"
        elif name == "speculative_config" and "speculative" in settings.space:
            yield at, "space.speculative decides it; remove one of the two"
        elif name == DATA_PARALLEL:
            yield at, f"how many replicas there are is for the space; write space.{name}: {{values: [{value}]}} instead"
        elif name == "profiler_config" and settings.engine.profiler:
            yield at, "engine.profiler sets it; remove one of the two"
        elif name in _OWN_KEYS:
            yield at, f"{name} has a key of its own; set {_OWN_KEYS[name]} instead"


def _addresses(settings: Settings) -> Iterator[Contradiction]:
    api, engine = settings.control_api, settings.engine
    if not is_loopback(api.host) and api.token_file is None:
        yield (
            ("control_api", "host"),
            f"found {api.host!r}, which other machines can reach; beyond 127.0.0.1 a token is required: name a file of"
            " mode 600 in control_api.token_file, or keep to loopback",
        )
    everywhere = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound
    if api.port == engine.port and (api.host == engine.host or everywhere & {api.host, engine.host}):
        yield (
            ("control_api", "port"),
            f"found {api.port}, which is engine.port too; give each its own, e.g. 9400 and 8000",
        )


def _is_json_object(value: object) -> bool:
    try:
        return isinstance(json.loads(str(value)), dict)
    except ValueError:
        return False


def _allows(knob: KnobSettings, value: KnobValue) -> bool:
    return Knob("", Tier.COLD, tuple(knob.values), knob.values[0]).allows(value)


def _outside(value: KnobValue, knob: KnobSettings) -> str:
    return f"found {format_value(value)}; allowed: {', '.join(map(format_value, knob.values))}"
