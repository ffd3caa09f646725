"""What surrogates learn from is kept, found again, and never mixed with what is true of something else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconfigure_daemon.ports import Served, TuningRecord
from reconfigure_daemon.store import SqliteTrials
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.surrogate import Measured, Quantity, Trial, trial_from_failed_boot, trial_from_observation

H200 = Served("vllm", "0.32.0", "smollm2", "1 x NVIDIA H200")
CONTEXT = WorkloadContext(4.0, 512.0, 128.0, 0.1)
MEASURED = Trial(
    Configuration({"max_num_seqs": 16, "block_size": 16}), CONTEXT, 50.0, {Quantity.ENERGY: Measured(0.25, 0.01)}
)
FAILED = trial_from_failed_boot(Configuration({"max_num_seqs": 64}), CONTEXT, 60.0, "out of memory")
SESSION = TuningRecord("s1", 40.0, {"trials": 20}, CONTEXT, Configuration({"max_num_seqs": 64}))


@pytest.fixture
def trials(open_store):
    return SqliteTrials(open_store())


async def test_trials_come_back_as_they_were_with_observed_windows_between_them(trials, examples):
    """Measured, failed and observed ones, oldest first."""
    await trials.record_trials(H200, [FAILED, MEASURED], "tune", "s1")
    await trials._store.record_observation(examples.observation)
    assert await trials.trials(H200, 10) == [MEASURED, FAILED, trial_from_observation(examples.observation)]
    assert await trials.trials_of("s1") == [FAILED, MEASURED]


@pytest.mark.parametrize("other", [{"engine": "emulated"}, {"model": "qwen"}, {"device": "1 x NVIDIA L4"}])
async def test_trials_of_something_else_are_not_learned_from(trials, other):
    """Another engine, model or device: nothing of it is found."""
    await trials.record_trials(replace(H200, **other), [MEASURED], "import")
    assert await trials.trials(H200, 10) == []


async def test_a_newer_engine_keeps_what_was_learned(trials):
    """An upgrade is drift for the surrogates to notice, not a reason to forget."""
    await trials.record_trials(H200, [MEASURED], "tune")
    assert await trials.trials(replace(H200, engine_version="0.33.0"), 10) == [MEASURED]


async def test_only_the_newest_are_found(trials):
    """Time and memory of a fit are bounded by the limit, whatever the store holds."""
    await trials.record_trials(H200, [replace(MEASURED, at=float(at)) for at in range(50)], "tune")
    assert [trial.at for trial in await trials.trials(H200, 3)] == [47.0, 48.0, 49.0]


async def test_a_session_is_found_as_it_was_saved_last(trials):
    """What to go on with, and what to restore after a crash."""
    await trials.save_session(SESSION)
    ended = replace(SESSION, trials=20, ended_at=90.0, outcome="done")
    await trials.save_session(ended)
    assert await trials.last_session() == ended


async def test_the_latest_fit_is_remembered(trials):
    """A restart can show what the surrogates were worth."""
    assert await trials.last_fit() is None
    for error in (0.1, 0.05):
        await trials.record_fit(1.0, {"mape": error})
    assert await trials.last_fit() == {"mape": 0.05}


async def test_windows_with_requests_are_the_recorded_workload(trials, examples):
    """The latest first; one in which nothing finished says nothing of a workload."""
    for finished in (3, 0, 5):
        await trials._store.record_window(replace(examples.window, finished=finished), examples.large, "host-a", 9.0)
    assert [window.finished for window in await trials.windows(10)] == [5, 3]
