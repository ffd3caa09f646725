"""One streamed completion as it comes in: server-sent events in, times and tokens out. No I/O."""

from __future__ import annotations

import json
from array import array
from typing import Any


class CompletionStream:
    """Takes the bytes of a `text/event-stream` answer of `/v1/completions`, in whatever pieces they arrive.

    An *output* is an event that carries tokens; a server may put several tokens into one, so gaps are between
    outputs, as a client sees them.

    Attributes:
        first_output_s, last_output_s: monotonic times of the first and the latest output, None before.
        gaps_s: time between each output and the next, seconds.
        output_tokens: the server's own count (`usage`) once it came; until then token ids, or outputs without those.
        finish_reason: the server's, None before the end.
        done: whether `[DONE]` came.
        fault: what the server reported or sent in place of an output, "" if all was well.
        token_ids: the output's token ids, if the server sends them and they are kept.
        text: pieces of the output's text, if they are kept.
    """

    __slots__ = (
        "_keep_output",
        "_rest",
        "done",
        "fault",
        "finish_reason",
        "first_output_s",
        "gaps_s",
        "last_output_s",
        "output_tokens",
        "text",
        "token_ids",
    )

    def __init__(self, *, keep_output: bool = False) -> None:
        self._keep_output = keep_output
        self._rest = b""
        self.first_output_s: float | None = None
        self.last_output_s: float | None = None
        self.gaps_s = array("d")
        self.output_tokens = 0
        self.finish_reason: str | None = None
        self.done = False
        self.fault = ""
        self.token_ids = array("I")
        self.text: list[str] = []

    def feed(self, piece: bytes, at_s: float) -> None:
        """Take a piece of the body that was read at a monotonic time."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._take_event(line[5:].strip(), at_s)

    def _take_event(self, payload: bytes, at_s: float) -> None:
        if payload == b"[DONE]":
            self.done = True
            return
        try:
            event = json.loads(payload.decode())
            self._take_object(event, at_s)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
            self.fault = self.fault or f"an event that is no completion: {payload[:120].decode(errors='replace')}"

    def _take_object(self, event: dict[str, Any], at_s: float) -> None:
        if event.get("error"):
            error = event["error"]
            self.fault = str(error.get("message", error) if isinstance(error, dict) else error)
        if event.get("choices"):
            self._take_choice(event["choices"][0], at_s)
        if event.get("usage"):
            self.output_tokens = int(event["usage"]["completion_tokens"])

    def _take_choice(self, choice: dict[str, Any], at_s: float) -> None:
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        text, token_ids = choice.get("text") or "", choice.get("token_ids")
        # Without ids an empty text still is a token (half of a character), unless the event only says that it is over.
        carries_output = bool(token_ids) if token_ids is not None else bool(text) or not choice.get("finish_reason")
        if carries_output or text:
            self._note_output(at_s, 1 if token_ids is None else len(token_ids))
        if self._keep_output:
            self.text.append(text)
            self.token_ids.extend(token_ids or ())

    def _note_output(self, at_s: float, tokens: int) -> None:
        self.output_tokens += tokens
        if self.last_output_s is None:
            self.first_output_s = at_s
        else:
            self.gaps_s.append(at_s - self.last_output_s)
        self.last_output_s = at_s
