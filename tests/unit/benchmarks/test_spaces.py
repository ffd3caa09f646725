"""Two sessions of `tune` side by side: what both measured says how much of a difference is noise."""

import json

import pytest

from benchmarks.gpu.spaces import repeated, result_in
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.surrogate import Measured, Quantity, Trial


def trial(max_num_seqs, throughput_tps, energy_j=1.0):
    measured = {Quantity.THROUGHPUT: Measured(throughput_tps), Quantity.ENERGY: Measured(energy_j)}
    return Trial(Configuration({"max_num_seqs": max_num_seqs}), WorkloadContext(10, 128, 64), 0.0, measured, True, "")


def test_what_both_arms_tried_tells_the_noise():
    """Each configuration once, at its first trial in each arm; what only one of them tried says nothing."""
    discrete = [trial(16, 1000), trial(32, 2000), trial(64, 5000), trial(16, 9000)]
    continuous = [trial(16, 1100), trial(32, 2000, 2.0), trial(128, 7000)]
    rows = {row.what: row.value for row in repeated({"discrete": discrete, "continuous": continuous})}
    assert rows["configurations that both tried"] == 2
    assert rows["their throughput, continuous / discrete, median"] == pytest.approx(1.05)
    assert rows["their throughput, how far apart, mean"] == pytest.approx(4.77, abs=0.01)
    assert rows["their energy, continuous / discrete, median"] == pytest.approx(1.5)


def test_arms_with_nothing_in_common_tell_none():
    """There is no figure then, rather than one of nothing."""
    rows = repeated({"discrete": [trial(16, 1000)], "continuous": [trial(32, 1000)]})
    assert [row.value for row in rows] == [0, None, None, None, None]


@pytest.mark.parametrize("content", [None, "3", "{", "[]", json.dumps({"details": {}, "arguments": {"trials": 20}})])
def test_what_is_no_result_of_it_is_refused(tmp_path, content):
    """In one sentence that names the file."""
    file = tmp_path / "some.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RequestInvalid, match=r"some\.json is no result of this benchmark"):
        result_in(file)
