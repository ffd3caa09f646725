"""The control API as the verbs see it: JSON in, JSON out, and faults as errors. Standard library only, for speed."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from reconfigure_daemon.cli.addresses import address
from reconfigure_daemon.errors import DaemonUnreachable, ReconfigureError, RequestInvalid

DEFAULT_URL = "http://127.0.0.1:9400"
ANSWER_TIMEOUT_S = 10.0

#: For writing traces and reading them.
PROFILE_TIMEOUT_S = 900.0

#: What is learned from may have to be fitted before there is an answer.
LEARNING_TIMEOUT_S = 60.0

Progress = Callable[[dict[str, Any]], None]


class ControlApiFault(ReconfigureError):
    """The daemon refused or failed a request; `kind`, `facts` and the message are its own.

    Attributes:
        facts: what else the daemon's error held, e.g. `action` and `since` of a 409.
    """

    def __init__(self, status: int, kind: str, message: str, facts: Mapping[str, Any]) -> None:
        self.status, self.kind, self.facts = status, kind, dict(facts)
        super().__init__(message)


class ControlApiClient:
    """Speaks to one daemon; a connection for each request."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = address(url, DEFAULT_URL)
        self.url = url.rstrip("/")
        self._tls, self._host, self._port = parts.scheme == "https", str(parts.hostname), parts.port
        self._path = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, *, timeout_s: float = ANSWER_TIMEOUT_S, **query: Any) -> Any:
        """The answer to a question.

        Raises:
            DaemonUnreachable: if nobody answers there.
            ControlApiFault: if the daemon refuses.
        """
        given = {name: value for name, value in query.items() if value is not None}
        target = path + ("?" + urlencode(given) if given else "")
        return self._exchange("GET", target, None, timeout_s, _whole_answer)

    def lines(self, path: str) -> list[bytes]:
        """The lines of an answer that is one JSON document per line.

        Raises:
            DaemonUnreachable: if nobody answers there.
            ControlApiFault: if the daemon refuses.
        """
        return list(self._exchange("GET", path, None, ANSWER_TIMEOUT_S, lambda response: response.readlines()))

    def send(self, path: str, body: bytes, timeout_s: float = LEARNING_TIMEOUT_S) -> Any:
        """The answer to something that is sent.

        Raises:
            DaemonUnreachable: if nobody answers there.
            ControlApiFault: if the daemon refuses.
        """
        return self._exchange("POST", path, body, timeout_s, _whole_answer)

    def intend(self, request: Mapping[str, Any], progress: Progress) -> Any:
        """What became of an intent, an `IntentResult`; `progress` sees each step on the way, however long it takes.

        Raises:
            DaemonUnreachable: if nobody answers there.
            ControlApiFault: if the daemon refuses, or stops answering before the end.
        """
        body = json.dumps({"source": "cli", **request}).encode()
        return self._exchange("POST", "/v1/intents", body, None, lambda response: _last_line(response, progress))

    def profile(self, seconds: float) -> Any:
        """Where the running configuration's time goes, a `ProfileView`; takes as long as recording and reading do.

        Raises:
            DaemonUnreachable: if nobody answers there.
            ControlApiFault: if the daemon refuses.
        """
        body = json.dumps({"seconds": seconds}).encode()
        return self._exchange("POST", "/v1/profile", body, seconds + PROFILE_TIMEOUT_S, _whole_answer)

    def _exchange(
        self,
        method: str,
        target: str,
        body: bytes | None,
        timeout_s: float | None,
        read: Callable[[http.client.HTTPResponse], Any],
    ) -> Any:
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=ANSWER_TIMEOUT_S)
        accept = "application/json" if body is None else "application/x-ndjson"
        headers = {**self._headers, "Accept": accept, "Content-Type": "application/json"}
        try:
            connection.request(method, self._path + target, body, headers)
            connection.sock.settimeout(timeout_s)
            response = connection.getresponse()
            if response.status >= 400:
                raise self._refused(response.status, response.read())
            return read(response)
        except (OSError, http.client.HTTPException, ValueError) as fault:
            raise self._unreachable(fault) from fault
        finally:
            connection.close()

    def _refused(self, status: int, body: bytes) -> ControlApiFault:
        fault = _refusal(status, body)
        if fault.kind == "not_found" and self._path:
            text = (
                f"found the path {self._path} in {self.url}, where the control API is not; give the address without it"
            )
            return ControlApiFault(status, fault.kind, text, fault.facts)
        return fault

    def _unreachable(self, fault: Exception) -> DaemonUnreachable:
        if isinstance(fault, OSError):
            reason = "it did not answer in time" if isinstance(fault, TimeoutError) else fault.strerror or str(fault)
        else:
            reason = "what answers there is no control API"
        return DaemonUnreachable(
            f"no daemon answers at {self.url} ({reason}). Start one with `reconfigure serve`, or `systemctl start"
            " reconfigure` where it is a service; name another address with --url or RECONFIGURE_URL"
        )


def read_token(path: Path | None) -> str | None:
    """The token of a file, or None without one.

    Raises:
        RequestInvalid: if the file holds no token.
    """
    if path is None:
        return None
    token = path.read_text("utf-8", errors="replace").strip()
    if not (token.isascii() and token.isprintable() and token) or " " in token:
        raise RequestInvalid(f"the token file {path} holds no token; it is one line of ASCII without blanks")
    return token


def _whole_answer(response: http.client.HTTPResponse) -> Any:
    return json.loads(response.read())


def _last_line(response: http.client.HTTPResponse, progress: Progress) -> Any:
    """Hand on every progress line and return the result that ends the stream."""
    try:
        while line := response.readline():
            message = json.loads(line)
            if not isinstance(message, dict):
                break
            if "error" in message:
                raise _fault(500, message["error"])
            if message.pop("event", None) != "progress":
                return message
            progress(message)
    except (OSError, http.client.HTTPException, ValueError):
        pass  # the same as an end without a result
    text = (
        "the connection ended before the outcome was known, and the daemon may still be at work; see what it does with"
        " `reconfigure status` and what became of it with `reconfigure history`"
    )
    raise ControlApiFault(502, "outcome_unknown", text, {})


def _refusal(status: int, body: bytes) -> ControlApiFault:
    """The daemon's own error; anything else that answers with an error status is named by that."""
    answer = json.loads(body) if body.lstrip().startswith(b"{") else {}
    error = answer.get("error")
    if not isinstance(error, dict):
        text = (
            f"found HTTP {status}, which is no answer of a control API; --url or RECONFIGURE_URL names the daemon's own"
            " port (9400 as shipped), not the engine's"
        )
        error = {"kind": "not_a_control_api", "message": text}
    return _fault(status, error)


def _fault(status: int, error: Mapping[str, Any]) -> ControlApiFault:
    facts = {name: value for name, value in error.items() if name not in ("kind", "message")}
    message = str(error.get("message", f"HTTP {status}"))
    if status == 401:
        message += "; pass the daemon's token with --token-file FILE or RECONFIGURE_TOKEN_FILE"
    return ControlApiFault(status, str(error.get("kind", "error")), message, facts)
