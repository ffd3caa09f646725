"""Install the daemon as a systemd service, or remove every trace of it.

    python3 deploy/setup/service.py install [--prefix /usr/local] [--destdir DIR] [--engine auto|gpu|cpu|none]
    python3 deploy/setup/service.py uninstall [--prefix /usr/local] [--destdir DIR] [--keep-data]

Both can be repeated: an installation is brought up to date, and the operator's config.yaml is never overwritten. With a
DESTDIR only files are written, for a package or an image; users and units are the target machine's business then.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from service_files import PROJECT, UNITS, Installed, Installer, Layout, remove

#: What an operator and the daemon keep; `--keep-data` leaves it.
DATA = (Path("/etc/reconfigure"), Path("/var/lib/reconfigure"))

#: What is left of a daemon that is gone.
TRACES = (
    Path("/var/cache/reconfigure"),
    Path("/run/reconfigure"),
    Path("/run/reconfigure-device-helper"),
    Path("/var/lib/reconfigure-device-helper"),
    *(Path(f"/etc/systemd/system/{unit}.d") for unit in UNITS),
)

USER = "reconfigure"


class CannotInstall(Exception):
    """What stands in the way, and what to do about it."""


def main(argv: list[str] | None = None) -> int:
    """The command; exit code 0 when everything is in place, or away."""
    arguments = parsed(argv)
    layout = Layout(arguments.prefix, arguments.destdir)
    try:
        if arguments.what == "install":
            install(layout, arguments.engine)
        else:
            uninstall(layout, keep_data=arguments.keep_data)
    except (CannotInstall, OSError) as reason:
        print(f"{arguments.what}: {reason}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as failure:
        return int(failure.returncode) or 1  # it has said itself what is wrong
    return 0


def parsed(argv: list[str] | None) -> argparse.Namespace:
    """The command line; an empty destdir, as make passes it on, is this machine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["install", "uninstall"])
    parser.add_argument("--prefix", type=Path, default=Path("/usr/local"))
    parser.add_argument("--destdir", default="")
    parser.add_argument("--engine", choices=["auto", "gpu", "cpu", "none"], default="auto")
    parser.add_argument("--keep-data", action="store_true", help="leave settings, decisions and the user in place")
    arguments = parser.parse_args(argv)
    if not arguments.prefix.is_absolute():
        parser.error(f"found the prefix {arguments.prefix}; write an absolute path such as /usr/local")
    arguments.destdir = Path(arguments.destdir or "/").resolve()
    return arguments


def install(layout: Layout, engine: str) -> None:
    """Everything into its place, then the machine told of it."""
    check(layout)
    installer = Installer(layout)
    fill_environment(layout, installer, engine)
    installer.link(layout.prefix / "bin/reconfigure", layout.environment / "bin/reconfigure")
    installer.tree(layout.prefix / "share/doc/reconfigure")
    for source, target in (*layout.texts(), *layout.documents()):
        installer.text(source, target)
    installer.folder(Path("/etc/reconfigure"))
    fresh = not layout.settings.exists()
    if fresh:
        shutil.copyfile(PROJECT / "config.yaml", layout.settings)
        layout.settings.chmod(0o644)
    installer.installed.write(layout.record)
    if layout.destdir == Path("/"):
        tell_machine()
    kept = "" if fresh else f"; yours was kept, the shipped one is {layout.prefix}/share/doc/reconfigure/config.yaml"
    print(f"Installed under {layout.here(layout.prefix)}. Settings: {layout.settings}{kept}.")
    if layout.destdir == Path("/"):
        print("Next: systemctl enable --now reconfigure, and after an upgrade: systemctl restart reconfigure")


def check(layout: Layout) -> None:
    """See that an installation has a chance before anything is written."""
    if layout.destdir == Path("/") and os.geteuid() != 0:
        raise CannotInstall(
            "only root can install a service; run it with sudo, or into a folder: make DESTDIR=... install"
        )
    home = Path(sys.base_prefix)
    if any(home.is_relative_to(folder) for folder in ("/root", "/home")):
        raise CannotInstall(
            f"{sys.executable} lies under {home}, which the service may not read; name a Python that all users have: "
            "make PYTHON=/usr/bin/python3 install"
        )


