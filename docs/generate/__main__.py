"""Writes every generated page; `make docs` calls it.

    python -m docs.generate [--check]

With `--check` nothing is written, and pages that are not current are named; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.grafana.source import DASHBOARDS
from docs.generate import command_line, control_api, metrics, settings

PROJECT = Path(__file__).resolve().parents[2]

#: What writes each page, by the page's path in the project; a page's function takes nothing and returns its text.
PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/command-line.md": command_line.page,
    "docs/reference/control-api.md": control_api.page,
    "docs/reference/metrics.md": metrics.page,
    "docs/reference/settings.md": settings.page,
    **{f"deploy/grafana/dashboards/{dashboard.slug}.json": dashboard.text for dashboard in DASHBOARDS},
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Writes the pages that are generated from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; name the pages that are not current")
    check = parser.parse_args(argv).check
    for name in stale(PROJECT):
        if check:
            print(f"{name} is not current; `make docs` writes it", file=sys.stderr)
        else:
            (PROJECT / name).parent.mkdir(parents=True, exist_ok=True)
            (PROJECT / name).write_text(PAGES[name](), encoding="utf-8")
            print(f"written: {name}")
    return 1 if check and stale(PROJECT) else 0


def stale(project: Path) -> list[str]:
    """Pages whose file is missing or says something else than the code."""
    return [name for name, page in PAGES.items() if not _says(project / name, page())]


def _says(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
