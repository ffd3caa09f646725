"""What each request answered, one JSON line each, so that two replays can be compared token for token."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from reconfigure_daemon.load_generation.results import RequestResult


def write_outputs(path: Path, results: Iterable[RequestResult]) -> None:
    """Write one line for each result, ordered by request; raises `OSError`.

    `sha256` is of `token_ids`, or of `text` where the server sends no ids (the list is empty then).
    """
    with path.open("w", encoding="utf-8") as file:
        for result in sorted(results, key=lambda result: result.request.index):
            line = {
                "request": result.request.index,
                "status": result.status.value,
                "finish_reason": result.finish_reason,
                "output_tokens": result.output_tokens,
                "sha256": result.output_digest,
                "token_ids": list(result.token_ids),
                "text": result.text,
            }
            file.write(json.dumps(line) + "\n")
