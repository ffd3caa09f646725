"""The small decisions of a switch: what is exact, how many move at a time, what a warm-up must answer."""

from __future__ import annotations

import os
from itertools import pairwise
from types import SimpleNamespace

import pytest

from reconfigure_daemon.engine_host.arguments import command_line
from reconfigure_daemon.engine_host.cores import CoreBootFailed, last_error_in
from reconfigure_daemon.engine_host.enforcement import cold_enforced, hot_part
from reconfigure_daemon.engine_host.live_requests import LiveRequest
from reconfigure_daemon.engine_host.memory import Room
from reconfigure_daemon.engine_host.overlapped_switch import COPIED_AT_ONCE_TOKENS, LARGEST_GROUP, group_size, parts_of
from reconfigure_daemon.engine_host.recovery import Recovery
from reconfigure_daemon.engine_host.replay import inexact_reason
from reconfigure_daemon.engine_host.resumption import generated_tokens, with_generated_tokens
from reconfigure_daemon.engine_host.vllm_names import VllmNameMissing, resolve
from reconfigure_daemon.engine_host.warm_up import WarmUpWrong, check_agreement, check_answer
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.configuration import Configuration

SETTINGS = Settings.model_validate(
    {
        "engine": {"arguments": {"max_model_len": 512, "enable_lora": True, "enable_log_requests": False}},
        "space": {
            "max_num_seqs": {"values": [4, 16, 64], "default": 4},
            "max_num_batched_tokens": {"values": [64, 256]},
            "pacing_interval_s": {"values": [0, 0.02]},
            "block_size": {"values": [16, 32]},
            "enforce_eager": {"values": [True, False]},
        },
    }
)


def live(**fields):
    params = SimpleNamespace(structured_outputs=fields.pop("structured_outputs", None), extra_args=None)
    request = {"sampling_params": params, "prompt_token_ids": [1], "mm_features": None, "resumable": False}
    return LiveRequest(SimpleNamespace(**(request | fields)), core=1, arrived_s=0.0)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (live(), None),
        (live(structured_outputs="json"), None),
        (live(sampling_params=None), None),
        (live(resumable=True), "session"),
        (live(prompt_token_ids=None), "tensor"),
        (live(mm_features=[SimpleNamespace(data=None)]), "images"),
    ],
)
def test_a_request_is_exact_unless_its_state_is_only_in_the_core(request_, why):
    """Tokens carry everything else, so only what is not in them cannot go on exactly."""
    reason = inexact_reason(request_, reasoning=False)
    assert (reason is None) if why is None else why in reason


def test_a_grammar_that_begins_after_reasoning_is_not_exact():
    """Nobody can tell from tokens alone where the grammar began."""
    assert "grammar" in inexact_reason(live(structured_outputs="json"), reasoning=True)


def test_generated_tokens_travel_beside_the_clients_own_extra_arguments():
    """The request that is recorded stays as it was."""

    class Params(SimpleNamespace):
        def clone(self):
            return Params(**vars(self))

    params = Params(extra_args={"mine": 1})
    resumed = with_generated_tokens(params, [5, 6])
    assert list(generated_tokens(resumed)) == [5, 6]
    assert resumed.extra_args["mine"] == 1
    assert list(generated_tokens(params)) == []


@pytest.mark.parametrize(
    ("streams", "copied_in_s", "size"),
    [
        (8, 0.1, 8),
        (8, 0.4, 2),
        (8, 2.0, 1),
        (256, 0.4, LARGEST_GROUP),
        (64, 0.0, LARGEST_GROUP),
        (0, 0.1, LARGEST_GROUP),
        (3, 60, 1),
    ],
)
def test_groups_are_as_large_as_a_short_copy_allows(streams, copied_in_s, size):
    """At least one stream, at most the limit."""
    assert group_size(streams, copied_in_s) == size


def test_streams_are_copied_ahead_as_many_at_once_as_a_newcomer_can_wait_for():
    """What was copied before costs nothing, and one that is longer than that goes alone."""
    third = COPIED_AT_ONCE_TOKENS // 3
    streams = [
        live(request_id=f"{number}", prompt_token_ids=[1] * tokens)
        for number, tokens in enumerate((third, third, third, 3 * COPIED_AT_ONCE_TOKENS, third))
    ]
    sizes = [len(part) for part in parts_of(streams, {})]
    assert sizes == [3, 1, 1]
    copied = {each.request.request_id: each.tokens for each in streams}
    streams[0].generated.append(7)
    assert list(parts_of(streams, copied)) == [streams]
    assert list(parts_of([], {})) == []


