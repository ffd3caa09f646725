"""What goes wrong between the command line and a daemon is told in a sentence and an exit code."""

from __future__ import annotations

import json
import socket

import pytest

from tests.told import words_of


def test_without_a_daemon_the_exit_code_is_3_and_the_start_command_is_told(run):
    """Nobody listens: say how to start one."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = run("status", "--url", f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert done.exit_code == 3
    assert "no daemon answers at http://127.0.0.1:" in done.stderr
    assert "Start one with `reconfigure serve`" in done.stderr


def test_something_else_at_the_address_is_no_daemon(run, monkeypatch):
    """A server that does not speak HTTP is not mistaken for a daemon."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("reconfigure_daemon.cli.control_api_client.ANSWER_TIMEOUT_S", 0.05)
        done = run("status", "--url", f"http://127.0.0.1:{server.getsockname()[1]}", "--json")
    assert done.exit_code == 3
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "daemon_unreachable"
    assert "did not answer in time" in error["message"]


@pytest.mark.parametrize("url", ["localhost:9400", "ftp://x", "http://", "http://x:99999", "http://x:y", ""])
def test_an_address_that_is_none_is_told(run, url):
    """A URL without scheme, host or possible port is refused with an example."""
    done = run("status", "--url", url)
    assert done.exit_code in (1, 2)
    assert "http://127.0.0.1:9400" in done.stderr


def test_a_running_action_is_named_with_its_start(run, daemon):
    """409 says which action, since when, and how to watch it."""
    daemon.fault = (
        409,
        {"kind": "action_in_progress", "message": "a switch runs", "action": "switch", "since": 993600.0},
    )
    done = run("apply", "block_size=32")
    assert done.exit_code == 1
    assert "a switch runs (switch since 1970-01-1" in done.stderr
    assert "reconfigure status --watch" in done.stderr


def test_a_missing_token_says_how_to_pass_one(run, daemon):
    """401 names the option and the variable."""
    daemon.fault = (401, {"kind": "unauthorized", "message": "this daemon asks for a token"})
    done = run("status")
    assert done.exit_code == 1
    assert "this daemon asks for a token; pass the daemon's token with --token-file FILE or RECONFIGURE_TOKEN_FILE" in (
        done.stderr
    )


def test_a_token_is_sent_as_bearer(run, daemon, tmp_path, monkeypatch):
    """The token comes from a file, by option or variable, never from the command line."""
    (tmp_path / "token").write_text("0123456789abcdef\n")
    run("status", "--json", "--token-file", str(tmp_path / "token"))
    monkeypatch.setenv("RECONFIGURE_TOKEN_FILE", str(tmp_path / "token"))
    run("history", "--json")
    assert daemon.tokens == ["Bearer 0123456789abcdef"] * 2


@pytest.mark.parametrize("content", ["", "two words", "line\nline", "é"])
def test_a_token_file_without_a_token_is_told(run, daemon, tmp_path, content):
    """What cannot be a token is not sent."""
    (tmp_path / "token").write_text(content, encoding="utf-8")
    done = run("status", "--token-file", str(tmp_path / "token"))
    assert done.exit_code == 2
    assert "holds no token" in done.stderr
    assert daemon.tokens == []


def test_a_missing_token_file_is_a_usage_error(run, daemon):
    """A token file that is not there is told before the daemon is asked."""
    assert run("status", "--token-file", "/no/such/file").exit_code == 2


def test_a_fault_keeps_its_facts_for_programs(run, daemon):
    """With --json a fault is a document too."""
    daemon.fault = (400, {"kind": "configuration_outside_space", "message": "no knob x", "faults": ["no knob x"]})
    done = run("apply", "x=1", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"error": daemon.fault[1]}
    assert done.stderr == ""


def test_a_fault_after_the_first_step_is_told_too(run, daemon):
    """The stream may end in an error instead of a result."""
    daemon.late_fault = {"kind": "engine_host_fault", "message": "out of memory"}
    done = run("apply", "block_size=32")
    assert done.exit_code == 1
    assert "out of memory" in done.stderr