def fill_environment(layout: Layout, installer: Installer, engine: str) -> None:
    """The virtual environment with vLLM, if it is wanted, and a copy of this project."""
    here = installer.tree(layout.environment)
    python = here / "bin/python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    clear = [] if (here / "bin" / version).exists() else ["--clear"]
    umask = os.umask(0o022)  # the service's user has to read all of it
    try:
        subprocess.run([sys.executable, "-m", "venv", *clear, str(here)], check=True)
        set_up = [str(python), str(PROJECT / "deploy/setup/environment.py"), "--engine", engine, "--copy"]
        alone = ["--with", ""] if engine == "none" else []  # surrogates would bring torch
        subprocess.run([*set_up, *alone], check=True)
    finally:
        os.umask(umask)
    if here != layout.environment:
        relocate(here / "bin", here, layout.environment)
        relocate(here, here, layout.environment)


def relocate(folder: Path, made: Path, meant: Path) -> None:
    """Have a folder's scripts name the place where they will be, not the one where they were made."""
    for script in folder.iterdir():
        if script.is_file() and not script.is_symlink():
            content = script.read_bytes()
            if bytes(made) in content:
                script.write_bytes(content.replace(bytes(made), bytes(meant)))


def tell_machine() -> None:
    """Make the user, open the energy counters, and have systemd read the units."""
    for command in (["systemd-sysusers"], ["systemd-tmpfiles", "--create", "reconfigure.conf"]):
        if shutil.which(command[0]):
            subprocess.run(command, check=True)
    if systemd_runs():
        subprocess.run(["systemctl", "daemon-reload"], check=True)


def systemd_runs() -> bool:
    """Whether systemd is this machine's init, see sd_booted(3)."""
    return Path("/run/systemd/system").is_dir()


def uninstall(layout: Layout, *, keep_data: bool) -> None:
    """Everything away that an installation, the daemon or an operator has left in the product's own places."""
    installed = Installed.read(layout.record)
    if installed is None:
        print(f"There is no installation under {layout.here(layout.prefix)}; nothing was changed.")
        return
    on_this_machine = layout.destdir == Path("/")
    if on_this_machine:
        leave_machine(keep_data=keep_data)
    for path in (*TRACES, *(() if keep_data else DATA)):
        shutil.rmtree(layout.here(path), ignore_errors=True)
    remove(layout, installed)
    if on_this_machine and systemd_runs():
        subprocess.run(["systemctl", "daemon-reload"], check=True)
    kept = f"; kept: {', '.join(map(str, DATA))} and the user {USER}" if keep_data else ""
    print(f"Removed from {layout.here(layout.prefix)}{kept}.")


def leave_machine(*, keep_data: bool) -> None:
    """Undo what `tell_machine` did, and end what runs."""
    if os.geteuid() != 0:
        raise CannotInstall("only root can remove a service; run it with sudo")
    if systemd_runs():
        stop_service()
    close_counters()
    if not keep_data:
        remove_user()


def stop_service() -> None:
    """End controller, timers and engine; live requests finish first."""
    named = [unit for unit in UNITS if "@" not in unit]
    for command in (["disable", "--now"], ["reset-failed"]):
        subprocess.run(["systemctl", *command, *named], check=False, stderr=subprocess.DEVNULL)


def close_counters() -> None:
    """Give the processors' energy counters back to root."""
    for counter in Path("/sys/class/powercap").glob("*/energy_uj"):
        os.chown(counter, 0, 0)
        counter.chmod(0o400)


def remove_user() -> None:
    """Remove the user and the group that systemd-sysusers made."""
    if subprocess.run(["getent", "passwd", USER], check=False, stdout=subprocess.DEVNULL).returncode == 0:
        subprocess.run(["userdel", USER], check=True)
    if subprocess.run(["getent", "group", USER], check=False, stdout=subprocess.DEVNULL).returncode == 0:
        subprocess.run(["groupdel", USER], check=True)


if __name__ == "__main__":
    raise SystemExit(main())
