"""`reconfigure profile`: a table, a picture, and faults before anything is recorded."""

from __future__ import annotations

import json

import pytest

from reconfigure_daemon.cli import profile


def test_a_profile_shows_what_the_time_went_into(run, daemon):
    """One table of shares for each GPU, what took longest, the configuration, and the traces themselves."""
    done = run("profile", "--seconds", "2")
    assert done.exit_code == 0, done.output
    assert daemon.profiled == [{"seconds": 2.0}]
    for words in (
        "vllm 0.24.0, 8 live requests: block_size=32", "GPU 0", "GPU 1", "matrix multiplications", "50.0%", "2500.0",
        "nvjet_tst_192x128_64x4", "900", "writing it down took 1.4 s", "/run/profiles/rank0.pt.trace.json",
    ):  # fmt: skip
        assert words in done.output


def test_programs_get_the_daemons_own_answer(run, daemon):
    """One JSON document and nothing else."""
    assert json.loads(run("profile", "--json").stdout) == daemon.profile


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_a_picture_is_drawn(run, daemon, tmp_path, suffix):
    """It is of its format, needs no network to be looked at, and holds the kinds and the names."""
    picture = tmp_path / f"profile{suffix}"
    done = run("profile", "--plot", str(picture))
    assert done.exit_code == 0, done.output
    assert f"Drawn into {picture}" in done.output
    content = picture.read_bytes()
    if suffix == ".png":
        assert content.startswith(b"\x89PNG")
    else:
        text = content.decode()
        assert all(words in text for words in ("attention", "nvjet_tst_192x128_64x4", "GPU 1"))
        assert '<script src="http' not in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--plot", "profile.pdf"], "a name that ends in .html or .png is allowed"),
        (["--plot", "/no/such/folder/profile.png"], "there is no folder /no/such/folder; make it first"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused_before_recording(run, daemon, words, told):
    """Nobody waits for a profile that is then lost."""
    done = run("profile", *words)
    assert done.exit_code == 2
    assert told in done.output
    assert daemon.profiled == []


@pytest.mark.parametrize("seconds", ["0", "61", "soon"])
def test_a_duration_that_cannot_be_is_usage(run, daemon, seconds):
    """Exit code 2, and the allowed range."""
    assert run("profile", "--seconds", seconds).exit_code == 2


def test_an_engine_without_a_profiler_is_told_what_to_set(run, daemon):
    """The daemon's own sentence, exit code 1."""
    daemon.fault = (409, {"kind": "request_refused", "message": "set engine.profiler to true in config.yaml"})
    done = run("profile")
    assert (done.exit_code, "set engine.profiler to true" in done.output) == (1, True)


def test_what_is_refused_at_once_was_not_recorded(run, daemon):
    """Nothing says that it records; of a recording that takes a moment it does."""
    daemon.fault = (409, {"kind": "request_refused", "message": "set engine.profiler to true in config.yaml"})
    assert "Recording" not in run("profile").output


def test_a_recording_is_announced(run, daemon, monkeypatch):
    """Whoever waits knows for what."""
    monkeypatch.setattr(profile, "_AT_ONCE_S", 0.0)
    assert "Recording for 5 s; then the traces are written and read ..." in run("profile").stderr


def test_a_picture_that_cannot_be_written_comes_after_the_table(run, daemon, tmp_path):
    """Here its name is a folder's."""
    (tmp_path / "profile.png").mkdir()
    done = run("profile", "--plot", str(tmp_path / "profile.png"))
    assert done.exit_code == 2
    assert "nvjet_tst_192x128_64x4" in done.stdout
    assert f"--plot {tmp_path / 'profile.png'} cannot be written (Is a directory)" in done.stderr
