"""`config.yaml` and the environment become settings, or a complete list of what to mend."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reconfigure_daemon.errors import SettingsInvalid
from reconfigure_daemon.ports import SwitchMode
from reconfigure_daemon.settings import HOT_KNOBS, Settings, load_settings
from reconfigure_daemon.settings.loading import with_absolute_paths
from reconfigure_daemon.settings.yaml_document import read_yaml
from reconfigure_policies.domain.configuration import Configuration, Tier, parse_value
from reconfigure_policies.domain.objective import Objective

SPACE = "space: {max_num_seqs: {values: [1, 2, 4]}, block_size: {values: [16, 32]}}\n"
PROJECT = Path(__file__).parents[3]


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def faults_of(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(path, environ or {})
    return [fault.removeprefix(f"{path}:") for fault in refused.value.faults]


def test_the_least_that_works(config):
    """A space is enough; everything else has its default, and hot knobs are told from cold ones."""
    settings = load_settings(config(SPACE), {})
    assert (settings.engine.port, settings.switch.mode) == (8000, SwitchMode.AUTO)
    tiers = {knob.name: knob.tier for knob in settings.configuration_space().knobs}
    assert tiers == {"max_num_seqs": Tier.HOT, "block_size": Tier.COLD}


def test_named_configurations_are_defaults_with_the_objectives_values(config):
    """An objective names only what differs from the space's defaults."""
    settings = load_settings(config(SPACE + "objectives: {energy: {max_num_seqs: 4}}"), {})
    expected = Configuration({"max_num_seqs": 4, "block_size": 16})
    assert settings.named_configurations() == {Objective.ENERGY: expected}


FAULTS = [
    ("engin: {}", "engin: found an unknown key", "did you mean 'engine'?"),
    ("engine: {prot: 1}", "engine.prot: found an unknown key", "did you mean 'port'?"),
    (
        "engine: {port: 99999}",
        "engine.port: found 99999",
        "at most 65535; change it, or remove it for the default, 8000",
    ),
    ("engine: {port: yes}", "engine.port: found 'yes'", "a whole number"),
    ("engine: {port: '8000'}", "engine.port: found '8000'", "a whole number"),
    ("engine: {port: true}", "engine.port: found true", "a whole number"),
    ("switch: {deadline_s: 5m}", "switch.deadline_s: found '5m'", "a number of seconds"),
    ("engine: {port: }", "engine.port: found nothing", "a whole number"),
    ("engine: {kind: vlm}", "engine.kind: found 'vlm'", "'vllm' or 'emulated'; did you mean 'vllm'?"),
    ("engine: {host: ''}", "engine.host: found ''", "a text that is not empty"),
    ("engine: {model: /no/such/model}", "engine.model: found '/no/such/model'", "does not exist"),
    ("engine: {arguments: {x: {}}}", "engine.arguments.x: found a block of keys", "a list of texts"),
    ("engine: {arguments: {--x: 1}}", "engine.arguments.--x: found the name '--x'", "underscores"),
    (
        "engine: {arguments: {max-num-seqs: 1}}",
        "engine.arguments.max-num-seqs: max_num_seqs is also a knob",
        "remove one",
    ),
    ("engine: {arguments: {port: 1}}", "engine.arguments.port: port has a key of its own", "set engine.port"),
    (
        "engine: {arguments: {data-parallel-size: 2}}",
        "engine.arguments.data-parallel-size: how many replicas there are is for the space",
        "write space.data_parallel_size: {values: [2]} instead",
    ),
    ("engine: 3", "engine: found 3", "a block of keys"),
    ("objectives: {enrgy: {}}", "objectives.enrgy: found 'enrgy'", "did you mean 'energy'?"),
    ("objectives: {energy: {block_size: 64}}", "objectives.energy.block_size: found 64", "allowed: 16, 32"),
    (
        "objectives: {energy: {blok_size: 16}}",
        "objectives.energy.blok_size: there is no knob",
        "did you mean 'block_size'?",
    ),
    ("objectives: {energy: {x: 16}}", "objectives.energy.x: there is no knob", "it has: max_num_seqs, block_size"),
    ("objectives: {energy: {block_size: [16]}}", "objectives.energy.block_size: found a list", "a number, a text"),
    ("start_objective: fast", "start_objective: found 'fast'", "'energy', 'throughput' or 'balanced'"),
    ("slo: {ttft_s: -1}", "slo.ttft_s: found -1", "more than 0"),
    ("slo: {ttft_s: .nan}", "slo.ttft_s: found nan", "a finite number"),
    ("slo: {attainment: 1.5}", "slo.attainment: found 1.5", "at most 1"),
    ("switch: {deadline_s: 0}", "switch.deadline_s: found 0", "more than 0"),
    ("switch: {core_restarts: 1.5}", "switch.core_restarts: found 1.5", "a whole number"),
    ("control_api: {host: 0.0.0.0}", "control_api.host: found '0.0.0.0'", "a token is required"),
    ("control_api: {host: example.org}", "control_api.host: found 'example.org'", "a token is required"),
    ("control_api: {port: 8000}", "control_api.port: found 8000, which is engine.port too", "give each its own"),
    ("control_api: {token_file: none-here}", "control_api.token_file: the token file", "openssl rand"),
    ("log_level: debug", "log_level: found 'debug'", "'DEBUG', 'INFO'"),
]


