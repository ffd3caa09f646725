"""Reads a trace line by line, plain or gzipped, and keeps account of the lines it cannot use."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from reconfigure_daemon.load_generation.formats import FORMATS, LineFault, LineParser, TraceFormat
from reconfigure_daemon.load_generation.trace import TraceInvalid, TraceRequest

#: Faults that are told in words; a file that is of another kind altogether need not be read to its end.
FAULTS_TOLD = 10

_GZIP_MAGIC = b"\x1f\x8b"


class TraceReader:
    """Iterates over a trace's requests in order of arrival, reading no further than it is asked to.

    Attributes:
        path: the file.
        format: the publisher's format, recognised by the first line.
        bad_lines: lines that could not be used so far.
        faults: the first `FAULTS_TOLD` of them in words, as `file:line: found ..., expected ...`.

    Raises:
        TraceInvalid: at once, if the file cannot be read or its first line is of no known format; while iterating,
            if the file is damaged, and at the `FAULTS_TOLD`th bad line unless `skip_bad`; fewer are for `check`.
    """

    def __init__(self, path: Path, *, skip_bad: bool = False) -> None:
        self.path = path
        self.bad_lines = 0
        self.faults: list[str] = []
        self._skip_bad = skip_bad
        with self._lines() as lines:
            first_line = next(lines, "").rstrip("\r\n")
        self.format, self._parse = self._recognise(first_line)

    def __iter__(self) -> Iterator[TraceRequest]:
        origin_s: float | None = None
        latest_s = 0.0
        with self._lines() as lines:
            for number, line in enumerate(lines, start=1):
                if (number == 1 and self.format.has_header) or not line.strip():
                    continue
                try:
                    request = self._parse(line.rstrip("\r\n"))
                    origin_s = request.arrival_s if origin_s is None else origin_s
                    arrival_s = self._in_order(request.arrival_s - origin_s, latest_s)
                except LineFault as fault:
                    self._note(number, fault)
                    continue
                latest_s = arrival_s
                yield TraceRequest(arrival_s, request.prompt_tokens, request.output_tokens, request.blocks)

    def check(self) -> None:
        """Raise `TraceInvalid` if bad lines were met and are not to be skipped."""
        if self.faults and not self._skip_bad:
            raise TraceInvalid([*self.faults, "nothing was done; mend these lines, or leave them out with --skip-bad"])

    def _recognise(self, first_line: str) -> tuple[TraceFormat, LineParser]:
        for trace_format in FORMATS:
            try:
                parse = trace_format.recognise(first_line)
            except LineFault:
                continue
            if parse is not None:
                return trace_format, parse
        known = "\n".join(f"  {known.name}: {known.first_line}" for known in FORMATS)
        found = repr(first_line[:80]) if first_line else "an empty line"
        raise TraceInvalid([f"{self.path}:1: found {found}, expected the first line of one of:\n{known}"])

    @staticmethod
    def _in_order(arrival_s: float, latest_s: float) -> float:
        if arrival_s < latest_s:
            raise LineFault(
                f"found an arrival {latest_s - arrival_s:g} s before that of an earlier line, expected "
                "lines sorted by arrival"
            )
        return arrival_s

    def _note(self, number: int, fault: LineFault) -> None:
        self.bad_lines += 1
        if len(self.faults) < FAULTS_TOLD:
            self.faults.append(f"{self.path}:{number}: {fault}")
        if len(self.faults) == FAULTS_TOLD:
            self.check()

    @contextmanager
    def _lines(self) -> Iterator[Iterator[str]]:
        """The file's lines, with whatever is wrong with the file itself turned into `TraceInvalid`."""
        try:
            with _open_text(self.path) as lines:
                yield lines
        except (EOFError, gzip.BadGzipFile, zlib.error) as fault:
            raise TraceInvalid([f"{self.path}: found a damaged gzip file ({fault}); fetch it again"]) from fault
        except OSError as fault:
            raise TraceInvalid([f"{self.path}: cannot be read ({fault.strerror})"]) from fault


def _open_text(path: Path) -> TextIO:
    """Open a plain or gzipped file, told by its content; bytes that are no UTF-8 become bad lines, not an end."""
    with path.open("rb") as file:
        compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    if compressed:
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="\n")
    return path.open(encoding="utf-8-sig", errors="replace", newline="\n")
