"""The references name everything that the code has."""

import re

from docs.generate import command_line, control_api, settings
from reconfigure_daemon.settings.model import Settings


def keys():
    """The dotted path of every plain key."""
    for name, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        yield from (f"{name}.{key}" for key in inner) if inner else (() if name == "space" else (name,))


def test_every_setting_is_in_the_reference_with_its_meaning():
    """No key is left out, and config.yaml explains each."""
    rows = {line.split("`")[1]: line for line in settings.page().splitlines() if line.startswith("| `")}
    assert [key for key in keys() if key not in rows] == []
    assert [key for key in keys() if rows[key].endswith("| see its section |")] == []


def test_a_comment_speaks_of_the_keys_below_it():
    """A key without a comment shares the one before it in its block, and takes none from another block."""
    text = "# A section.\na:\n  # Both.\n  x: 1\n  y: 2\n\n# Another.\nb:\n  z: 3\n"
    assert settings.comments(text) == {"a": "A section.", "a.x": "Both.", "a.y": "Both.", "b": "Another."}


def test_every_verb_is_in_the_reference():
    """With its usage."""
    page = command_line.page()
    for verb in ("serve", "stop", "status", "apply", "rollback", "history", "replay", "config check"):
        assert f"\n## reconfigure {verb}\n" in page


def test_every_path_is_in_the_reference_with_what_it_answers():
    """A handler without a docstring would leave its cell empty."""
    rows = [line for line in control_api.page().splitlines() if line.startswith(("| GET", "| POST"))]
    assert len(rows) > 6
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_control_apis_reference_has_what_its_description_has():
    """Queries with their bounds, bodies and answers of every path, and every type that one of them leads to."""
    page = control_api.page()
    assert "| `limit`: whole number, at least 1, at most 500<br>`before`: whole number, at least 1 |" in page
    assert "| POST | `/v1/tune` |  | [TuneRequest](#tunerequest) | [TuningView](#tuningview) |" in page
    assert "| POST | `/v1/profile` |  | [ProfileWanted](#profilewanted) | [ProfileView](#profileview) |" in page
    told = set(re.findall(r"^## (\w+)$", page, re.MULTILINE))
    assert {
        "IntentKind", "HostState", "ActionState", "WorkloadWindow", "WorkloadContext", "Percentiles", "TrialLine"
    } <= told  # fmt: skip
    assert {name for name, _ in re.findall(r"\[(\w+)\]\(#(\w+)\)", page)} <= told
