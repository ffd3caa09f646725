"""What is computed from trials leaves the other processors to the engine."""

from __future__ import annotations

import os
import subprocess
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


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a BLAS starts no thread where there is one processor")
def test_loading_the_libraries_starts_no_thread() -> None:
    """Each would spin for a while before it sleeps, one for each processor; later children know nothing of it."""
    pytest.importorskip("scipy", reason="comes with the surrogates extra")
    script = (
        "import os; from reconfigure_daemon.learning.one_processor import on_one_processor; "
        "on_one_processor(lambda: None); "
        "print(len(os.listdir('/proc/self/task')), os.environ.get('OPENBLAS_NUM_THREADS'))"
    )
    environ = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "None"]
