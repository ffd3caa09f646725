"""What the daemon is built on: bounded, explained, consistent, and not as old as a flaw that was looked up.

Advisories are kept below by hand, since no database of them can be asked without a network: they hold lower bounds
up, and say nothing of flaws that were found later. Only direct dependencies are listed; vLLM brings and pins its own.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PYPROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"
DECLARED = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
REQUIRED = [Requirement(line) for line in DECLARED["dependencies"]]
OPTIONAL = [Requirement(line) for extra in DECLARED["optional-dependencies"].values() for line in extra]
EVERY = {each.name: each for each in (*REQUIRED, *OPTIONAL) if each.name != DECLARED["name"]}

#: The first version without a published flaw, and the flaw.
FIRST_WITHOUT = {
    "aiohttp": (
        "3.13.3",
        "CVE-2025-69223 and its companions: a compressed body or a request's head exhausts the server",
    ),
    "pyyaml": ("5.4", "CVE-2020-14343: loading a document runs code"),
    "pydantic": ("2.4.0", "CVE-2024-3772: validating an e-mail address may take forever"),
    "psutil": ("5.6.6", "CVE-2019-18874: a failing conversion frees memory twice"),
}


@pytest.mark.parametrize("name", sorted(EVERY.keys() - {"tzdata"}))  # of dates, the latest are the right ones
def test_every_dependency_is_bounded_on_both_sides(name):
    """Nothing older than what was tried, and no later series that nobody has tried."""
    operators = {specifier.operator for specifier in EVERY[name].specifier}
    assert operators >= {">="}
    assert operators & {"<", "<=", "=="}


@pytest.mark.parametrize("name", [each.name for each in REQUIRED])
def test_every_dependency_has_its_reason(name):
    """Whoever wonders why it is there finds it in the same line."""
    assert re.search(rf'^  "{re.escape(name)}[^"]*",\s+# \S', PYPROJECT.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_what_is_installed_is_what_is_declared(name):
    """The tests run on versions that the declaration allows."""
    try:
        found = version(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    assert EVERY[name].specifier.contains(found, prereleases=True)


@pytest.mark.parametrize("name", sorted(FIRST_WITHOUT))
def test_no_version_with_a_listed_flaw_is_allowed(name):
    """The last version before the first without it is refused, as an installer would refuse it."""
    first, flaw = FIRST_WITHOUT[name]
    series, _, last = first.rpartition(".")
    before = f"{series}.{int(last) - 1}" if int(last) else f"{series}a1"
    assert not EVERY[name].specifier.contains(before, prereleases=True), flaw
