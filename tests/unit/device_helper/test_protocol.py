"""One line in, one line out, whatever comes."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconfigure_daemon.device_helper.protocol import answer
from tests.unit.device_helper.conftest import Helper


def ask(helper: Helper, **request: object) -> dict[str, object]:
    return json.loads(answer(json.dumps(request).encode(), helper.custody, "life"))


def test_an_answer_shows_every_card_after_the_change(helper: Helper) -> None:
    """Whoever sets reads back in the same answer."""
    [uuid] = helper.uuids()
    found = ask(helper, do="set_clock", holder="daemon", gpus=[uuid], mhz=1200, lease_s=30)
    assert found == {
        "helper": "life",
        "gpus": [
            {
                "uuid": uuid, "fault": None, "clock_mhz": 1200, "power_cap_w": 0, "holder": "daemon",
                "sm_clock_mhz": 1200, "power_limit_w": 700,
            }
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"do": "explode"}, "found do='explode'; allowed: read, set_clock, set_power_cap, renew, restore"),
        ({"do": "renew", "holder": "x", "lease_s": 1}, "found lease_s=1; seconds from 5 to 600 is allowed"),
        ({"do": "restore", "holder": ""}, "found holder=''; a name is allowed"),
        ({"do": "set_clock", "holder": "x", "gpus": [], "mhz": 0, "lease_s": 30}, "found gpus=[]; a list of UUIDs"),
        ({"do": "set_clock", "holder": "x", "gpus": ["GPU-x"], "mhz": True, "lease_s": 30}, "found mhz=True"),
        ({"do": "set_power_cap", "holder": "x", "gpus": ["GPU-x"], "w": "all", "lease_s": 30}, "found w='all'"),
        ({"do": "set_clock", "holder": "x", "gpus": ["GPU-x"], "mhz": 900, "lease_s": 30}, "there is no GPU GPU-x"),
    ],
)
def test_a_wrong_request_is_told_what_is_allowed(helper: Helper, request_: dict[str, object], words: str) -> None:
    """The sentence names the field, what was found and what may be."""
    assert words in str(ask(helper, **request_)["refused"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["do", "gpus", "mhz"]), inner),
)


@given(line=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_refused_and_changes_nothing(helper: Helper, line: bytes) -> None:
    """No line makes the privileged process fail or touch a card."""
    assert "refused" in json.loads(answer(line, helper.custody, "life"))
    assert helper.nvml.was_set(0, "locked_mhz") == []
