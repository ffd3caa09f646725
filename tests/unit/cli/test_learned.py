"""What was learned, as operators and programs see it."""

import json
import sys

import pytest

from reconfigure_daemon.cli import plots


@pytest.mark.parametrize(
    ("verb", "key"), [("pareto", "front"), ("surrogate", "quantities"), ("explain", "explanation")]
)
def test_each_verb_is_one_document_for_programs(run, daemon, verb, key):
    """--json is the daemon's own answer."""
    assert key in json.loads(run(verb, "--json").stdout)


def test_the_front_is_told_by_what_it_changes(run, daemon):
    """Medians with intervals, the workload, and the enforced configuration below, since it is not on the front."""
    done = run("pareto")
    assert done.exit_code == 0, done.output
    for words in (
        "For 4 requests/s of 512 + 128 tokens; fitted 3m ago to 40 trials; 84 candidates.",
        "1.3e+03 (1.17e+03 to 1.43e+03)",
        "max_num_seqs=8",
        "enforced, not on the front",
        "Energy is estimated",
    ):
        assert words in done.stdout


def test_surrogates_are_judged_before_their_figures(run, daemon):
    """Trusted or not, then leave-one-out, then forecasts against what came afterwards."""
    done = run("surrogate")
    for words in ("Trusted: fitted 3m ago", "40 trials, 2 of them failed", "0.971", "3.4%", "5.1%", "+2.0%"):
        assert words in done.stdout


def test_surrogates_that_are_not_to_be_trusted_say_why(run, daemon):
    """The reason is a sentence of its own."""
    daemon.learned["/v1/surrogate"] |= {"trusted": False, "faults": ["energy is no better than a straight line"]}
    done = run("surrogate")
    assert "Not to be trusted" in done.stdout
    assert "energy is no better than a straight line" in done.stdout


def test_an_explanation_compares_with_the_neighbours(run, daemon):
    """What one knob otherwise would do, which knobs matter, and what would change the decision."""
    done = run("explain")
    for words in (
        "max_num_seqs=64",
        "+117%*",
        "Which settings matter here: max_num_seqs (tokens/s, saturated x6.50).",
        "Best in tokens/s, saturated: max_num_seqs=64, better by 117.0%; that is more than the 3%",
        "better by 2.0%, though their intervals overlap; that is less than the 3%",
    ):
        assert words in done.stdout


def test_without_anything_learned_the_decision_is_still_explained(run, daemon):
    """The sentence says what is missing."""
    daemon.learned["/v1/explanation"] = {"basis": "3 trials of 12 needed"}
    done = run("explain")
    assert done.exit_code == 0
    assert "Why: cli asked" in done.stdout
    assert "Of other configurations nothing can be said: 3 trials of 12 needed." in done.stdout


def test_before_anything_was_learned_the_front_is_refused(run, daemon):
    """Exit code 1 with the daemon's own words."""
    daemon.fault = (409, {"kind": "request_refused", "message": "nothing has been learned yet"})
    done = run("pareto")
    assert done.exit_code == 1
    assert "nothing has been learned yet" in done.stderr


@pytest.mark.parametrize(("name", "begins"), [("front.html", b"<html>"), ("front.png", b"\x89PNG")])
def test_the_front_is_drawn(run, daemon, tmp_path, name, begins):
    """HTML that needs no network, or PNG."""
    path = tmp_path / name
    done = run("pareto", "--plot", str(path))
    assert done.exit_code == 0, done.output
    content = path.read_bytes()
    assert content.startswith(begins)
    assert b"<script src=" not in content


def test_a_plot_of_another_kind_is_refused_before_anything_is_asked(run, daemon, tmp_path):
    """Exit code 2, and both endings are named."""
    done = run("pareto", "--plot", str(tmp_path / "front.svg"))
    assert done.exit_code == 2
    assert ".html or .png" in done.stderr
    assert daemon.queries == []


def test_a_plot_without_its_library_says_how_to_get_it(run, daemon, tmp_path, monkeypatch):
    """One line, no traceback."""
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    done = run("pareto", "--plot", str(tmp_path / "front.html"))
    assert done.exit_code == 1
    assert "pip install 'vllm-reconfigure[plots]'" in done.stderr


def test_trials_are_exported_and_imported_as_they_are(run, daemon, tmp_path):
    """The file holds the daemon's lines, and those are what another daemon gets."""
    path = tmp_path / "trials.jsonl"
    assert "2 trials written" in run("export", str(path)).stdout
    assert path.read_bytes() == daemon.exported
    assert "2 trials taken from" in run("import", str(path)).stdout
    assert daemon.imported == [daemon.exported]


def test_an_import_of_something_else_is_refused_in_the_daemons_words(run, daemon, tmp_path):
    """There is no option to insist."""
    path = tmp_path / "trials.jsonl"
    path.write_text("{}")
    daemon.fault = (409, {"kind": "request_refused", "message": "these trials say nothing of this host"})
    done = run("import", str(path))
    assert done.exit_code == 1
    assert "these trials say nothing of this host" in done.stderr
    assert "--force" not in run("import", "--help").stdout


def test_a_plot_into_no_folder_is_refused_before_anything_is_asked(run, daemon, tmp_path):
    """Exit code 2, the folder is named."""
    done = run("pareto", "--plot", str(tmp_path / "none" / "front.html"))
    assert done.exit_code == 2
    assert f"found --plot into {tmp_path}/none, which is no folder" in done.stderr
    assert daemon.queries == []


@pytest.mark.parametrize("name", ["front.html", "front.png"])
def test_a_plot_that_cannot_be_written_comes_after_the_table(run, daemon, tmp_path, monkeypatch, name):
    """What was asked for is shown all the same, and the fault is a sentence."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plots, f"_draw_{name.rpartition('.')[2]}", full)
    done = run("pareto", "--plot", str(tmp_path / name))
    assert done.exit_code == 2
    assert "84 candidates" in done.stdout
    assert f"{tmp_path / name} cannot be drawn (No space left on device)" in done.stderr
    programs = run("pareto", "--plot", str(tmp_path / name), "--json")
    assert json.loads(programs.stdout)["error"]["kind"] == "request_invalid"


@pytest.mark.parametrize(("times", "words"), [(1, "once"), (2, "2 times")])
def test_how_often_it_was_measured_here_reads_well(run, daemon, times, words):
    """Once is a word."""
    daemon.learned["/v1/explanation"]["forecast"]["observations"] = times
    assert f"measured here {words}" in " ".join(run("explain").stdout.split())
