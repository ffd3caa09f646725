"""Surrogates are computed on one processor, whatever the machine has.

Their matrices are small. A BLAS spreads them over every processor all the same, gains nothing, and its threads spin
while they wait. OpenBLAS, of which numpy's and scipy's wheels bring a copy each, starts its threads when it is loaded,
and each spins for 0.1 s before it sleeps: in the minutes of the first fit the controller took 8 s of processor time
more than before them on a server of 32 processors, where the fit and all that it loads take one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")

#: What OpenBLAS reads once, when it is loaded.
_OPENBLAS_THREADS = "OPENBLAS_NUM_THREADS"


def on_one_processor(work: Callable[[], _T]) -> _T:
    """Do it with BLAS libraries limited to one thread; as it is, where the libraries of surrogates are missing."""
    try:
        with _one_openblas_thread():
            import scipy.linalg  # noqa: F401  # brings its BLAS and numpy's: only what is loaded can be limited
        from threadpoolctl import threadpool_limits  # with the surrogates extra only
    except ImportError:
        return work()
    with threadpool_limits(limits=1, user_api="blas"):  # one that was loaded before, and others than OpenBLAS
        return work()


@contextmanager
def _one_openblas_thread() -> Iterator[None]:
    """What is loaded meanwhile starts none beside the one that computes, unless the operator said how many."""
    if _OPENBLAS_THREADS in os.environ:
        yield
        return
    os.environ[_OPENBLAS_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_OPENBLAS_THREADS]
