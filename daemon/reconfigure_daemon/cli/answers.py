"""The control API's answers as its own messages."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from reconfigure_daemon import __version__
from reconfigure_daemon.errors import ReconfigureError

Answer = TypeVar("Answer", bound=BaseModel)


class AnswerNotUnderstood(ReconfigureError):
    """The daemon is of another version, or something else answers at its address."""

    kind = "answer_not_understood"
    status = 502


def parsed(kind: type[Answer], answer: Any) -> Answer:
    """An answer as a message.

    Raises:
        AnswerNotUnderstood: if it is none, with the first thing that does not fit.
    """
    try:
        return kind.model_validate(answer)
    except ValidationError as fault:
        first = fault.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the whole"
        raise AnswerNotUnderstood(
            f"the answer is no {kind.__name__} of version {__version__} ({at}: {first['msg'].lower()}); use the"
            " `reconfigure` of the daemon's version, or --json for the answer as it is"
        ) from fault