def test_a_connection_that_breaks_off_leaves_the_outcome_open(run, daemon):
    """Without a result nothing is claimed; the way to find out is told."""
    daemon.breaks_off = True
    done = run("apply", "block_size=32")
    assert done.exit_code == 1
    assert "before the outcome was known" in done.stderr
    assert "reconfigure history" in done.stderr


def test_an_error_page_of_another_server_is_not_a_control_api(run, daemon):
    """Pointing at the engine's own port is told as such."""
    daemon.fault = (404, "no object")
    done = run("status")
    assert done.exit_code == 1
    assert "found HTTP 404, which is no answer of a control API" in done.stderr
    assert "the daemon's own port (9400 as shipped), not the engine's" in done.stderr


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://localhost", "http://localhost:99999"])
def test_an_address_that_is_none_is_a_wrong_option(run, url):
    """Nothing was asked of anybody, so the exit code is that of usage."""
    done = run("status", "--url", url)
    assert done.exit_code == 2
    assert f"found the address '{url}'" in words_of(done.stderr)


def test_an_answer_of_another_version_is_told_and_json_still_works(run, daemon):
    """A field that this version does not know is named, and programs get it as it is."""
    daemon.status = {**daemon.status, "brand_new": 1}
    done = run("status")
    assert done.exit_code == 1
    assert "brand_new" in done.stderr
    assert json.loads(run("status", "--json").stdout)["brand_new"] == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["history", "--limit", "501"], "less than or equal to 500"),
        (["status", "--no-such"], "No such option: --no-such"),
        (["nonsense"], "No such command"),
        (["--objective", "cold"], "cold"),
        (["tune"], "name one of --trace FILE"),
        ([], "there is nothing to do"),
        (["apply", "nonsense"], "write KEY=VALUE"),
        (["status", "--url", "nonsense"], "found the address 'nonsense'"),
    ],
)
def test_programs_get_faults_of_usage_as_a_document_too(run, words, told):
    """The exit code stays that of usage, standard error stays empty; people get the text as before."""
    done = run(*words, "--json")
    assert done.exit_code == 2
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "usage"
    assert told in error["message"]
    assert done.stderr == ""
    people = run(*words)
    assert (people.exit_code, people.stdout) == (2, "")
    assert told in words_of(people.stderr)


def test_a_word_after_two_dashes_asks_for_nothing(run, daemon):
    """`--json` is a word there, and no option."""
    done = run("apply", "--", "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "found '--json'; write KEY=VALUE" in words_of(done.stderr)


def test_a_daemon_that_says_what_to_do_is_not_talked_over(run, daemon):
    """Its own words for a running action have the time and the remedy already."""
    message = "another action runs since 10:00:00 (3.0 s): switch, phase boot; try again when it is done"
    daemon.fault = (409, {"kind": "action_in_progress", "message": message, "action": "switch", "since": 993600.0})
    assert run("apply", "block_size=32").stderr == f"reconfigure: {message}\n"


def test_an_address_with_a_path_too_many_is_told(run, daemon):
    """Not as a list of every path that there is."""
    daemon.fault = (404, {"kind": "not_found", "message": "there is no /v1/v1/status; there are: /, /healthz"})
    done = run("status", "--url", f"{daemon.url}/v1")
    assert done.exit_code == 1
    assert f"found the path /v1 in {daemon.url}/v1" in done.stderr
    assert "give the address without it" in done.stderr
    assert "/healthz" not in done.stderr


def test_no_time_at_all_is_told_as_such(run):
    """A duration of 0 is written well, and is too short."""
    done = run("--objective", "energy", "--for", "0s")
    assert done.exit_code == 2
    assert "write more than 0" in words_of(done.stderr)


def test_words_that_are_no_text_are_escaped_for_programs(run):
    """Half a character of a command line breaks neither the document nor the exit code."""
    done = run("status", "nonsense\ud800", "--json")
    assert done.exit_code == 2
    assert "nonsense\ud800" in json.loads(done.stdout)["error"]["message"]
