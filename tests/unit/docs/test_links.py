"""Links between the project's own pages lead somewhere."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_relative_links_lead_to_files(page: Path):
    """Every `[text](path)` without a scheme names a file that exists."""
    links = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_listed():
    """The index of the documentation names each guide, how-to and reference."""
    index = (PROJECT / "docs/README.md").read_text(encoding="utf-8")
    pages = [
        p.relative_to(PROJECT / "docs")
        for folder in ("guide", "howto", "reference")
        for p in (PROJECT / "docs" / folder).glob("*.md")
    ]
    assert [str(page) for page in pages if f"({page})" not in index] == []


def test_every_decision_is_listed_by_its_own_title():
    """In the order of their numbers, each as its page is headed."""
    decisions = PROJECT / "docs/decisions"
    titles = [(page.name, page.read_text(encoding="utf-8").splitlines()[0]) for page in sorted(decisions.glob("0*.md"))]
    listed = re.findall(
        r"^\| \[(\d+)\]\((\S+)\) \| (.+) \|$", (decisions / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert [(name, f"# {number}: {title}") for number, name, title in listed] == titles
