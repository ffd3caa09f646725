"""`reconfigure replay` from end to end: a trace file in, a report out."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from reconfigure_daemon.cli import output
from reconfigure_daemon.cli.replay import replay
from reconfigure_daemon.cli.replay_progress import LINE_INTERVAL_S, shown_progress
from reconfigure_daemon.cli.replay_table import latency_text
from reconfigure_daemon.load_generation.open_loop import ReplayProgress
from tests.told import words_of

app = typer.Typer()
app.command()(replay)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Six requests, 20 ms apart."""
    lines = "".join(f"{index * 0.02:.3f},{20 + index},4\n" for index in range(6))
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + lines)
    return path


@pytest.fixture
def run(server, trace: Path):
    """Runs the verb against the server, which is its controller too."""

    def invoke(*arguments: object, path: Path = trace) -> Result:
        given = [str(path), "--url", server.url, "--controller", server.url, *map(str, arguments)]
        return CliRunner().invoke(app, given, env={"COLUMNS": "120", "OPENAI_API_KEY": "secret"})

    return invoke


def test_a_clean_replay_reports_and_exits_0(server, run, tmp_path: Path):
    """All requests complete: a table, a JSON report that repeats the arguments, and exit code 0."""
    server.statuses = [
        {"pid": 7, "energy": {"source": "measured", "energy_j": 10.0}},
        {"pid": 7, "energy": {"source": "measured", "energy_j": 16.0}},
    ]
    result = run("--speed", 2, "--report", tmp_path / "out.json")
    report = json.loads((tmp_path / "out.json").read_text())
    assert result.exit_code == 0, result.output
    assert (report["counts"]["completed"], report["ttft_s"]["count"], report["itl_s"]["count"]) == (6, 6, 18)
    assert (report["energy"]["energy_per_output_token_j"], report["energy"]["source"]) == (0.25, "measured")
    assert (report["arguments"]["speed"], report["trace"]["format"]) == (2.0, "servegen")
    assert report["versions"]["server"] == "0.32.0"
    assert "0.25 J per output token (measured" in result.stdout
    assert "completed 6  lost 0  broken 0  truncated 0" in result.stdout


def test_the_key_is_sent_but_never_written(server, run, tmp_path: Path):
    """The API key reaches the server alone, not the controller, and is neither in the report nor in the output."""
    result = run("--report", tmp_path / "out.json")
    assert [headers.get("Authorization") for headers in server.headers] == [None, *["Bearer secret"] * 6, None]
    assert "secret" not in result.output + (tmp_path / "out.json").read_text()


def test_json_is_all_that_stdout_has(run):
    """With --json, standard output is one JSON document; energy that is unknown says why."""
    result = run("--json")
    report = json.loads(result.stdout)
    assert report["energy"]["energy_j"] is None
    assert "answers HTTP 404" in report["energy"]["reason"]


def test_anything_but_completed_exits_1(server, run):
    """A truncated request makes the exit code 1, and the table says which request and what happened."""

    async def answer_too_little(exchange):
        await exchange.begin()
        await exchange.send_tokens(2, "stop")
        await exchange.send("[DONE]")

    server.answers = [answer_too_little]
    result = run()
    assert result.exit_code == 1
    assert "truncated 1" in result.stdout
    assert "request 0 truncated: finished (stop) after 2 of 4 tokens" in result.stdout


def test_dry_run_sends_nothing(server, run):
    """A dry run says what would be sent, in words and as JSON, and does not touch the server."""
    said, as_json = run("--dry-run", "--requests", 4), run("--dry-run", "--requests", 4, "--json")
    assert "4 requests over 60ms" in said.stdout
    assert json.loads(as_json.stdout)["prompt_tokens"] == 20 + 21 + 22 + 23
    assert (said.exit_code, as_json.exit_code, server.bodies) == (0, 0, [])


def test_limit_and_scale_reach_the_wire(server, run):
    """Options shape what is sent: arrivals end at the limit, lengths are halved, and the model's name is as given."""
    result = run("--limit", "50ms", "--scale-tokens", 0.5, "--model", "small")
    sent = sorted((len(body["prompt"]), body["max_tokens"], body["model"]) for body in server.bodies)
    assert sent == [(10, 2, "small"), (10, 2, "small"), (11, 2, "small")], result.output


