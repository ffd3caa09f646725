"""A small space with a known law, for tests of surrogates."""

import math
from itertools import product

import numpy as np

from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.surrogate import Measured, Quantity, Trial

CONTEXT = WorkloadContext(arrival_rate_rps=4.0, prompt_tokens=200.0, output_tokens=100.0)

SPACE = ConfigurationSpace(
    (
        Knob("max_num_seqs", Tier.HOT, (8, 16, 32, 64, 128), 64),
        Knob("pacing_interval_s", Tier.HOT, (0, 0.01, 0.02, 0.04), 0),
        Knob("block_size", Tier.COLD, (16, 32), 16),
        Knob("enforce_eager", Tier.COLD, (False, True), False),
        Knob("kv_cache_dtype", Tier.COLD, ("auto", "fp8"), "auto"),
    )
)


def enumeration(space: ConfigurationSpace = SPACE) -> list[Configuration]:
    """Every configuration of a space."""
    names = [knob.name for knob in space.knobs]
    return [
        Configuration(zip(names, values, strict=True)) for values in product(*(knob.values for knob in space.knobs))
    ]


def throughput_tps(configuration: Configuration) -> float:
    """More requests share a step with falling gain, pacing and eager mode cost time."""
    batch = float(configuration["max_num_seqs"])
    step_s = 0.01 + 0.0002 * batch + 0.5 * float(configuration["pacing_interval_s"])
    return batch / (step_s * (1.15 if configuration["enforce_eager"] else 1.0))


def energy_j(configuration: Configuration) -> float:
    """Idle power over the tokens, less of it the slower the pace."""
    return 0.05 + (80.0 - 600.0 * float(configuration["pacing_interval_s"])) / throughput_tps(configuration)


def trials_of(configurations: list[Configuration], relative_sd: float = 0.01, seed: int = 0) -> list[Trial]:
    """Measured with log-normal noise."""
    generator = np.random.default_rng(seed)
    return [
        Trial(
            configuration,
            CONTEXT,
            float(at),
            {
                Quantity.THROUGHPUT: Measured(throughput_tps(configuration) * noise(generator, relative_sd)),
                Quantity.ENERGY: Measured(energy_j(configuration) * noise(generator, relative_sd)),
            },
        )
        for at, configuration in enumerate(configurations)
    ]


def noise(generator: np.random.Generator, relative_sd: float) -> float:
    """A factor around 1."""
    return math.exp(relative_sd * generator.standard_normal())


def some(count: int, seed: int = 0) -> list[Configuration]:
    """Different configurations, drawn at random."""
    everything = enumeration()
    return [everything[index] for index in np.random.default_rng(seed).permutation(len(everything))[:count]]
