"""What could have been: the best single configuration, and the best schedule of all, for whoever knows the day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.virtual_world.traffic import WindowTraffic
from reconfigure_daemon.virtual_world.window_model import WindowModel
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, KnobValue

#: Windows between two points where the schedule may change.
EPOCH_WINDOWS = 10

_Cold = tuple[KnobValue, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """Joules and requests of a stretch, or of a day."""

    energy_j: float = 0.0
    requests: float = 0.0
    slo_met: float = 0.0

    def __add__(self, other: Account) -> Account:
        return Account(self.energy_j + other.energy_j, self.requests + other.requests, self.slo_met + other.slo_met)

    @property
    def attainment(self) -> float:
        """Share inside the SLO; 1 without requests."""
        return self.slo_met / self.requests if self.requests else 1.0


@dataclass(frozen=True, slots=True)
class Hindsight:
    """What a day would have cost.

    Attributes:
        single: the cheapest configuration that holds the SLO over the whole day; the one that holds it best where none
            does.
        single_account: of that one.
        clairvoyant: of the cheapest schedule that holds the SLO in each stretch that can hold it, hot changes free,
            switches paid.
        switches: cold ones of that schedule.
    """

    single: Configuration
    single_account: Account
    clairvoyant: Account
    switches: int


def look_back(
    windows: Sequence[WindowTraffic],
    space: ConfigurationSpace,
    model: WindowModel,
    epoch_windows: int = EPOCH_WINDOWS,
    emulation: Emulation | None = None,
    objective: str | None = None,
) -> Hindsight:
    """Work out both by trying every candidate on every window.

    Args:
        windows: the day.
        space: whose candidates are tried.
        model: the engine.
        epoch_windows: how often the schedule may change.
        emulation: how long a boot takes.
        objective: leaves out what is reserved for others; None tries all.
    """
    candidates = (each for each in space.enumerate() if objective is None or space.is_open_to(each, objective))
    epochs = {each: _epochs(windows, each, model, epoch_windows) for each in candidates}
    totals = {each: sum(accounts, Account()) for each, accounts in epochs.items()}
    least = model.slo.attainment
    single = min(totals, key=lambda each: _rank(totals[each], least))
    boot_s = (emulation or Emulation()).boot_s
    clairvoyant, switches = _schedule(epochs, space, model, boot_s)
    return Hindsight(single, totals[single], clairvoyant, switches)


def _epochs(
    windows: Sequence[WindowTraffic], configuration: Configuration, model: WindowModel, count: int
) -> list[Account]:
    accounts, backlog = [], 0.0
    for start in range(0, len(windows), count):
        total = Account()
        for traffic in windows[start : start + count]:
            served = model.serve(traffic, configuration, backlog)
            backlog = served.backlog
            total += Account(served.energy_j, traffic.arrivals, served.slo_met)
        accounts.append(total)
    return accounts


def _rank(account: Account, least: float) -> tuple[float, float]:
    """Those that hold the SLO first, the cheapest of them first; then by how nearly they hold it."""
    return (0.0, account.energy_j) if account.attainment >= least else (1 - account.attainment, account.energy_j)


def _schedule(
    epochs: Mapping[Configuration, Sequence[Account]], space: ConfigurationSpace, model: WindowModel, boot_s: float
) -> tuple[Account, int]:
    """The cheapest way through the epochs (Viterbi): per cold part the best hot one, a switch's joules between two."""
    by_cold: dict[_Cold, list[Configuration]] = {}
    for configuration in epochs:
        by_cold.setdefault(space.cold_part(configuration), []).append(configuration)
    boots_j = {cold: model.boot_energy_j(each[0], boot_s) for cold, each in by_cold.items()}
    ways: dict[_Cold, tuple[float, Account, int]] = dict.fromkeys(by_cold, (0.0, Account(), 0))
    for index in range(len(next(iter(epochs.values())))):
        here = {cold: _best(each, epochs, index, model.slo.attainment) for cold, each in by_cold.items()}
        ways = {cold: _extended(cold, ways, boots_j[cold], here[cold], index == 0) for cold in by_cold}
    _, account, switches = min(ways.values(), key=lambda way: way[0])
    return account, switches


def _best(
    configurations: Sequence[Configuration],
    epochs: Mapping[Configuration, Sequence[Account]],
    index: int,
    least: float,
) -> tuple[float, Account]:
    """`(cost, account)` of the best hot setting in one epoch; missing the SLO costs more than any joules."""
    account = min((epochs[each][index] for each in configurations), key=lambda each: _rank(each, least))
    penalty = _rank(account, least)[0]
    return account.energy_j + 1e9 * penalty, account


def _extended(
    cold: _Cold,
    ways: Mapping[_Cold, tuple[float, Account, int]],
    boot_j: float,
    here: tuple[float, Account],
    is_first: bool,
) -> tuple[float, Account, int]:
    cost, account = here
    best: tuple[float, Account, int] = (inf, Account(), 0)
    for before, (spent, so_far, switches) in ways.items():
        moved = before != cold and not is_first
        paid_j = boot_j if moved else 0.0
        if spent + paid_j + cost < best[0]:
            best = (spent + paid_j + cost, so_far + account + Account(energy_j=paid_j), switches + moved)
    return best
