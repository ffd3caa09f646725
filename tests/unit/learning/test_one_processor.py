"""What is computed from trials leaves the other processors to the engine."""

from __future__ import annotations

import sys

import pytest

from reconfigure_daemon.learning.one_processor import on_one_processor


def test_blas_has_one_thread_meanwhile() -> None:
    """Every BLAS that is loaded, and as many as before afterwards."""
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="comes with the surrogates extra")

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    assert set(on_one_processor(threads)) == {1}
    assert threads()[: len(before)] == before


def test_without_the_libraries_the_work_itself_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller without the extra gets as far as before."""
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert on_one_processor(lambda: 7) == 7
