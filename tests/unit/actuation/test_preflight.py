"""What stops an engine is told before it starts where possible, else from its last words."""

from __future__ import annotations

import importlib.metadata
import importlib.util

import pytest

from reconfigure_daemon.actuation import host_log, preflight
from reconfigure_daemon.errors import EngineUnavailable, PortInUse
from reconfigure_daemon.settings import Settings


def settings(**engine):
    return Settings.model_validate({"engine": {"kind": "vllm", **engine}, "space": {"block_size": {"values": [16]}}})


def test_missing_vllm_names_the_command_that_installs_it(monkeypatch, port):
    """Found without importing anything."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EngineUnavailable, match=r"not installed.*`make setup`"):
        preflight.check(settings(port=port))


@pytest.mark.parametrize(("version", "accepted"), [("0.10.2", False), ("0.11.0", True), ("0.32.0+cpu", True)])
def test_vllm_too_old_is_told_with_both_versions(monkeypatch, port, version, accepted):
    """A version before V1 became the only engine cannot be hosted."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    if accepted:
        preflight.check(settings(port=port))
    else:
        with pytest.raises(EngineUnavailable, match=r"0\.10\.2 is too old, 0\.11 or newer.*`make setup`"):
            preflight.check(settings(port=port))


def test_a_models_folder_must_exist(monkeypatch, port, tmp_path):
    """A path that leads nowhere is told with what may be named instead; a name is left to vLLM."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    preflight.check(settings(port=port, model=str(tmp_path)))
    preflight.check(settings(port=port, model="organisation/name"))
    with pytest.raises(EngineUnavailable, match=r"nowhere.*set engine\.model"):
        preflight.check(settings(port=port, model=str(tmp_path / "nowhere")))


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_this_machines_is_told(host, port):
    """A name that does not resolve and an address of another machine are both faults of engine.host."""
    with pytest.raises(EngineUnavailable, match=r"cannot listen on .*change engine\.host"):
        preflight.check(settings(kind="emulated", host=host, port=port))


@pytest.mark.parametrize(
    ("last_error", "kind", "words"),
    [
        ("OSError: [Errno 98] Address already in use", PortInUse, "ss -ltnp"),
        ("ModuleNotFoundError: No module named 'vllm'", EngineUnavailable, "`make setup`"),
        ("ModuleNotFoundError: No module named 'vllm._C'", EngineUnavailable, "`make setup`"),
        ("OSError: a/b is not a valid model identifier listed on", EngineUnavailable, "set engine.model"),
        ("ValueError: odd", EngineUnavailable, "by signal 9 before it served: ValueError: odd"),
        (None, EngineUnavailable, "it left no word"),
    ],
)
def test_last_words_become_the_error_that_says_what_to_do(tmp_path, last_error, kind, words):
    """Each known cause has its own advice; any other is quoted with where the rest is."""
    error = preflight.explain(settings(), -9, last_error, tmp_path / "log")
    assert type(error) is kind
    assert words in str(error)


VLLM_LOG = """
INFO 11-21 04:21:58 [api_server.py:1896] vLLM API server version 0.24.0
(EngineCore_DP0 pid=711) ERROR 11-21 04:22:41 [core.py:710] EngineCore failed to start.
(EngineCore_DP0 pid=711) ERROR 11-21 04:22:41 [core.py:710] Traceback (most recent call last):
(EngineCore_DP0 pid=711) ERROR 11-21 04:22:41 [core.py:710]   File "core.py", line 701, in run_engine_core
(EngineCore_DP0 pid=711) ERROR 11-21 04:22:41 [core.py:710] torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB.
(EngineCore_DP0 pid=711) Process EngineCore_DP0:
Traceback (most recent call last):
  File "api_server.py", line 12, in <module>
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore_DP0': 1}
[rank0]: resources were leaked
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (VLLM_LOG, "torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB."),
        (
            "2026-11-21 04:45:00,123 ERROR reconfigure.engine_host: PortInUse: 127.0.0.1:8000 is taken\n",
            "PortInUse: 127.0.0.1:8000 is taken",
        ),
        ("RuntimeError: Engine core initialization failed. See root cause above.\n", "RuntimeError: Engine core ini"),
        ("starting\nsh: python: not found\n\n", "sh: python: not found"),
        ("ValueError: first\nValueError: last\nINFO 11-21 04:21:58 [a.py:1] bye\n", "ValueError: last"),
        ("", None),
    ],
)
def test_the_log_is_searched_for_the_cause(tmp_path, text, found):
    """The last error that is not an echo of another one, without its log prefix; else the last line."""
    log = tmp_path / "log"
    log.write_text(text)
    last = host_log.last_error(log)
    assert last == found if found is None else last.startswith(found)


def test_a_missing_log_has_no_error(tmp_path):
    """A host that was killed before it wrote anything left no word."""
    assert host_log.last_error(tmp_path / "none") is None


def test_one_older_log_is_kept(tmp_path):
    """Rotation keeps the log of the host before, and is content with none."""
    log = tmp_path / "engine-host.log"
    host_log.rotate(log)
    log.write_text("old")
    host_log.rotate(log)
    assert not log.exists()
    assert (tmp_path / "engine-host.log.1").read_text() == "old"


def test_a_long_log_is_set_aside_while_it_is_written(tmp_path):
    """Its writer goes on at the beginning; nothing happens to a short one, or where there is none."""
    log = tmp_path / "engine-host.log"
    assert not host_log.shorten(log, 10)
    with log.open("a", buffering=1) as writer:
        writer.write("a" * 10)
        assert not host_log.shorten(log, 10)
        writer.write("b\n")
        (tmp_path / "engine-host.log.1").write_text("older")
        assert host_log.shorten(log, 10)
        writer.write("on\n")
    assert log.read_text() == "on\n"
    assert (tmp_path / "engine-host.log.1").read_text() == "a" * 10 + "b\n"
