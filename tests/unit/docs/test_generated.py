"""Pages that are written from the code say what the code says."""

from pathlib import Path

import pytest

from docs.generate import __main__ as generate


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_current(name):
    """`make docs` would not change it."""
    assert (generate.PROJECT / name).read_text(encoding="utf-8") == generate.PAGES[name](), "run: make docs"


def test_a_page_that_lags_behind_is_named_and_then_written(tmp_path: Path, monkeypatch, capsys):
    """`--check` names it, says what to do and fails; without it the page is written."""
    monkeypatch.setattr(generate, "PROJECT", tmp_path)
    monkeypatch.setattr(generate, "PAGES", {"docs/reference/knobs.md": lambda: "# Knobs\n"})
    assert generate.main(["--check"]) == 1
    assert "docs/reference/knobs.md is not current; `make docs` writes it" in capsys.readouterr().err
    assert not (tmp_path / "docs").exists()
    assert generate.main([]) == 0
    assert (tmp_path / "docs/reference/knobs.md").read_text() == "# Knobs\n"
    assert generate.main(["--check"]) == 0