def test_a_warm_up_must_answer_in_full_in_the_vocabulary_and_with_numbers():
    """Each fault is told with what was found."""
    check_answer([1] * 8, [-0.5], 10)
    for tokens, logprobs, words in (
        ([1] * 7, [-0.5], "7 of 8"),
        ([99] * 8, [-0.5], "outside"),
        ([1] * 8, [float("nan")], "finite"),
    ):
        with pytest.raises(WarmUpWrong, match=words):
            check_answer(tokens, logprobs, 10)


def test_a_new_core_agrees_with_its_predecessor_on_what_is_likely():
    """Numbers may differ in the last digits, not in what the model would say."""
    check_agreement(3, [1, 2, 3])
    with pytest.raises(WarmUpWrong, match="token 9"):
        check_agreement(9, [1, 2, 3])


def test_a_core_boots_with_the_largest_hot_values_and_its_own_cold_ones():
    """Hot moves then stay inside what was allocated; a vLLM that cannot move them gets the values themselves."""
    configuration = SETTINGS.configuration_space().default().with_changes({"block_size": 32, "enforce_eager": False})
    line = command_line(SETTINGS, configuration, "m")
    values = dict(pairwise(line))
    assert (values["--max-num-seqs"], values["--max-num-batched-tokens"]) == ("64", "256")
    assert (values["--block-size"], values["--max-model-len"], values["--model"]) == ("32", "512", "m")
    assert {"--no-enforce-eager", "--enable-lora", "--no-enable-log-requests"} <= set(line)
    assert not any("pacing" in word for word in line)
    fixed = command_line(SETTINGS, configuration, "m", live_switching=False)
    assert dict(pairwise(fixed))["--max-num-seqs"] == "4"


def test_cold_values_are_read_from_the_core_and_not_from_what_was_asked():
    """A core that chose another block size says so."""
    space = SETTINGS.configuration_space()
    config = SimpleNamespace(
        cache_config=SimpleNamespace(block_size=64), model_config=SimpleNamespace(enforce_eager=True),
    )  # fmt: skip
    booted = Configuration({"block_size": 32, "enforce_eager": True, "max_num_seqs": 4})
    assert cold_enforced(space, booted, config) == {"block_size": 64, "enforce_eager": True}
    assert hot_part(space, booted) == {"max_num_seqs": 4}


def test_room_for_a_second_core_is_a_matter_of_free_bytes():
    """What is told names both numbers."""
    assert Room(free=3 * 2**30, needed=2 * 2**30).enough
    assert not Room(free=1, needed=2).enough
    assert str(Room(3 * 2**30, 2 * 2**30)) == "3.0 GiB free, 2.0 GiB needed for a second core"


def test_a_missing_private_name_is_named():
    """The fallback's sentence says which one is gone."""
    with pytest.raises(VllmNameMissing) as missing:
        resolve("reconfigure_daemon.engine_host.cores:Core.nobody")
    assert missing.value.name == "reconfigure_daemon.engine_host.cores:Core.nobody"


async def test_restarts_of_cores_are_bounded():
    """A core that cannot be kept alive ends the attempts, with the setting that bounds them."""

    class Booter:
        boots = 0

        async def boot(self, *_):
            self.boots += 1
            raise CoreBootFailed("no")

        async def retire(self, _):
            pass

    booter, router = Booter(), SimpleNamespace(stop_admitting=lambda: None)
    dead = SimpleNamespace(configuration=Configuration({}))
    with pytest.raises(CoreBootFailed, match="core_restarts"):
        await Recovery(restarts=3, window_s=60).run(router, booter, dead, lambda _: None, None)
    assert booter.boots == 3


def test_the_cause_of_a_cores_end_is_the_first_error_of_its_processes(tmp_path):
    """The core only misses the worker's answer; an assertion without words is told by its line of code."""
    worker = (
        'Traceback (most recent call last):\n  File "runner.py", line 7, in run\n    assert self.room is not None\n'
    )
    (tmp_path / "7.log").write_text(f"{worker}           ^^^^^^^^^^^^^^^^^^^^^^^^^\nAssertionError\n")
    (tmp_path / "5.log").write_text("Traceback (most recent call last):\nKeyError: 'request-2'\n")
    (tmp_path / "3.log").write_text("RuntimeError: of a core before\n")
    for name, at in (("3", 900), ("7", 1000), ("5", 1001)):
        os.utime(tmp_path / f"{name}.log", (at, at))
    assert last_error_in(tmp_path, 950.0) == "AssertionError: assert self.room is not None"
    assert last_error_in(tmp_path, 1000.5) == "KeyError: 'request-2'"
    assert last_error_in(tmp_path, 2000.0) is None
