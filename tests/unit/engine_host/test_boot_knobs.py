"""Knobs inside vLLM's JSON arguments: put in, and read back from what a core says it has."""

from __future__ import annotations

import json
from enum import Enum
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from reconfigure_daemon.engine_host.boot_knobs import json_arguments, read_back
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.configuration import Configuration


class Mode(Enum):
    PIECEWISE = 1


def core(eager=False, drafting=None):
    return SimpleNamespace(
        model_config=SimpleNamespace(enforce_eager=eager),
        compilation_config=SimpleNamespace(cudagraph_mode=Mode.PIECEWISE),
        speculative_config=drafting,
    )


def test_a_graph_mode_joins_what_the_settings_compile_with():
    """The settings' own keys stay; the knob decides its own."""
    found = json_arguments({"cudagraph_mode": "FULL"}, {"compilation_config": '{"level": 3, "cudagraph_mode": "NONE"}'})
    assert json.loads(found["compilation_config"]) == {"level": 3, "cudagraph_mode": "FULL"}


def test_speculation_is_vllms_own_configuration():
    """n-grams need nothing; a drafter is named; none gives no argument at all."""
    ngram = json.loads(json_arguments({"speculative": "ngram:3"}, {})["speculative_config"])
    assert (ngram["method"], ngram["num_speculative_tokens"], ngram["prompt_lookup_max"]) == ("ngram", 3, 4)
    eagle = json.loads(json_arguments({"speculative": "eagle3:2:/models/a:b"}, {})["speculative_config"])
    assert eagle == {"method": "eagle3", "num_speculative_tokens": 2, "model": "/models/a:b"}
    assert json_arguments({"speculative": "none", "block_size": 16}, {}) == {}


@pytest.mark.parametrize(
    ("booted", "drafting", "found"),
    [
        ("none", None, "none"),
        ("ngram:3", None, "none"),
        ("ngram:3", ("ngram", 3), "ngram:3"),
        ("eagle3:2:/m", ("eagle3", 2), "eagle3:2:/m"),
        ("ngram:3", ("ngram", 5), "ngram:5"),
        ("none", ("ngram", 5), "ngram:5"),
    ],
)
def test_speculation_is_read_from_the_core(booted, drafting, found):
    """A core that drafts otherwise than it was asked to says so."""
    config = core(drafting=drafting and SimpleNamespace(method=drafting[0], num_speculative_tokens=drafting[1]))
    assert read_back("speculative", config, booted) == found


def test_a_graph_mode_is_read_from_the_core_where_it_means_something():
    """vLLM lowers a mode that the attention backend cannot do; in eager mode there is none to lower."""
    assert read_back("cudagraph_mode", core(), "FULL") == "PIECEWISE"
    assert read_back("cudagraph_mode", core(eager=True), "FULL") == "FULL"


def test_a_limit_of_speculation_without_speculation_is_no_candidate_of_its_own():
    """Configurations that differ only in it are one."""
    space = Settings.model_validate(
        {"space": {"speculative": {"values": ["none", "ngram:3"]}, "speculation_batch_limit": {"values": [0, 8]}}}
    ).configuration_space()
    assert Configuration({"speculative": "none", "speculation_batch_limit": 8}) not in list(space.enumerate())
    assert len(list(space.enumerate())) == 3


@pytest.mark.parametrize(
    ("arguments", "knob", "words"),
    [
        ({"speculative_config": "{}"}, {"speculative": {"values": ["none"]}}, "space.speculative decides it"),
        ({"compilation_config": "3"}, {"cudagraph_mode": {"values": ["FULL"]}}, "a JSON object is allowed"),
    ],
)
def test_two_places_for_one_setting_are_told(arguments, knob, words):
    """What would be overruled silently is refused."""
    with pytest.raises(ValidationError, match=words):
        Settings.model_validate({"engine": {"arguments": arguments}, "space": knob})
