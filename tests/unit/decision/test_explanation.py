"""Why a configuration and not its neighbours."""

import pytest

from reconfigure_policies.decision.explanation import explained
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.forecast import WorkloadContext
from tests.known_surrogates import KnownSurrogates

SPACE = ConfigurationSpace(
    (
        Knob("max_num_seqs", Tier.HOT, (16, 32, 64), 64),
        Knob("pacing_interval_s", Tier.HOT, (0, 0.02), 0),
        Knob("block_size", Tier.COLD, (16, 32), 16),
    )
)
FORECASTS = KnownSurrogates(()).forecast(tuple(SPACE.enumerate()), WorkloadContext(4, 512, 128))


def test_neighbours_differ_in_one_knob_and_tell_by_how_much():
    """Half the places halve throughput; that is beyond what the intervals leave open."""
    found = explained(SPACE.default(), FORECASTS, SPACE)
    by_change = {(each.knob, each.value): each for each in found.neighbours}
    assert len(by_change) == 4
    half = by_change["max_num_seqs", 32]
    assert half.ratios["throughput_tps"] == pytest.approx(0.5)
    assert "throughput_tps" in half.clear
    assert by_change["block_size", 32].ratios["throughput_tps"] == pytest.approx(1)


def test_the_knob_that_matters_most_comes_first():
    """Places spread throughput by four, pace by a tenth, block size not at all."""
    found = explained(SPACE.default(), FORECASTS, SPACE)
    assert [each.knob for each in found.influences] == ["max_num_seqs", "pacing_interval_s", "block_size"]
    assert found.influences[0].spread["throughput_tps"] == pytest.approx(4)


def test_a_rival_is_named_only_where_something_is_better():
    """The largest cap has the most throughput already; in energy another one wins."""
    found = explained(SPACE.default(), FORECASTS, SPACE)
    assert [rival.quantity for rival in found.rivals] == ["energy_per_output_token_j"]
    assert found.rivals[0].forecast.configuration["pacing_interval_s"] == 0.02
    assert found.rivals[0].share > 0.2


def test_what_is_no_candidate_is_not_explained():
    """A value from outside the space."""
    outside = Configuration({"max_num_seqs": 48, "pacing_interval_s": 0, "block_size": 16})
    assert explained(outside, FORECASTS, SPACE) is None
