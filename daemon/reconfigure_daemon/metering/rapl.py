"""The processor's own energy counters (RAPL): packages and DRAM, through Linux's powercap files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from reconfigure_daemon.metering.ledger import CounterDifference, DeviceLedger
from reconfigure_policies.domain.energy import DeviceEnergy, EnergySource

POWERCAP = Path("/sys/class/powercap")
MICROJOULES = 1e-6


class RaplUnavailable(Exception):
    """No RAPL domain can be read; the message is a notice for the operator."""


class RaplDomain:
    """One domain's counter, wrap-around included.

    Args:
        device: its label, e.g. `package-0`.
        folder: its powercap folder.

    Raises:
        OSError, ValueError: if its files cannot be read.
    """

    def __init__(self, device: str, folder: Path) -> None:
        self._counter = folder / "energy_uj"
        self._difference = CounterDifference(_read_microjoules(folder / "max_energy_range_uj"))
        self._ledger = DeviceLedger(device)
        _read_microjoules(self._counter)

    def read(self, at_s: float) -> DeviceEnergy:
        """Joules so far; unknown while the counter cannot be read."""
        try:
            step_j = self._difference.step(at_s, _read_microjoules(self._counter))
        except (OSError, ValueError):
            step_j = None
        return self._ledger.book(at_s, step_j, EnergySource.MEASURED)


class Rapl:
    """Every package and DRAM domain that can be read.

    Only these two are summed: `core` and `uncore` are parts of a package, `psys` contains it, and `intel-rapl-mmio`
    shows the same packages again. A counter that wraps twice between two readings would lose one range; at 1 kW the
    smallest range (65 kJ) lasts a minute.

    Raises:
        RaplUnavailable: if there is none, with what was found and what to do.
    """

    def __init__(self, powercap: Path = POWERCAP) -> None:
        found = _package_and_dram_folders(powercap)
        if not found:
            raise RaplUnavailable(f"{powercap} has no RAPL domain, so the processor's energy is not metered.")
        self.notices: list[str] = []
        self._domains = [domain for device, folder in found.items() if (domain := self._open(device, folder))]
        if not self._domains:
            raise RaplUnavailable(" ".join(self.notices))

    def _open(self, device: str, folder: Path) -> RaplDomain | None:
        try:
            return RaplDomain(device, folder)
        except PermissionError:
            self.notices.append(
                f"{folder / 'energy_uj'} may not be read, so {device} is not metered; let the daemon's user read it "
                f"(chmod or a udev rule), or set metering.rapl to off."
            )
        except (OSError, ValueError) as error:
            self.notices.append(f"RAPL domain {device} cannot be read and is not metered: {error}.")
        return None

    def read(self, at_s: float) -> tuple[DeviceEnergy, ...]:
        """One entry per domain, in the order of their labels."""
        return tuple(domain.read(at_s) for domain in self._domains)

    def close(self) -> None:
        """Nothing is held: every reading opens its file anew, so that a driver may be reloaded at any time."""


def _read_microjoules(path: Path) -> float:
    return int(path.read_text()) * MICROJOULES


def _package_and_dram_folders(powercap: Path) -> dict[str, Path]:
    """Folders by label: `package-0`, and `dram-0` for the DRAM below it."""
    folders: dict[str, Path] = {}
    for folder in sorted(powercap.glob("intel-rapl:*")):
        with suppress(OSError):
            name = (folder / "name").read_text().strip()
            if name.startswith("package"):
                folders[name] = folder
            elif name == "dram":
                package = (powercap / folder.name.rpartition(":")[0] / "name").read_text().strip()
                folders[package.replace("package", "dram")] = folder
    return dict(sorted(folders.items()))
