"""How surrogates are judged on held-out configurations."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.surrogate_h200 import (
    HeldOut,
    ceiling,
    mape,
    refuse_shared,
    rows_of_splits,
    space_of,
    split_again,
    trials_of,
)
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_policies.domain.forecast import Estimate
from reconfigure_policies.surrogate import Quantity
from reconfigure_policies.surrogate.assessment import r_squared


def session(*caps, failed=0, windows=1, output_tps=lambda cap: 900.0):
    window = {"failed": failed, "energy_per_output_token_j": 0.25}
    return {
        "prompt_tokens": 128,
        "output_tokens": 64,
        "trials": [
            {
                "key": f"{cap}/{index}",
                "cold": {"enforce_eager": False},
                "hot": {"max_num_seqs": cap, "max_num_batched_tokens": 512, "pacing_interval_s": 0.0},
                "arrival_rate_rps": 4.0,
                "at_rate": window,
                "saturated": {**window, "output_tps": output_tps(cap)},
            }
            for cap in caps
            for index in range(windows)
        ],
    }


def test_windows_become_trials_of_both_quantities():
    """Joules at the rate, tokens when saturated; a window with failed requests is none."""
    (trial,) = trials_of(session(16)).values()
    assert {quantity: each.value for quantity, each in trial.measured.items()} == {
        Quantity.ENERGY: 0.25,
        Quantity.THROUGHPUT: 900.0,
    }
    assert trials_of(session(16, failed=1)) == {}
    assert "enforce_eager" in space_of(session(16))


def test_a_configuration_of_both_sessions_is_refused():
    """Held-out means never trained on."""
    refuse_shared(trials_of(session(16)), trials_of(session(32)))
    with pytest.raises(RequestInvalid, match="max_num_seqs=16"):
        refuse_shared(trials_of(session(16, 32)), trials_of(session(16)))


def test_a_split_deals_the_configurations_of_both_sessions_out_again():
    """Each seed its own split, the same one every time; a law over the caps is foretold for those it left out."""

    def by_law(*caps, windows):
        return trials_of(session(*caps, windows=windows, output_tps=lambda cap: 60 * cap**0.9))

    training, held_out = by_law(*range(8, 28, 2), windows=1), by_law(9, 15, 21, 33, windows=3)
    space = space_of(session(*range(8, 28, 2)))
    splits = [split_again(training, held_out, space, seed) for seed in (0, 1, 0)]
    assert splits[0] == splits[2] != splits[1]
    for scores in (each[Quantity.THROUGHPUT] for each in splits):
        assert scores.r2 > 0.9
        assert scores.mape < 0.05
    rows = rows_of_splits(splits[:2])
    assert [row.value for row in rows][1] == pytest.approx(sum(s[Quantity.THROUGHPUT].mape for s in splits[:2]) / 2)
    assert rows_of_splits([]) == []


def test_the_figures_are_what_their_names_say():
    """The mean foretells nothing, half of the way off is 50 %, and noise alone limits a perfect model."""
    assert r_squared(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])) == pytest.approx(0)
    assert mape(np.array([2.0, 4.0]), np.array([1.0, 6.0])) == pytest.approx(0.5)
    estimate = Estimate(1.0, 0.9, 1.1)
    noisy = [HeldOut("a", (0.9, 1.1), estimate, 1.0), HeldOut("b", (1.9, 2.1), estimate, 2.0)]
    assert ceiling(noisy) == pytest.approx(1 - 0.01 / 0.5)
    assert ceiling([HeldOut("a", (1.0,), estimate, 1.0)]) is None
