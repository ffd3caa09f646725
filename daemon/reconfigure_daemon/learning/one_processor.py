"""Surrogates are computed on one processor, whatever the machine has.

Their matrices are small. A BLAS spreads them over every processor all the same, gains nothing, and its threads spin
while they wait: the minutes of the first fit took the controller 10 s of processor time more than those before, on a
server of 32 processors, where one needs 0.2 s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def on_one_processor(work: Callable[[], _T]) -> _T:
    """Do it with BLAS libraries limited to one thread; as it is, where the libraries of surrogates are missing."""
    try:
        import scipy.linalg  # noqa: F401  # brings its BLAS and numpy's: only what is loaded can be limited
        from threadpoolctl import threadpool_limits  # with the surrogates extra only
    except ImportError:
        return work()
    with threadpool_limits(limits=1, user_api="blas"):
        return work()
