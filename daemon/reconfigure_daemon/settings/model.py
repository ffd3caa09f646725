"""The shape of `config.yaml`: every key with its meaning, unit and default. Unknown keys are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from reconfigure_daemon.durations import parse_duration_s
from reconfigure_daemon.ports import SwitchMode
from reconfigure_daemon.schedules import Calendar, Recurrence, Schedule, time_zone
from reconfigure_daemon.settings.contradictions import contradictions
from reconfigure_daemon.settings.knobs import DEVICE_KNOBS, HOT_KNOBS
from reconfigure_daemon.settings.limits import constraints_of
from reconfigure_policies.decision.terms import DecisionTerms
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, KnobValue, Tier
from reconfigure_policies.domain.objective import Objective, ServiceLevelObjective

__all__ = ["HOT_KNOBS", "Settings"]


def _one_value(value: Any) -> Any:
    """One complaint instead of one per member of the union."""
    if isinstance(value, bool | int | float | str):
        return value
    raise PydanticCustomError("one_value", "a number, a text or true/false")


def _argument(value: Any) -> Any:
    """A value of `vllm serve`'s command line; a list repeats the words after the option."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return value
    raise PydanticCustomError("argument", "a number, a text, true/false or a list of texts")


def _readable(read: Callable[[str], object]) -> AfterValidator:
    """Keeps a text as it was written, if it can be read; what is wrong with it is the reader's to say."""

    def check(text: str) -> str:
        try:
            read(text)
        except ValueError as fault:
            raise PydanticCustomError("contradiction", "{text}", {"text": str(fault)}) from fault
        return text

    return AfterValidator(check)


Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=1, le=65535)]
Host = Annotated[str, Field(min_length=1)]
Value = Annotated[KnobValue, BeforeValidator(_one_value)]
KnobName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Argument = Annotated[KnobValue | list[str], BeforeValidator(_argument)]
ArgumentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


class Section(BaseModel):
    """A block of `config.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class EngineSettings(Section):
    """vLLM, the model it serves and where clients reach it. Cold: changing these needs a new engine host."""

    kind: Literal["vllm", "emulated"] = "vllm"
    model: Annotated[str, Field(min_length=1)] = "auto"  # "auto" is the small real model from packages
    host: Host = "127.0.0.1"
    port: Port = 8000
    arguments: dict[ArgumentName, Argument] = {}  # passed to `vllm serve` as --key value
    profiler: bool = False  # lets `reconfigure profile` record the running core
    start_timeout_s: Seconds = 600
    drain_timeout_s: Seconds = 120


class KnobSettings(Section):
    """The values of one knob, in order; which one to start with (the first if none is named); which are not for all."""

    values: Annotated[list[Value], Field(min_length=1)]
    default: Value | None = None
    reserved: dict[Objective, Annotated[list[Value], Field(min_length=1)]] = {}  # no other objective may choose these

    def owners(self) -> tuple[tuple[KnobValue, frozenset[str]], ...]:
        """The reserved values, each with the objectives that may choose it."""
        by_value = {value: frozenset(o for o, own in self.reserved.items() if value in own) for value in self.values}
        return tuple((value, objectives) for value, objectives in by_value.items() if objectives)


class ConstraintSettings(Section):
    """What rules out configurations of the space before any boot; leave one out for no limit."""

    gpus: Annotated[int, Field(ge=1)] | None = None
    attention_heads: Annotated[int, Field(ge=1)] | None = None
    weights_gib: Annotated[float, Field(gt=0)] | None = None
    gpu_memory_gib: Annotated[float, Field(gt=0)] | None = None
    exclude: list[Annotated[dict[KnobName, Value], Field(min_length=1)]] = []


class SwitchSettings(Section):
    """How a cold switch is carried out."""

    mode: SwitchMode = SwitchMode.AUTO
    deadline_s: Seconds = 300
    inexact: Literal["drain", "replay"] = "replay"
    core_restarts: Annotated[int, Field(ge=0)] = 3  # EngineCores replaced within `core_restart_window_s`
    core_restart_window_s: Seconds = 600


class SloSettings(Section):
    """Latencies that a request must meet to count as good; leave one out for no limit."""

    ttft_s: Seconds | None = None
    tpot_s: Seconds | None = None
    e2e_latency_s: Seconds | None = None
    attainment: Annotated[float, Field(gt=0, le=1)] = 0.99

    def to_domain(self) -> ServiceLevelObjective:
        """The policies' own form."""
        return ServiceLevelObjective(**self.model_dump())


class GovernorSettings(Section):
    """Moves hot knobs by itself so that they cost the least energy inside the SLO."""

    enabled: bool = False
    objective: Objective = Objective.ENERGY  # it governs while this one is in force
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.05  # share of every latency's limit that it keeps free
    clocks: bool = False  # whether it moves gpu_clock_mhz, too


class DecisionSettings(Section):
    """When the daemon re-decides by itself, and what a change must promise; see `reconfigure_policies.decision`."""

    enabled: bool = True
    balanced_energy_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    caution: Annotated[float, Field(ge=0, le=1)] = 0.25
    min_saving: Annotated[float, Field(ge=0, lt=1)] = 0.03
    min_feasibility: Annotated[float, Field(ge=0, le=1)] = 0.9
    min_dwell_s: Annotated[float, Field(ge=0)] = 600
    max_switches_per_hour: Annotated[int, Field(ge=0)] = 6
    expected_stay_s: Seconds = 3600
    assumed_switch_s: Seconds = 60
    canary_s: Seconds = 180
    distrust_s: Annotated[float, Field(ge=0)] = 21600
    exploration_share: Annotated[float, Field(ge=0, lt=1)] = 0  # of the energy; 0 never explores by itself
    exploration_headroom: Annotated[float, Field(ge=0, lt=1)] = 0.3  # of every latency's limit

    def to_domain(self) -> DecisionTerms:
        """The policies' own form."""
        return DecisionTerms(**self.model_dump(exclude={"enabled"}))


