"""New intents, with ids that sort by time."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from reconfigure_daemon.clock import Clock
from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.domain.objective import IntentKind, Objective, OperatorIntent


def new_intent(
    clock: Clock,
    kind: IntentKind,
    source: str,
    *,
    objective: Objective | None = None,
    changes: Mapping[str, KnobValue] | None = None,
    lasting_s: float | None = None,
) -> OperatorIntent:
    """An intent that came just now, and ends after `lasting_s` if that is given."""
    now = clock.wall()
    return OperatorIntent(
        id=f"{int(now * 1e6):015x}-{secrets.token_hex(4)}",
        kind=kind,
        received_at=now,
        source=source,
        objective=objective,
        changes=dict(changes or {}),
        expires_at=None if lasting_s is None else now + lasting_s,
    )
