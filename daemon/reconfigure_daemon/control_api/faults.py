"""Every fault as `{"error": {"kind": ..., "message": ..., ...facts}}` with its HTTP status."""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler
from pydantic import ValidationError

from reconfigure_daemon.errors import ReconfigureError, RequestInvalid
from reconfigure_daemon.private_socket import fault_to_json
from reconfigure_policies.domain.configuration import ConfigurationOutsideSpace

MAX_BODY_BYTES = 64 * 1024

log = logging.getLogger(__name__)

_KINDS = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


@web.middleware
async def faults_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost layer: no fault leaves as HTML or as a traceback."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        return _refused(request, refusal)
    except ConnectionError:
        raise  # nobody is left to answer
    except web.RequestPayloadError as fault:
        status, body = told(RequestInvalid(f"the body cannot be read as its headers describe it: {fault}"))
        return web.json_response(body, status=status)
    except Exception as error:  # noqa: BLE001  # whatever happens is an answer here
        status, body = told(error)
        return web.json_response(body, status=status)


def told(error: Exception) -> tuple[int, dict[str, Any]]:
    """The status and the body of an error; one that nobody named is ours and goes to the log with its traceback."""
    if isinstance(error, ReconfigureError | ConfigurationOutsideSpace):
        return fault_to_json(error)
    log.error("a control request failed", exc_info=error)
    message = f"the daemon failed: {type(error).__name__}: {error}; its log has the details".replace(": ;", ";")
    return 500, {"error": {"kind": "internal_error", "message": message}}


def http_log() -> logging.Logger:
    """Where aiohttp's server says what goes wrong below the handlers.

    What is no HTTP is the sender's fault and is answered with 400; a sender that leaves is nobody's. aiohttp would log
    a traceback of either, the first with what was sent in it, which may be a token.
    """
    logger = logging.getLogger(f"{__name__}.http")
    if not logger.filters:
        logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError)


def in_words(invalid: ValidationError) -> RequestInvalid:
    """Everything that is wrong with a body, each fault with the field it is in."""
    faults = [f"{'.'.join(map(str, fault['loc'])) or 'the body'}: {fault['msg']}" for fault in invalid.errors()]
    return RequestInvalid("; ".join(faults))


def _refused(request: web.Request, refusal: web.HTTPException) -> web.Response:
    kind = _KINDS.get(refusal.status, "refused")
    message = f"{request.method} {request.path}: {refusal.reason}"
    if refusal.status == web.HTTPNotFound.status_code:
        paths = sorted({route.resource.canonical for route in request.app.router.routes() if route.resource})
        message = f"there is no {request.path}; there are: {', '.join(paths)}"
    if refusal.status == web.HTTPRequestEntityTooLarge.status_code:
        message = f"the body is larger than {MAX_BODY_BYTES} bytes"
    headers = {name: value for name, value in refusal.headers.items() if name == "Allow"}
    return web.json_response({"error": {"kind": kind, "message": message}}, status=refusal.status, headers=headers)
