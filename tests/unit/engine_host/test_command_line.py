"""What vLLM is started with, where the settings say nothing."""

from argparse import Namespace
from types import SimpleNamespace

import pytest

from reconfigure_daemon.engine_host import arguments
from reconfigure_daemon.settings import Settings

SPACE = {"max_num_seqs": {"values": [1, 8]}, "block_size": {"values": [32, 64]}}

#: Importing vLLM is what these do; its dependencies' own warnings are not ours.
pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


def command_line(space: dict | None = None, **engine) -> list[str]:
    settings = Settings.model_validate({"engine": engine, "space": space or SPACE})
    return arguments.command_line(settings, settings.configuration_space().default(), "/cache/some/folder")


def test_the_small_model_has_a_name_that_people_can_type():
    """Its folder in the cache is not what clients have to ask for; another model keeps vLLM's own name."""
    line = command_line()
    assert line[line.index("--served-model-name") + 1] == "SmolLM2-135M-Instruct"
    assert "--served-model-name" not in command_line(model="/models/other")


def test_on_cpu_nothing_is_compiled_unless_the_settings_say_so(monkeypatch: pytest.MonkeyPatch):
    """A GPU keeps vLLM's own default; a setting or a knob of the space wins over ours."""
    from vllm.platforms import current_platform

    monkeypatch.setattr(type(current_platform), "is_cpu", lambda _: True)
    assert "--enforce-eager" in command_line()
    assert "--no-enforce-eager" in command_line(arguments={"enforce_eager": False})
    eager = {"values": [False, True]}
    assert "--no-enforce-eager" in command_line({**SPACE, "enforce_eager": eager})
    monkeypatch.setattr(type(current_platform), "is_cpu", lambda _: False)
    assert not any("enforce-eager" in word for word in command_line())


def test_a_core_boots_with_the_largest_hot_values():
    """Hot moves must fit inside what was booted; cold values are the configuration's own."""
    line = command_line()
    assert line[line.index("--max-num-seqs") + 1] == "8"
    assert line[line.index("--block-size") + 1] == "32"


def test_a_space_may_say_that_nothing_is_quantised():
    """VLLM has no word for it: the argument is left out."""
    words = {"values": ["none", "fp8"]}
    assert "--quantization" not in command_line({**SPACE, "quantization": words})
    line = command_line({**SPACE, "quantization": {**words, "default": "fp8"}})
    assert line[line.index("--quantization") + 1] == "fp8"


def test_vllm_understands_graph_modes_drafts_and_the_profiler():
    """What is put into its JSON arguments is what its own parser then finds there."""
    space = {"cudagraph_mode": {"values": ["FULL", "NONE"]}, "speculative": {"values": ["ngram:3"]}}
    line = command_line(space, profiler=True, arguments={"compilation_config": '{"backend": "eager"}'})
    parsed = arguments.parse(line)
    assert parsed.compilation_config.cudagraph_mode.name == "FULL"
    assert parsed.compilation_config.backend == "eager"
    assert parsed.speculative_config["num_speculative_tokens"] == 3
    assert parsed.profiler_config.profiler == "torch"
    assert parsed.profiler_config.torch_profiler_dir.endswith("var/run/profiles")


def test_images_are_sent_whole_each_time_as_another_core_knows_none_of_them():
    """An operator who never switches may have vLLM's cache back; a core that is never replaced live keeps it."""
    line = command_line()
    assert arguments.parse(line).mm_processor_cache_gb == 0
    assert arguments.parse(command_line(arguments={"mm_processor_cache_gb": 2})).mm_processor_cache_gb == 2
    settings = Settings.model_validate({"space": SPACE})
    fixed = arguments.command_line(settings, settings.configuration_space().default(), "m", live_switching=False)
    assert "--mm-processor-cache-gb" not in fixed


@pytest.mark.parametrize(
    ("is_moe", "replicas", "live"), [(True, 2, True), (False, 2, True), (True, 1, True), (True, 2, False)]
)
def test_replicas_of_a_mixture_of_experts_are_refused(monkeypatch: pytest.MonkeyPatch, is_moe, replicas, live):
    """They step together; dense ones, and vLLM without our scheduler, are let through."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    config = SimpleNamespace(
        parallel_config=SimpleNamespace(data_parallel_size=replicas), model_config=SimpleNamespace(is_moe=is_moe),
        scheduler_config=SimpleNamespace(async_scheduling=False),
    )  # fmt: skip
    made = SimpleNamespace(create_engine_config=lambda _: config)
    monkeypatch.setattr(AsyncEngineArgs, "from_cli_args", lambda _: made)
    if is_moe and replicas > 1 and live:
        with pytest.raises(arguments.ConfigurationRefusedByVllm, match="needs a dense model"):
            arguments.core_config(Namespace(), live)
    else:
        assert arguments.core_config(Namespace(), live) is config
