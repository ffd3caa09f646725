"""Most that one request for the past or for the calendar may ask for.

The control API refuses more, its description says so, and the command line takes its options' bounds from here.
"""

from __future__ import annotations

#: Decisions of `GET /v1/decisions` and `reconfigure history`.
MOST_DECISIONS = 500

#: Windows of `GET /v1/windows`.
MOST_WINDOWS = 1000

#: Days ahead of `GET /v1/schedule` and `reconfigure schedule`.
MOST_DAYS = 366