class LearningSettings(Section):
    """How surrogates are kept up to date."""

    min_trials: Annotated[int, Field(ge=3)] = 12  # fewer say nothing about a space of several knobs
    max_trials: Annotated[int, Field(ge=3, le=2000)] = 400  # a fit takes time with the third power of it
    refit_interval_s: Seconds = 600


class ScheduleSettings(Section):
    """An objective that comes by the calendar."""

    cron: Annotated[str, _readable(Recurrence)]
    timezone: Annotated[str, _readable(time_zone)] = "UTC"
    objective: Objective
    lasts: Annotated[str, _readable(parse_duration_s)] | None = None  # e.g. 8h; None until another schedule begins

    def to_schedule(self, name: str) -> Schedule:
        """The calendar's own form."""
        lasts_s = None if self.lasts is None else parse_duration_s(self.lasts)
        return Schedule(name, self.objective, Recurrence(self.cron, self.timezone), lasts_s)


class ControlApiSettings(Section):
    """The control plane's HTTP. Beyond loopback a token file (mode 600) is required."""

    host: Host = "127.0.0.1"
    port: Port = 9400
    token_file: Path | None = None


class MeteringSettings(Section):
    """Where joules come from. `estimate_*` is used, and labelled so, where no counter exists."""

    interval_s: Seconds = 1
    nvml: Literal["auto", "off"] = "auto"
    rapl: Literal["auto", "off"] = "auto"
    estimate_idle_w: Annotated[float, Field(ge=0)] = 40
    estimate_busy_w: Annotated[float, Field(ge=0)] = 120


class DeviceSettings(Section):
    """Clocks and power limits of the GPUs, set through the privileged device helper. Cold."""

    enabled: bool = False
    socket: Path = Path("/run/reconfigure-device-helper/socket")
    lease_s: Annotated[float, Field(ge=5, le=600)] = 30  # how long the cards stay set without the daemon


class MonitoringSettings(Section):
    """How traffic is cut into windows."""

    window_s: Seconds = 30
    settle_s: Annotated[float, Field(ge=0)] = 10  # after a change, before a window counts as an observation
    observation_min_requests: Annotated[int, Field(ge=1)] = 20


class StoreSettings(Section):
    """SQLite: what is kept and for how long."""

    retention_days: Annotated[float, Field(gt=0)] = 90


class PathSettings(Section):
    """Where state, sockets and logs live. systemd's STATE_DIRECTORY and RUNTIME_DIRECTORY take precedence."""

    state: Path = Path("var/state")
    runtime: Path = Path("var/run")


class Settings(Section):
    """The whole of `config.yaml`."""

    engine: EngineSettings = EngineSettings()
    space: Annotated[dict[KnobName, KnobSettings], Field(min_length=1)]
    constraints: ConstraintSettings = ConstraintSettings()
    objectives: dict[Objective, dict[str, Value]] = {}  # the named configuration of each objective
    start_objective: Objective = Objective.THROUGHPUT
    schedules: dict[KnobName, ScheduleSettings] = {}
    slo: SloSettings = SloSettings()
    governor: GovernorSettings = GovernorSettings()
    decision: DecisionSettings = DecisionSettings()
    learning: LearningSettings = LearningSettings()
    switch: SwitchSettings = SwitchSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    metering: MeteringSettings = MeteringSettings()
    device: DeviceSettings = DeviceSettings()
    store: StoreSettings = StoreSettings()
    control_api: ControlApiSettings = ControlApiSettings()
    paths: PathSettings = PathSettings()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @model_validator(mode="after")
    def _keys_agree(self) -> Settings:
        found = contradictions(self)
        if found:
            raise ValidationError.from_exception_data(
                "Settings",
                [
                    InitErrorDetails(
                        type=PydanticCustomError("contradiction", "{text}", {"text": text}), loc=path, input=None
                    )
                    for path, text in found
                ],
            )
        return self

    def configuration_space(self) -> ConfigurationSpace:
        """The declared space, hot and cold per knob."""
        hot = {**HOT_KNOBS, **DEVICE_KNOBS}
        knobs = []
        for name, given in self.space.items():
            unit, description = hot.get(name, ("", f"vLLM's --{name.replace('_', '-')}"))
            default = given.values[0] if given.default is None else given.default
            tier = Tier.HOT if name in hot else Tier.COLD
            knobs.append(Knob(name, tier, tuple(given.values), default, unit, description, given.owners()))
        return ConfigurationSpace(tuple(knobs), constraints_of(self))

    def engine_space(self) -> ConfigurationSpace:
        """The part of the space that an engine host moves in: all but the GPUs' own knobs."""
        return self.configuration_space().without(DEVICE_KNOBS)

    def calendar(self) -> Calendar:
        """The schedules over each other."""
        return Calendar([schedule.to_schedule(name) for name, schedule in self.schedules.items()])

    def named_configurations(self) -> dict[Objective, Configuration]:
        """The full configuration of each objective: the space's defaults with the objective's own values."""
        base = self.configuration_space().default()
        return {objective: base.with_changes(changes) for objective, changes in self.objectives.items()}