def test_requests_too_long_for_the_model_are_announced(server, run):
    """Before anything is sent, the operator hears how many requests the model will refuse and how to cut them."""
    server.models = [{"id": "small", "max_model_len": 27}]
    result = run()
    assert "2 requests are longer than the 27 tokens that small takes" in result.stderr


def test_a_bad_line_exits_2_before_anything_is_sent(server, run, trace: Path):
    """A bad line ends the command with its place; --skip-bad goes on and reports how many were left out."""
    trace.write_text(trace.read_text() + "oops\n")
    refused, skipped = run(), run("--skip-bad", "--json")
    assert (refused.exit_code, skipped.exit_code) == (2, 0)
    assert f"{trace}:8: found 1 fields, expected 3" in refused.stderr
    assert json.loads(skipped.stdout)["trace"]["bad_lines"] == 1
    assert len(server.bodies) == 6


def test_tokens_out_compares_two_runs(run, tmp_path: Path):
    """Two runs with the same seed write the same outputs, one line for each request."""
    for name in ("one", "two"):
        assert run("--tokens-out", tmp_path / name).exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "one").read_text().splitlines()]
    assert [line["request"] for line in lines] == list(range(6))
    assert lines[0]["token_ids"] == [0, 1, 2, 3]
    assert (tmp_path / "one").read_text() == (tmp_path / "two").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--speed", "0"), "expected a number above 0"),
        (("--limit", "5 parsecs"), "is not a duration"),
        (("--report", "/no/such/folder/out.json"), "expected a file name in a folder"),
        (("--sample", "2"), "--sample"),
        (("--start", "9h"), "no request to send within"),
        (("--url", "nonsense"), "found the address 'nonsense'; write one such as http://127.0.0.1:8000"),
        (("--url", "http://[::1"), "found the address 'http://[::1'"),
    ],
)
def test_usage_errors_exit_2(run, server, arguments: tuple[str, ...], said: str):
    """A wrong option is refused with what is allowed, and nothing is sent."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in words_of(result.stderr)
    assert server.bodies == []


def test_no_server_exits_1(trace: Path):
    """With nobody at the address, one line says so and what to do."""
    result = CliRunner().invoke(app, [str(trace), "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "no OpenAI server answers at http://127.0.0.1:9 (Connection refused)" in result.stderr
    assert "--url" in result.stderr


def test_ctrl_c_prints_the_partial_report(server, run, trace: Path):
    """An interrupt ends the replay at once; what was measured so far is reported, with exit code 1."""
    trace.write_text(trace.read_text() + "3600,10,4\n")

    async def interrupt(exchange):
        await exchange.begin()
        await exchange.send_tokens(1)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

    server.answers = [interrupt]
    result = run("--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["interrupted"]) == (1, True)
    assert report["counts"]["unfinished"] >= 1
    assert report["counts"]["planned"] == 7


@pytest.mark.parametrize(("seconds", "text"), [(0.00421, "4.21ms"), (0.9996, "1s"), (1.2345, "1.23s"), (125, "2m5s")])
def test_latencies_have_three_digits(seconds: float, text: str):
    """A latency is shown to three digits in the unit that a person would use."""
    assert latency_text(seconds) == text


def progress_at(elapsed_s: float) -> ReplayProgress:
    return ReplayProgress(elapsed_s, 100, 40, 30, 2, 1, 500, 0.12)


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]):
    """Where standard error is no terminal, progress is a plain line at most every ten seconds."""
    with shown_progress(output.side_console()) as tell:
        for tenths in range(int(2.5 * LINE_INTERVAL_S * 10)):
            tell(progress_at(tenths / 10))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("sent 40/100  done 30  running 10  failed 2  late 1  4.00 requests/s  TTFT p50 120ms")


def test_a_report_that_cannot_be_written_is_shown_all_the_same(run):
    """A disk that is full when the replay ends costs the file, not the figures: they are shown, then the fault."""
    result = run("--report", "/dev/full", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["counts"]["completed"] == 6
    assert "cannot be written (No space left on device)" in result.stderr


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str]):
    """On a terminal a bar shows the same numbers while the replay runs."""
    with shown_progress(Console(stderr=True, force_terminal=True, width=200)) as tell:
        tell(progress_at(10.0))
    assert "sent 40/100  done 30  running 10" in capsys.readouterr().err
