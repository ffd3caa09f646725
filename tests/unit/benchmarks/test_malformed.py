"""A smaller helping of what `python -m benchmarks.faults malformed` sends by the thousand."""

from __future__ import annotations

import random

from benchmarks.faults import mutations
from benchmarks.faults.malformed import Tally, bent_command_lines, bent_requests, bent_settings
from benchmarks.harness.machine import PROJECT
from tests.unit.control_api.conftest import running_api

__all__ = ["running_api"]  # the fixture


async def test_bent_requests_get_an_answer_that_is_none_of_ours_to_blame(running_api, caplog):
    """A hundred and fifty of them: no 500, no traceback, and nothing of what they held in an answer or the log."""
    async with running_api() as api:
        tally = await bent_requests(api.session._base_url.port, 150, seed=4)
        assert (await api.get("/v1/status"))[0] == 200
    assert (tally.asked, tally.failures, tally.leaks) == (150, [], [])
    assert {"400", "404"} <= set(tally.kinds)
    assert mutations.CANARY not in caplog.text
    assert mutations.TOKEN not in caplog.text
    assert [record for record in caplog.records if record.exc_info] == []


def test_bent_settings_are_refused_by_name():
    """A hundred files: each is taken, or refused with every fault and its line."""
    tally = bent_settings(100, seed=4)
    assert (tally.asked, tally.failures) == (100, [])
    assert tally.kinds["SettingsInvalid"] > 50


def test_bent_command_lines_end_with_a_documented_code():
    """Forty lines without a daemon: 0, 1, 2 or 3, and never a traceback."""
    tally = bent_command_lines("http://127.0.0.1:1", 40, seed=4)
    assert (tally.asked, tally.failures) == (40, [])
    assert {"exit 2", "exit 3"} <= set(tally.kinds)


def test_mutations_differ_and_repeat():
    """Hardly any two are alike, and the same seed gives the same ones again."""
    sound = (PROJECT / "config.yaml").read_text("utf-8")
    makers = (mutations.request, mutations.words, lambda draw: mutations.settings(draw, sound))
    for maker in makers:
        one, other = random.Random(5), random.Random(5)
        made = [maker(one) for _ in range(50)]
        assert made == [maker(other) for _ in range(50)]
        assert len({str(each) for each in made}) > 40


def test_a_bad_end_is_counted():
    """A traceback, a 500 and a secret that comes back are what a tally is for."""
    tally = Tally()
    tally.take("200", "all is well", "x")
    tally.take("500", "sorry", "x", failed=True)
    tally.take("200", "Traceback (most recent call last)", "x")
    tally.take("200", f"you said {mutations.TOKEN}", "x")
    assert (tally.asked, len(tally.failures), len(tally.leaks)) == (4, 2, 1)
