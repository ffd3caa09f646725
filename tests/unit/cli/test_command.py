"""The installed command, as a process: settings, the daemon's start, speed and quiet ends."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "reconfigure_daemon"]


def command(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECONFIGURE_")}
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=60, env={**environment, **environ}, cwd=PROJECT
    )


def test_a_status_for_programs_is_quick(daemon):
    """Scripts may ask often: it takes well under half a second of a processor, however long it has to wait for one."""
    took_s = []
    for _ in range(3):
        before_s = processor_time_of_children_s()
        done = command("status", "--json", RECONFIGURE_URL=daemon.url)
        took_s.append(processor_time_of_children_s() - before_s)
        assert json.loads(done.stdout)["pid"] == 40
    assert min(took_s) < 0.5


def processor_time_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_status_for_programs_loads_nothing_it_does_not_need(daemon):
    """Neither tables, nor models, nor an HTTP library are imported for it."""
    program = (
        "import sys; from reconfigure_daemon.cli.main import app\n"
        "app(['status', '--json'], standalone_mode=False)\n"
        "print(sorted({'rich', 'aiohttp', 'yaml', 'reconfigure_daemon.ports'} & sys.modules.keys()), file=sys.stderr)"
    )
    environment = {**os.environ, "RECONFIGURE_URL": daemon.url}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stderr.strip() == "[]"


def test_a_change_as_a_process(daemon):
    """Progress and result end where they belong, and nothing is a traceback."""
    done = command("apply", "block_size=32", RECONFIGURE_URL=daemon.url)
    assert (done.returncode, "Outcome after 11.9s" in done.stdout) == (0, True)
    assert done.stderr.splitlines() == ["  boot: weights loaded after 4.2s", "  pre-copy after 9.8s"]


def test_without_a_daemon_the_process_ends_with_3():
    """The exit code tells a script that nobody is there."""
    done = command("status", "--url", "http://127.0.0.1:1")
    assert done.returncode == 3
    assert done.stderr.startswith("reconfigure: no daemon answers at http://127.0.0.1:1")


def test_the_projects_own_settings_have_no_faults():
    """`config check` needs no daemon and shows the space, hot and cold."""
    done = command("config", "check", "--json")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["valid"]) == (0, True)
    tiers = {knob["name"]: knob["tier"] for knob in summary["knobs"]}
    assert (tiers["max_num_seqs"], tiers["block_size"]) == ("hot", "cold")
    count = 1
    for knob in summary["knobs"]:
        count *= len(knob["values"])
    assert summary["configurations"] == count
    text = command("config", "check").stdout
    assert f"{count} configurations" in text
    assert re.search(r"^block_size +cold +32, 64 ", text, re.MULTILINE)
    assert "throughput (at start): " in text


def test_the_coming_week_of_a_settings_file_is_shown(tmp_path):
    """A calendar can be looked at before any daemon runs with it."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "space: {block_size: {values: [16]}}\nobjectives: {energy: {}}\n"
        "schedules: {night: {cron: 0 22 * * *, timezone: Asia/Tokyo, objective: energy}}\n"
    )
    week = json.loads(command("config", "check", str(path), "--json").stdout)["coming_week"]
    assert [span["schedule"] for span in week] == ["night"] * 7
    text = command("config", "check", str(path)).stdout
    assert "The coming week by the calendar:" in text
    assert len(re.findall(r" 22:00 +Asia/Tokyo +energy +night +the next one begins", text)) == 7


def test_all_faults_of_a_settings_file_are_listed(tmp_path):
    """Each fault is a line that an editor can jump to, and a program gets them as a list."""
    path = tmp_path / "bad.yaml"
    path.write_text("engine: {port: 0}\nspace: {}\n")
    done = command("config", "check", str(path), RECONFIGURE_LOG_LEVEL="loud")
    assert done.returncode == 1
    first, *faults = done.stderr.splitlines()
    assert first == "reconfigure: 3 faults in the settings"
    assert [fault.split(": ")[0] for fault in faults] == [f"{path}:1", f"{path}:2", "RECONFIGURE_LOG_LEVEL"]
    assert len(json.loads(command("config", "check", str(path), "--json").stdout)["error"]["faults"]) == 2


def test_a_missing_settings_file_says_how_to_get_one():
    """The fault names the file and the option."""
    done = command("config", "check", "none.yaml")
    assert done.returncode == 1
    assert "none.yaml: there is no such file" in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["config", "--help"], ["replay", "--help"], ["serve", "--help"]])
def test_help_is_there_for_every_verb(words):
    """Help needs no daemon and no engine."""
    done = command(*words)
    assert done.returncode == 0
    assert "Usage: reconfigure" in done.stdout


def test_help_lists_every_verb():
    """No verb of the contract is missing."""
    listed = command("--help").stdout
    verbs = (
        "serve",
        "status",
        "apply",
        "explain",
        "history",
        "rollback",
        "pause",
        "resume",
        "pareto",
        "replay",
        "profile",
        "config",
    )
    assert [verb for verb in verbs if not re.search(rf"│ {verb} ", listed)] == []


def test_a_reader_that_has_seen_enough_is_no_fault(daemon):
    """`reconfigure status --watch --json | head -1` ends quietly."""
    words = " ".join([*COMMAND, "status", "--watch", "--json"])
    environment = {**os.environ, "RECONFIGURE_URL": daemon.url}
    done = subprocess.run(f"{words} | head -1", shell=True, capture_output=True, text=True, timeout=60, env=environment)
    assert json.loads(done.stdout)["pid"] == 40
    assert done.stderr == ""


@pytest.mark.parametrize(
    "words",
    [["config", "check"], ["config", "check", "--json"], ["--help"], ["status", "--json"], ["status", "--watch"]],
)
def test_a_pipe_that_nobody_reads_ends_every_verb_the_same_way(daemon, words):
    """Quietly, with the exit code that a shell gives to what a closed pipe ended."""
    reads, writes = os.pipe()
    os.close(reads)
    environment = {**os.environ, "RECONFIGURE_URL": daemon.url}
    done = subprocess.run(
        [*COMMAND, *words], stdout=writes, stderr=subprocess.PIPE, text=True, timeout=60, env=environment, cwd=PROJECT
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_runtime_folder_that_cannot_be_made_is_one_line(tmp_path):
    """As for the store: the key, the folder, why, and what to do; no traceback."""
    (tmp_path / "file").write_text("")
    (tmp_path / "config.yaml").write_text(
        "engine: {kind: emulated}\nspace: {block_size: {values: [16]}}\npaths: {runtime: file/run}\n"
    )
    done = command("serve", "--config", str(tmp_path / "config.yaml"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"reconfigure: paths.runtime {tmp_path}/file/run cannot be used (")
    assert "name another one in config.yaml" in line
