"""Why there is no surrogate; each says what was found, what is needed and what to do."""

from __future__ import annotations


class SurrogateUnavailable(ValueError):
    """The base of every reason for which nothing can be forecast; the caller keeps its configuration."""


class TooFewTrials(SurrogateUnavailable):
    """There is nothing to learn from.

    Attributes:
        trials: how many there are, infeasible ones included.
        measured: how many of them measured anything.
    """

    def __init__(self, trials: int, measured: int) -> None:
        self.trials, self.measured = trials, measured
        super().__init__(
            f"{trials} trials were found, {measured} of them with a measurement; a surrogate needs at least one. "
            "Let the engine serve for a while, or measure configurations on purpose (`reconfigure tune`)"
        )


class TrialInvalid(SurrogateUnavailable):
    """A trial cannot be learned from.

    Attributes:
        faults: one sentence for each: which trial, what was found, what is allowed.
    """

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


class SurrogateCannotBeFitted(SurrogateUnavailable):
    """The numbers defeat the fit.

    Attributes:
        quantity: what could not be modelled.
        trials: how many measured it.
        detail: the library's own words.
    """

    def __init__(self, quantity: str, trials: int, detail: str) -> None:
        self.quantity, self.trials, self.detail = quantity, trials, detail
        super().__init__(
            f"no surrogate of {quantity} could be fitted to {trials} trials ({detail}); the named configurations of "
            "`objectives:` stand. Look for contradicting trials (`reconfigure surrogate`)"
        )


class SurrogatesNotInstalled(SurrogateUnavailable):
    """The libraries that surrogates are made of are missing."""

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"surrogates need {missing}, which is not installed; install them with `pip install "
            "'vllm-reconfigure[surrogates]'` in the daemon's environment"
        )


class ObjectiveNotMeasured(SurrogateUnavailable):
    """What is to be optimised was measured by no trial.

    Attributes:
        objective: what is missing.
        measured: what was measured.
    """

    def __init__(self, objective: str, measured: list[str]) -> None:
        self.objective, self.measured = objective, measured
        super().__init__(
            f"no trial measured {objective}; measured were: {', '.join(measured)}. Energy needs a meter (`metering:`), "
            "throughput a saturated engine (`reconfigure tune`)"
        )
