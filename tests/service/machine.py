"""A throwaway machine with systemd as its process 1, made of namespaces over this machine's own files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
NAMESPACES = ("--mount", "--pid", "--cgroup", "--ipc", "--uts", "--propagation=private")


def missing() -> str | None:
    """Why there can be no such machine here, or None."""
    if os.geteuid() != 0:
        return "only root can make namespaces with a systemd of their own"
    tools = [tool for tool in ("unshare", "nsenter", "pivot_root", "systemctl") if shutil.which(tool) is None]
    if tools or not Path("/lib/systemd/systemd").exists():
        return f"{', '.join(tools) or 'systemd'} not found: apt-get install systemd util-linux"
    if not Path("/usr/bin/python3").exists():
        return "a service needs a Python that every user can read: apt-get install python3 python3-venv"
    return None


class MachineDidNotBoot(Exception):
    """What systemd, or the script before it, said."""


class Machine:
    """Booted by its constructor; `end` removes it."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "console.log"
        root = folder / "machine"
        root.mkdir()
        script = Path(__file__).with_name("boot_machine.sh")
        with self._log.open("wb") as log:
            self._outer = subprocess.Popen(
                ["unshare", "--fork", "--kill-child", *NAMESPACES, "bash", str(script), str(root), str(PROJECT)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.until(lambda: self.succeeds("systemctl", "is-active", "basic.target"), "systemd to boot")
        except BaseException:
            self.end()
            raise

    def console(self) -> str:
        """What it has said since it was started."""
        return self._log.read_text(errors="replace")

    def _init(self) -> int:
        """The process id of its systemd as this machine sees it."""
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        if not children:
            raise MachineDidNotBoot(self.console())
        return int(children[0])

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command inside as root; returns what it wrote to standard output."""
        inside = ["nsenter", "--target", str(self._init()), "--all", "env", "-i", "LANG=C.UTF-8"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        pip = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("PIP_")]
        done = subprocess.run([*inside, path, *pip, *command], capture_output=True, text=True, cwd="/", check=False)
        if check and done.returncode != 0:
            journal = self.run("journalctl", "-n", "40", "--no-pager", "-o", "cat", check=False)
            raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}\n{journal}")
        return done.stdout

    def succeeds(self, *command: str) -> bool:
        """Whether a command ends with 0."""
        try:
            self.run(*command)
        except (AssertionError, FileNotFoundError, MachineDidNotBoot):
            return False
        return True

    def show(self, unit: str, *names: str) -> list[str]:
        """Properties of a unit, in the order asked for."""
        text = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names))
        found = dict(line.split("=", 1) for line in text.splitlines())
        return [found[name] for name in names]

    def write(self, path: str, content: str) -> None:
        """Write a file inside."""
        inside = Path(f"/proc/{self._init()}/root{path}")
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.write_text(content)

    def read(self, path: str) -> str:
        """Read a file inside."""
        return Path(f"/proc/{self._init()}/root{path}").read_text()

    def processes(self, user: str) -> list[str]:
        """The command lines of everything that a user runs inside."""
        return self.run("ps", "-u", user, "-o", "args=", check=False).splitlines()

    def until(self, condition, what: str) -> None:
        """Wait until something holds.

        Raises:
            AssertionError: if it does not, with the console.
        """
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            if self._outer.poll() is not None:
                raise MachineDidNotBoot(self.console())
            if condition():
                return
            time.sleep(0.1)
        raise AssertionError(f"waited {PATIENCE_S:g} s for {what}; the console:\n{self.console()}")

    def end(self) -> None:
        """Kill everything in it; its files were in memory and go with it."""
        if self._outer.poll() is None:
            for child in Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)  # process 1: the kernel ends all others with it
            self._outer.kill()
        self._outer.wait()


def lines(text: str) -> Sequence[str]:
    """The lines of a command's answer without surrounding blanks."""
    return [line.strip() for line in text.splitlines()]