@pytest.mark.parametrize(("text", "found", "remedy"), FAULTS)
def test_each_fault_says_what_was_found_what_is_allowed_and_what_to_do(config, text, found, remedy):
    """One fault gives one sentence with the line, the key, what was found and the way out."""
    (fault,) = faults_of(config(SPACE + "# a comment\n" + text))
    assert fault.startswith(f"3: {found}")
    assert remedy in fault


SPACE_FAULTS = [
    ("max_num_seqs: {values: [1, 0]}", "max_num_seqs.values[1]: found 0", "at least 1"),
    ("max_num_seqs: {values: [1, 1.5]}", "max_num_seqs.values[1]: found 1.5", "whole number"),
    ("max_num_seqs: {values: [true]}", "max_num_seqs.values[0]: found true", "whole number"),
    ("max_num_seqs: {values: []}", "max_num_seqs.values: is empty", "name at least one"),
    ("max_num_seqs: {default: 1}", "max_num_seqs.values: is missing", "list the knob's values"),
    ("max_num_seqs: {values: 1}", "max_num_seqs.values: found 1", "a list"),
    ("max_num_seqs: {values: [1, [2]]}", "max_num_seqs.values[1]: found a list", "a number, a text or true/false"),
    ("max_num_seqs: {values: [1, 2, 1]}", "max_num_seqs.values[2]: found 1 twice", "keep one"),
    ("max_num_seqs: {values: [1, 4, 2]}", "max_num_seqs.values[2]: found 2 after 4", "so write [1, 2, 4]"),
    ("gpus_of_mine: {values: [1, 0.5]}", "gpus_of_mine.values[1]: found 0.5 after 1", "from least to most"),
    ("max_num_seqs: {values: [1, 2], default: 3}", "max_num_seqs.default: found 3", "allowed: 1, 2"),
    (
        "max_num_seqs: {values: [1], defualt: 1}",
        "max_num_seqs.defualt: found an unknown key",
        "did you mean 'default'?",
    ),
    (
        "quantization: {values: [none, fp8], reserved: {energy: [fp4]}}",
        "quantization.reserved.energy[0]: found fp4",
        "allowed: none, fp8",
    ),
    (
        "quantization: {values: [none, fp8], reserved: {energy: [none]}}",
        "quantization.reserved.energy[0]: found none, which is the default",
        "reserve another",
    ),
    ("quantization: {values: [none, fp8], reserved: {greed: [fp8]}}", "quantization.reserved.greed: found", "energy"),
    (
        "max_num_seqs: {values: [1, 2], reserved: {energy: [2]}}",
        "max_num_seqs.reserved.energy: max_num_seqs moves inside the running core",
        "knobs that need a new one",
    ),
    ("max_num_seqs: 64", "max_num_seqs: found 64", "a block of keys"),
    ("max_num_seq: {values: [1]}", "max_num_seq: there is no knob", "did you mean 'max_num_seqs'?"),
    ("Max: {values: [1]}", "Max: found the name 'Max'", "lower-case"),
    ("pacing_interval_s: {values: [0, 20]}", "pacing_interval_s.values[1]: found 20", "seconds from 0 to 1"),
    ("prefix_cache_reading: {values: [1]}", "prefix_cache_reading.values[0]: found 1", "only true and false"),
    ("speculative: {values: [off]}", "speculative.values[0]: found off", "none, or METHOD:TOKENS such as ngram:3"),
    ("speculative: {values: ['ngram']}", "speculative.values[0]: found ngram", "METHOD:TOKENS:MODEL is allowed"),
    (
        "speculation_batch_limit: {values: [-1]}",
        "speculation_batch_limit.values[0]: found -1",
        "a whole number of at least 0",
    ),
    ("cudagraph_mode: {values: [FULLY]}", "cudagraph_mode.values[0]: found FULLY", "allowed: NONE, PIECEWISE"),
    ("dtype: {values: [auto, 16]}", "dtype.values[1]: found 16 beside auto", "all texts"),
    ("dtype: {values: ['16']}", "dtype.values[0]: found '16' in quotes", "write 16 without quotes"),
]


