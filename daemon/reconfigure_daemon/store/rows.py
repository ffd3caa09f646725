"""Domain types to columns and back."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import TypeAdapter

from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Author, Decision, DecisionKind, Outcome, OutcomeKind
from reconfigure_policies.domain.forecast import Estimate
from reconfigure_policies.domain.history import (
    Canary,
    ControllerState,
    DecisionRecord,
    Observation,
    OwnChanges,
    SwitchMeasurement,
    WindowRecord,
)
from reconfigure_policies.domain.objective import (
    AppliedConfiguration,
    CoveredObjective,
    IntentKind,
    Objective,
    OperatorIntent,
)
from reconfigure_policies.domain.schedule import ScheduledSpan
from reconfigure_policies.domain.workload import WorkloadWindow

_LOG = logging.getLogger(__name__)
_WINDOW = TypeAdapter(WorkloadWindow)

Record = TypeVar("Record")
Row = Mapping[str, Any]


def encode(value: Mapping[str, Any] | None) -> str | None:
    """A mapping as JSON; None stays NULL."""
    return None if value is None else json.dumps(dict(value))


def encode_window(window: WorkloadWindow) -> str:
    """A window as JSON, by field name, so that a later version may add fields with defaults."""
    return json.dumps(_WINDOW.dump_python(window))


def decode_window(text: str) -> WorkloadWindow:
    """What `encode_window` wrote."""
    return _WINDOW.validate_python(json.loads(text))


def encode_text(text: str) -> str:
    """Text that SQLite takes: an engine's last words may hold bytes that were not UTF-8."""
    return text.encode(errors="replace").decode()


def encode_estimates(estimates: Mapping[str, Estimate]) -> str:
    """Estimates as JSON: median, low and high by name."""
    return json.dumps({name: [each.median, each.low, each.high] for name, each in estimates.items()})


def encode_state(state: ControllerState) -> dict[str, str]:
    """The key-value pairs of the `state` table."""
    return {
        "objective": json.dumps(state.objective),
        "objective_until": json.dumps(state.objective_until),
        "paused": json.dumps(state.paused),
        "target": json.dumps(None if state.target is None else dict(state.target)),
        "previous": json.dumps([_encode_applied(each) for each in state.previous]),
        "covered": json.dumps(_encode_covered(state.covered)),
        "governed": json.dumps(sorted(state.governed)),
        "hands_off": json.dumps(state.hands_off),
        "scheduled": json.dumps(None if state.scheduled is None else asdict(state.scheduled)),
        "pinned": json.dumps(state.pinned),
        "own": json.dumps(_encode_own(state.own)),
    }


def decode_state(pairs: Mapping[str, str]) -> ControllerState:
    """What `encode_state` wrote."""
    values = {key: json.loads(value) for key, value in pairs.items()}
    objective = Objective(values["objective"])
    return ControllerState(
        objective=objective,
        objective_until=values["objective_until"],
        paused=values["paused"],
        target=None if values["target"] is None else Configuration(values["target"]),
        previous=tuple(_decode_applied(each, objective) for each in values["previous"]),
        covered=_decode_covered(values["covered"]),
        governed=frozenset(values.get("governed", ())),  # a store from before the governor has neither
        hands_off=values.get("hands_off"),
        scheduled=_span(values.get("scheduled")),
        pinned=values.get("pinned"),
        own=_decode_own(values.get("own") or {}),
    )


def decode_decision(row: Row) -> DecisionRecord:
    """A row of decisions joined with outcomes and intents."""
    return DecisionRecord(
        id=row["id"],
        at=row["at"],
        decision=Decision(
            kind=DecisionKind(row["kind"]),
            reason=row["reason"],
            target=Configuration(json.loads(row["target"])),
            hot=json.loads(row["hot"]),
            cold=json.loads(row["cold"]),
            intent=None if row["intent_id"] is None else _intent(row),
            author=Author(row["author"]),
            expected=_decode_estimates(json.loads(row["expected"])),
        ),
        enforced_before=_configuration(row["enforced_before"]),
        outcome=None if row["outcome_kind"] is None else _outcome(row),
        outcome_at=row["outcome_at"],
        mode=row["mode"],
    )


def decode_observation(row: Row) -> Observation:
    """A row of observations."""
    return Observation(
        at=row["at"],
        host_id=row["host_id"],
        engine=row["engine"],
        engine_version=row["engine_version"],
        model=row["model"],
        configuration=Configuration(json.loads(row["configuration"])),
        window=decode_window(row["workload"]),
    )


