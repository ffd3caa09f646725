"""What `make install` puts where, and the record from which `make uninstall` takes it away again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

#: The prefix that the files in deploy/systemd are written for.
WRITTEN_FOR = "/usr/local"

#: Prefixes whose lib folder systemd searches by itself; from any other one, units have to lie in /etc.
SEARCHED = ("/usr", "/usr/local")

UNITS = (
    "reconfigure.service",
    "reconfigure-engine.service",
    "reconfigure-device-helper.service",
    "reconfigure-objective@.service",
    "reconfigure-night.timer",
    "reconfigure-morning.timer",
)


@dataclass(frozen=True)
class Layout:
    """Where things go.

    Attributes:
        prefix: as the installed machine sees it, e.g. /usr/local.
        destdir: the root of a staged installation; `/` for this machine.
    """

    prefix: Path
    destdir: Path

    @property
    def environment(self) -> Path:
        """The virtual environment, as the installed machine sees it."""
        return self.prefix / "lib/reconfigure"

    @property
    def record(self) -> Path:
        """The list of what was installed."""
        return self.here(self.environment / "installed.json")

    @property
    def settings(self) -> Path:
        """The operator's config.yaml; it is written once and never overwritten."""
        return self.here(Path("/etc/reconfigure/config.yaml"))

    def here(self, path: Path) -> Path:
        """A path of the installed machine as it is reached now."""
        return self.destdir / path.relative_to("/")

    def texts(self) -> Iterator[tuple[Path, Path]]:
        """`(source, target)` of every file that names the prefix."""
        systemd, lib = PROJECT / "deploy/systemd", self.prefix / "lib"
        etc = Path("/etc")
        units = (lib if str(self.prefix) in SEARCHED else etc) / "systemd/system"
        base = lib if str(self.prefix) in SEARCHED else etc
        for name in UNITS:
            yield systemd / name, units / name
        yield systemd / "reconfigure.sysusers", base / "sysusers.d/reconfigure.conf"
        yield systemd / "reconfigure.tmpfiles", base / "tmpfiles.d/reconfigure.conf"
        yield systemd / "control-api-token.conf", self.prefix / "share/doc/reconfigure/control-api-token.conf"

    def documents(self) -> Iterator[tuple[Path, Path]]:
        """`(source, target)` of the documentation and of the shipped settings to compare with."""
        doc = self.prefix / "share/doc/reconfigure"
        for name in ("README.md", "CHANGELOG.md", "LICENSE", "config.yaml"):
            yield PROJECT / name, doc / name
        for page in sorted((PROJECT / "docs").rglob("*.md")):
            yield page, doc / page.relative_to(PROJECT / "docs")


@dataclass
class Installed:
    """Everything that an installation has made; folders only if they were not there before.

    Attributes:
        files: files and links, as the installed machine sees them.
        folders: likewise; `trees` are removed with all that is in them.
        trees: folders that belong to the installation alone.
    """

    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    trees: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, record: Path) -> Installed | None:
        """The record of an earlier installation; None if there is none."""
        if not record.exists():
            return None
        content = json.loads(record.read_text())
        return cls(set(content["files"]), set(content["folders"]), set(content["trees"]))

    def write(self, record: Path) -> None:
        """Keep it for the next installation and for the end."""
        record.parent.mkdir(parents=True, exist_ok=True)
        content = {"files": sorted(self.files), "folders": sorted(self.folders), "trees": sorted(self.trees)}
        record.write_text(json.dumps(content, indent=1) + "\n")


class Installer:
    """Puts files in place and remembers what it made."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.installed = Installed.read(layout.record) or Installed()

    def folder(self, path: Path) -> Path:
        """Make a folder of the installed machine, with those above it; returns where it is now."""
        for each in reversed([path, *path.parents]):
            here = self._layout.here(each)
            if not here.is_dir():
                here.mkdir(mode=0o755)
                here.chmod(0o755)  # whatever the umask is
                self.installed.folders.add(str(each))
        return self._layout.here(path)

    def tree(self, path: Path) -> Path:
        """Make a folder that belongs to the installation alone."""
        self.installed.trees.add(str(path))
        return self.folder(path)

    def text(self, source: Path, target: Path) -> None:
        """Put a file in place, with the prefix in it."""
        words = source.read_text().replace(WRITTEN_FOR, str(self._layout.prefix))
        self._put(target).write_text(words)
        self._layout.here(target).chmod(0o644)

    def link(self, target: Path, to: Path) -> None:
        """Put a relative link in place."""
        here = self._put(target)
        here.unlink(missing_ok=True)
        here.symlink_to(os.path.relpath(to, target.parent))

    def _put(self, target: Path) -> Path:
        here = self.folder(target.parent) / target.name
        self.installed.files.add(str(target))
        return here


def remove(layout: Layout, installed: Installed) -> None:
    """Take away what an installation has made; a folder in which somebody else keeps something stays."""
    for name in installed.files:
        layout.here(Path(name)).unlink(missing_ok=True)
    for name in installed.trees:
        shutil.rmtree(layout.here(Path(name)), ignore_errors=True)
    for name in sorted(installed.folders, key=len, reverse=True):
        here = layout.here(Path(name))
        if here.is_dir() and not any(here.iterdir()):
            here.rmdir()