@pytest.mark.parametrize(("knob", "found", "remedy"), SPACE_FAULTS)
def test_a_knob_is_checked_before_any_engine_starts(config, knob, found, remedy):
    """Values that no engine could take are refused in the file, where they can be mended."""
    (fault,) = faults_of(config(f"space:\n  block_size: {{values: [16]}}\n  {knob}\n"))
    assert fault.startswith(f"3: space.{found}")
    assert remedy in fault


def test_what_is_reserved_is_no_other_objectives(config):
    """Named by its own objective it is fine; by another one it is a fault at that line."""
    space = "space:\n  quantization: {values: [none, fp8], reserved: {energy: [fp8], balanced: [fp8]}}\n"
    settings = load_settings(config(space + "objectives: {energy: {quantization: fp8}}"), {})
    named, found = settings.named_configurations(), settings.configuration_space()
    assert found.is_open_to(named[Objective.ENERGY], Objective.BALANCED)
    assert not found.is_open_to(named[Objective.ENERGY], Objective.THROUGHPUT)
    assert found.is_open_to(found.default(), Objective.THROUGHPUT)
    (fault,) = faults_of(config(space + "objectives:\n  throughput: {quantization: fp8}"))
    assert fault.startswith("4: objectives.throughput.quantization: found fp8, which space.quantization.reserved keeps")
    assert "add it there for throughput" in fault


def test_a_token_budget_below_the_running_cap_is_refused(config):
    """The engine boots with the largest of both and would refuse the pair."""
    text = "space:\n  max_num_seqs: {values: [8, 512]}\n  max_num_batched_tokens: {values: [256]}\n"
    (fault,) = faults_of(config(text))
    assert fault.startswith("3: space.max_num_batched_tokens.values: found 256")


@pytest.mark.parametrize("text", ["", "space:", "space: {}", "engine: {}"])
def test_a_space_is_needed(config, text):
    """Without a space there is nothing to decide, and the fault says what to name."""
    (fault,) = faults_of(config(text))
    assert re.match(r"1: space: is (missing; name the knobs|empty; name at least one)", fault)


