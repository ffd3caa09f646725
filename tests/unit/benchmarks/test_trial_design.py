"""What surrogates are judged by is fixed in advance, and the held-out set is held out."""

from collections import Counter
from itertools import groupby

import pytest

from benchmarks.gpu.trial_design import CARRIED_RPS_PER_SEQUENCE, COLD_KNOB, VARIED, design


def knobs(trial):
    return (*trial.cold.values(), *trial.hot.values())


def test_no_held_out_configuration_is_trained_on():
    """Not one of them shares all its knobs with a training trial, whatever its load."""
    assert not {knobs(trial) for trial in design("training")} & {knobs(trial) for trial in design("held_out")}


def test_the_design_is_the_same_every_time():
    """A resumed session finds the trials that it began with."""
    assert design("training") == design("training")


@pytest.mark.parametrize(("session", "configurations", "trials"), [("training", 36, 42), ("held_out", 24, 72)])
def test_a_core_boots_once_and_every_value_is_measured(session, configurations, trials):
    """Trials are grouped by the knob that needs a new core, and each core sees every value of every hot knob."""
    planned = design(session)
    assert len(planned) == len({trial.key for trial in planned}) == trials
    assert len({knobs(trial) for trial in planned}) == configurations
    (cold, cores), = COLD_KNOB.items()  # fmt: skip
    assert [value for value, _ in groupby(trial.cold[cold] for trial in planned)] == list(cores)
    for core in cores:
        for name, values in VARIED.items():
            assert {trial.hot[name] for trial in planned if trial.cold[cold] == core} == set(values)


def test_held_out_configurations_are_measured_in_three_interleaved_rounds():
    """No configuration comes a second time before every other one of its core has come once."""
    (cold, (first, _)), = COLD_KNOB.items()  # fmt: skip
    first_core = [trial for trial in design("held_out") if trial.cold[cold] == first]
    rounds = [first_core[start : start + 12] for start in (0, 12, 24)]
    assert all(Counter(trial.name for trial in each).most_common(1)[0][1] == 1 for each in rounds)


def test_no_load_is_beyond_what_its_configuration_carries():
    """Past capacity there is no steady state whose joules would mean anything."""
    for trial in (*design("training"), *design("held_out")):
        carried = CARRIED_RPS_PER_SEQUENCE * trial.hot["max_num_seqs"]
        assert trial.arrival_rate_rps <= carried


def test_another_session_is_refused():
    """With what there is."""
    with pytest.raises(ValueError, match="training or held_out"):
        design("holdout")