def decode_window_record(row: Row) -> WindowRecord:
    """A row of windows."""
    configuration = Configuration(json.loads(row["configuration"]))
    return WindowRecord(row["id"], row["at"], configuration, decode_window(row["workload"]))


def decode_switch(row: Row) -> SwitchMeasurement:
    """A row of outcomes that has a mode."""
    return SwitchMeasurement(row["at"], row["mode"], row["duration_s"], json.loads(row["measurements"]))


def decode_all(rows: Iterable[Any], decode: Callable[[Row], Record]) -> list[Record]:
    """Every row that can be understood; one that cannot is left out with a warning, not the end of the rest."""
    records = []
    for row in rows:
        try:
            records.append(decode(dict(row)))
        except (ValueError, TypeError, KeyError) as fault:
            _LOG.warning("a stored row cannot be understood and is left out: %s", fault)
    return records


def _decode_estimates(stored: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate(*values) for name, values in stored.items()}


def _encode_own(own: OwnChanges) -> dict[str, Any]:
    canary = own.canary
    return {
        "canary": None
        if canary is None
        else {
            "decision_id": canary.decision_id,
            "since": canary.since,
            "configuration": dict(canary.configuration),
            "before": dict(canary.before),
            "expected": json.loads(encode_estimates(canary.expected)),
            "exploring": canary.exploring,
        },
        "redeploys_at": list(own.redeploys_at),
        "distrusted": [[dict(configuration), until] for configuration, until in own.distrusted],
        "explored_j": own.explored_j,
        "used_j": own.used_j,
    }


def _decode_own(stored: Mapping[str, Any]) -> OwnChanges:
    """What `_encode_own` wrote; a store from before the daemon changed anything by itself has nothing.

    Other keys, which an earlier version wrote, are passed by.
    """
    if not stored:
        return OwnChanges()
    canary = stored["canary"]
    return OwnChanges(
        canary=None if canary is None else _decode_canary(canary),
        redeploys_at=tuple(stored["redeploys_at"]),
        distrusted=tuple((Configuration(configuration), until) for configuration, until in stored["distrusted"]),
        explored_j=stored["explored_j"],
        used_j=stored["used_j"],
    )


def _decode_canary(stored: Mapping[str, Any]) -> Canary:
    return Canary(
        decision_id=stored["decision_id"],
        since=stored["since"],
        configuration=Configuration(stored["configuration"]),
        before=Configuration(stored["before"]),
        expected=_decode_estimates(stored["expected"]),
        exploring=stored["exploring"],
    )


def _encode_applied(applied: AppliedConfiguration) -> list[Any]:
    return [dict(applied.configuration), applied.objective, applied.until, _encode_covered(applied.covered)]


def _decode_applied(stored: Any, otherwise: Objective) -> AppliedConfiguration:
    """One of `previous`; a store from before objectives were kept with it has the bare configuration."""
    if isinstance(stored, dict):
        return AppliedConfiguration(Configuration(stored), otherwise)
    configuration, objective, until, covered = stored
    return AppliedConfiguration(Configuration(configuration), Objective(objective), until, _decode_covered(covered))


def _encode_covered(covered: Iterable[CoveredObjective]) -> list[Any]:
    return [[each.objective, each.until, dict(each.configuration)] for each in covered]


def _decode_covered(stored: Any) -> tuple[CoveredObjective, ...]:
    return tuple(CoveredObjective(Objective(name), until, Configuration(values)) for name, until, values in stored)


def _configuration(text: str | None) -> Configuration | None:
    return None if text is None else Configuration(json.loads(text))


def _span(values: Mapping[str, Any] | None) -> ScheduledSpan | None:
    return None if values is None else ScheduledSpan(**{**values, "objective": Objective(values["objective"])})


def _outcome(row: Row) -> Outcome:
    return Outcome(
        kind=OutcomeKind(row["outcome_kind"]),
        detail=row["detail"],
        enforced=_configuration(row["enforced"]),
        duration_s=row["duration_s"],
        measurements=json.loads(row["measurements"]),
    )


def _intent(row: Row) -> OperatorIntent:
    return OperatorIntent(
        id=row["intent_id"],
        kind=IntentKind(row["intent_kind"]),
        received_at=row["received_at"],
        source=row["source"],
        objective=None if row["objective"] is None else Objective(row["objective"]),
        changes=json.loads(row["changes"]),
        expires_at=row["expires_at"],
    )