def test_all_faults_come_at_once_in_the_order_of_the_file(config):
    """Faults of shape, of values and between keys are told together, one line each, sorted."""
    text = """\
log_level: loud
engine:
  port: 0
  port: 8000
  arguments: {model: x, y: []}
space:
  max_num_seqs: {values: [4, two]}
  block_size: {values: [16, 32]}
objectives:
  energy: {max_num_seqs: 3, block_size: 64}
  greed: {}
control_api: {host: 0.0.0.0, port: x}
slo: {ttft: 1}
"""
    faults = faults_of(config(text), {"RECONFIGURE_STORE__RETENTION_DAYS": "-1", "RECONFIGURE_ENGINE_HOST": "x"})
    assert "did you mean RECONFIGURE_ENGINE__HOST?" in faults.pop(-2)
    assert [" ".join(fault.split(": ")[:2]) for fault in faults] == [
        "1 log_level",
        "3 engine.port",
        "4 engine.port",
        "5 engine.arguments.model",
        "7 space.max_num_seqs.values[1]",
        "10 objectives.energy.max_num_seqs",
        "10 objectives.energy.block_size",
        "11 objectives.greed",
        "12 control_api.port",
        "12 control_api.host",
        "13 slo.ttft",
        "RECONFIGURE_STORE__RETENTION_DAYS store.retention_days",
    ]


def test_what_cannot_be_read_is_told_once(config):
    """An unreadable value is one fault, not a second one for being absent."""
    (fault,) = faults_of(config(SPACE + "engine: {port: !port 8000}"))
    assert fault.startswith("2: engine.port: found !port")


def test_text_that_is_no_yaml_or_no_settings_is_one_fault(config):
    """A file that has no keys to judge is told once, with its line."""
    assert faults_of(config("a: 1\nb: [")) == [
        "2: cannot be read as YAML: while parsing a flow node, expected the node content, but found '<stream end>'"
    ]
    assert faults_of(config("- 1")) == ["1: found no keys; write sections such as `engine:` and `space:`"]


def test_a_missing_or_unreadable_file_says_how_to_get_one(tmp_path):
    """A wrong path, a folder and a file that is no text are told apart."""
    assert "there is no such file" in faults_of(tmp_path / "config.yaml")[0]
    assert "cannot be read (Is a directory)" in faults_of(tmp_path)[0]
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "byte 0 is not UTF-8" in faults_of(tmp_path / "binary")[0]


def test_a_section_with_every_key_commented_out_has_its_defaults(config):
    """`switch:` with nothing below it means the defaults."""
    assert (
        load_settings(config(SPACE + "switch:\n  # mode: auto\n"), {}).switch == Settings.model_fields["switch"].default
    )


def test_the_environment_overrides_any_key(config):
    """A variable takes the place of a key, of a whole block, or adds one; its value is YAML."""
    environ = {
        "RECONFIGURE_ENGINE__PORT": "8001",
        "RECONFIGURE_METERING__NVML": "off",
        "RECONFIGURE_LOG_LEVEL": "DEBUG",
        "RECONFIGURE_SPACE__BLOCK_SIZE__VALUES": "[64, 128]",
        "RECONFIGURE_OBJECTIVES__ENERGY": "{block_size: 128}",
        "RECONFIGURE_SWITCH__MODE": "sequential",
    }
    settings = load_settings(config(SPACE + "engine: {port: 1}\nswitch:\n"), environ)
    assert (settings.engine.port, settings.metering.nvml, settings.log_level) == (8001, "off", "DEBUG")
    assert settings.space["block_size"].values == [64, 128]
    assert settings.objectives == {Objective.ENERGY: {"block_size": 128}}
    assert settings.switch.mode is SwitchMode.SEQUENTIAL


OVERRIDES = [
    ("RECONFIGURE_ENGINE__PORT", "x", "engine.port: found 'x'; allowed: a whole number"),
    ("RECONFIGURE_ENGINE__PROT", "1", "engine.prot: found an unknown key"),
    ("RECONFIGURE_FOO__BAR", "1", "foo: found an unknown key"),
    ("RECONFIGURE_SPACE__BLOCK_SIZE__VALUES", "[16, 16]", "space.block_size.values[1]: found 16 twice"),
    ("RECONFIGURE_SPACE__DTYPE__DEFAULT", "x", "space.dtype.values: is missing"),
    ("RECONFIGURE_OBJECTIVES__ENERGY__BLOCK_SIZE", "1", "objectives.energy.block_size: found 1"),
    ("RECONFIGURE_CONTROL_API__HOST", "0.0.0.0", "control_api.host: found '0.0.0.0'"),
    ("RECONFIGURE_ENGINE__PORT", "[", "engine.port: cannot be read as YAML"),
    ("RECONFIGURE_LOG_LEVEL", "[", "log_level: cannot be read as YAML"),
    ("RECONFIGURE_ENGINE_PORT", "1", "is not a setting; between a section and its key stand two underscores"),
    ("RECONFIGURE_LOG_LEVL", "DEBUG", "is not a setting"),
]


@pytest.mark.parametrize(("name", "value", "fault"), OVERRIDES)
def test_a_faulty_variable_is_named_instead_of_a_line(config, name, value, fault):
    """What the environment gets wrong is told with the variable's name."""
    (found,) = faults_of(config(SPACE), {name: value})
    assert found.startswith(f"{name}: {fault}")


def test_variables_of_the_command_line_and_of_others_are_left_alone(config):
    """Variables that only share the prefix are no settings and no faults."""
    others = {"RECONFIGURE_URL": "x", "RECONFIGURE_TOKEN_FILE": "y", "RECONFIGURE_CORE_JOURNAL": "z", "HOME": "/"}
    assert load_settings(config(SPACE), others) == load_settings(config(SPACE), {})


def test_relative_paths_are_relative_to_the_file(config, tmp_path):
    """The current directory does not matter; systemd's directories come first."""
    (tmp_path / "model").mkdir()
    path = config(SPACE + "engine: {model: ./model}\npaths: {state: /abs, runtime: run}")
    settings = load_settings(path, {})
    assert settings.engine.model == str(tmp_path / "model")
    assert (settings.paths.state, settings.paths.runtime) == (Path("/abs"), tmp_path / "run")
    systemd = load_settings(path, {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "RUNTIME_DIRECTORY": "/run/a"})
    assert (systemd.paths.state, systemd.paths.runtime) == (Path("/var/lib/a"), Path("/run/a"))


@pytest.mark.parametrize(
    ("token", "mode", "fault"),
    [("x" * 16, 0o644, "has mode 644"), ("short\n", 0o600, "has 5 bytes"), ("é" * 16, 0o600, "not plain ASCII")],
)
def test_a_token_that_protects_nothing_is_refused(config, tmp_path, token, mode, fault):
    """A token file that others can read, or that holds too little, is a fault at its line."""
    (tmp_path / "token").write_text(token, encoding="utf-8")
    (tmp_path / "token").chmod(mode)
    (found,) = faults_of(config(SPACE + "control_api: {host: 0.0.0.0, token_file: token}"))
    assert found.startswith("2: control_api.token_file: the token")
    assert fault in found


def test_a_credential_of_systemd_is_a_good_token(config, tmp_path):
    """Its mode shows the mask of an access list in the group's place; the same mode elsewhere is refused."""
    (tmp_path / "token").write_text("0123456789abcdef\n")
    (tmp_path / "token").chmod(0o440)
    path = config(SPACE + "control_api: {host: 0.0.0.0, token_file: token}")
    assert load_settings(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).control_api.host == "0.0.0.0"
    (found,) = faults_of(path)
    assert "has mode 440, so others can use it" in found


def test_a_good_token_opens_the_control_api_to_others(config, tmp_path):
    """With a private token file any address may be served."""
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text("0123456789abcdef\n")
    settings = load_settings(config(SPACE + "control_api: {host: 0.0.0.0, token_file: token}"), {})
    assert settings.control_api.token_file == tmp_path / "token"


def test_settings_built_in_code_keep_the_same_promises():
    """A contradiction is refused wherever settings are made, with the place of each."""
    with pytest.raises(ValidationError) as refused:
        Settings(space={"block_size": {"values": [16]}}, objectives={"energy": {"block_size": 1}})
    assert [error["loc"] for error in refused.value.errors()] == [("objectives", "energy", "block_size")]


hot_values = {
    "max_num_seqs": st.integers(1, 64),
    "max_num_batched_tokens": st.integers(64, 10**6),
    "long_prefill_token_threshold": st.integers(0, 10**6),
    "pacing_interval_s": st.floats(0, 1),
    "prefix_cache_reading": st.booleans(),
    "speculation_batch_limit": st.integers(0, 10**6),
}
texts = st.text(st.characters(codec="utf-8"), min_size=1).filter(
    lambda text: parse_value(text) == text and not text.startswith(("/", "./", "../"))
)
seconds = st.floats(min_value=1e-6, max_value=1e6)


def in_order(values: list) -> list:
    """Numbers go from least to most, as they have to; texts and true/false stay as they are."""
    return values if isinstance(values[0], str | bool) else sorted(values)


@st.composite
def valid_settings(draw) -> Settings:
    values = {name: st.lists(hot_values[name], min_size=1, unique=True) for name in HOT_KNOBS}
    cold = st.one_of(st.lists(st.integers(), min_size=1, unique=True), st.lists(texts, min_size=1, unique=True))
    names = draw(st.sets(st.sampled_from([*HOT_KNOBS, "block_size", "dtype", "x1"]), min_size=1))
    lists = {name: in_order(draw(values.get(name, cold))) for name in sorted(names)}
    space = {n: {"values": v, "default": draw(st.sampled_from([None, *v]))} for n, v in lists.items()}
    chosen = st.fixed_dictionaries({}, optional={n: st.sampled_from(v) for n, v in lists.items()})
    return Settings.model_validate(
        {
            "space": space,
            "objectives": draw(st.dictionaries(st.sampled_from(list(Objective)), chosen)),
            "engine": {"model": draw(texts), "arguments": draw(st.dictionaries(st.just("max-model-len"), texts))},
            "slo": {"ttft_s": draw(st.none() | seconds)},
            "switch": {"mode": draw(st.sampled_from(list(SwitchMode))), "deadline_s": draw(seconds)},
            "metering": {"nvml": draw(st.sampled_from(["auto", "off"]))},
            "log_level": draw(st.sampled_from(["DEBUG", "INFO"])),
        }
    )


@given(valid_settings(), st.booleans())
def test_settings_written_as_yaml_read_back_equal(settings, flow):
    """Nothing is lost or changed between the model and the file, in any style of YAML."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        text = yaml.safe_dump(settings.model_dump(mode="json"), default_flow_style=flow)
        path.write_text(text, encoding="utf-8")
        assert load_settings(path, {}) == with_absolute_paths(settings, path.parent.resolve(), {})


@given(st.text() | st.text(st.sampled_from("space:\n -[]{}engine,01'\"&*!|>?%#x")))
def test_garbage_is_refused_and_never_a_crash(text):
    """Whatever a file or a variable holds, the answer is settings or a list of faults."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(text, encoding="utf-8", errors="replace")
        with pytest.raises(SettingsInvalid):
            load_settings(path, {"RECONFIGURE_ENGINE__PORT": text})


def keys_and_defaults(model, prefix=()):
    for name, field in model.model_fields.items():
        inner = hasattr(field.annotation, "model_fields")
        yield from keys_and_defaults(field.annotation, (*prefix, name)) if inner else [((*prefix, name), field.default)]


def test_the_project_s_own_file_names_every_key_and_its_default():
    """`config.yaml` is valid, shows every key, and shows it with its default wherever it is not an example."""
    path = PROJECT / "config.yaml"
    settings, data = load_settings(path, {}), read_yaml(path.read_text("utf-8")).data
    examples = {("engine", "arguments"), ("space",), ("objectives",)}
    for keys, default in keys_and_defaults(Settings):
        shown, value = data, settings
        for key in keys:
            assert key in shown, f"config.yaml does not show {'.'.join(keys)}"
            shown, value = shown[key], getattr(value, key)
        assert keys in examples or value in (default, PROJECT / str(default)), ".".join(keys)
