"""`make install` into a DESTDIR, and back, with an environment that is made in a moment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import service
import service_files


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch):
    """In place of a virtual environment with its packages: a script and a link, as pip makes them."""

    def fill(layout: service_files.Layout, installer: service_files.Installer, engine: str) -> None:
        here = installer.tree(layout.environment) / "bin"
        here.mkdir(exist_ok=True)
        (here / "reconfigure").write_text(f"#!{here}/python\nprint('hello')\n")
        service.relocate(here, here.parent, layout.environment)

    monkeypatch.setattr(service, "fill_environment", fill)
    monkeypatch.setattr(sys, "base_prefix", "/usr")


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def run(what: str, destdir: Path, *arguments: str) -> int:
    return service.main([what, "--destdir", str(destdir), *arguments])


def test_a_staged_installation_names_the_places_of_the_target(quick, tmp_path: Path):
    """Links are relative, scripts and units name the prefix, and nothing names the staging folder."""
    assert run("install", tmp_path, "--prefix", "/usr") == 0
    unit = (tmp_path / "usr/lib/systemd/system/reconfigure.service").read_text()
    assert "ExecStart=/usr/lib/reconfigure/bin/reconfigure serve" in unit
    assert str((tmp_path / "usr/bin/reconfigure").readlink()) == "../lib/reconfigure/bin/reconfigure"
    assert (tmp_path / "usr/bin/reconfigure").read_text().startswith("#!/usr/lib/reconfigure/bin/python")
    named = [name for name in files_below(tmp_path) if str(tmp_path) in (tmp_path / name).read_text()]
    assert named == []


def test_a_prefix_that_systemd_does_not_search_puts_units_into_etc(quick, tmp_path: Path):
    """Under /opt the units would not be found."""
    run("install", tmp_path, "--prefix", "/opt/reconfigure")
    assert "/opt/reconfigure/lib/" in (tmp_path / "etc/systemd/system/reconfigure.service").read_text()
    assert (tmp_path / "etc/sysusers.d/reconfigure.conf").exists()


def test_installing_twice_is_installing_once(quick, tmp_path: Path):
    """The second time changes no file, and the operator's settings are kept."""
    run("install", tmp_path)
    settings = tmp_path / "etc/reconfigure/config.yaml"
    settings.write_text("mine\n")
    before = {name: (tmp_path / name).read_bytes() for name in files_below(tmp_path)}
    run("install", tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in files_below(tmp_path)} == before


def test_what_was_installed_is_removed_and_nothing_else(quick, tmp_path: Path):
    """Folders that others use stay, empty ones that the installation made go."""
    theirs = tmp_path / "usr/local/bin/theirs"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("not ours")
    run("install", tmp_path)
    assert run("uninstall", tmp_path) == 0
    assert files_below(tmp_path) == {"usr/local/bin/theirs"}
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_dir()) == ["bin", "local", "usr"]


def test_data_are_kept_on_demand(quick, tmp_path: Path):
    """With --keep-data settings and decisions stay for the next installation."""
    run("install", tmp_path)
    run("uninstall", tmp_path, "--keep-data")
    assert files_below(tmp_path) == {"etc/reconfigure/config.yaml"}


def test_without_an_installation_nothing_is_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A wrong prefix must not cost anybody's data."""
    data = tmp_path / "var/lib/reconfigure/reconfigure.db"
    data.parent.mkdir(parents=True)
    data.touch()
    assert run("uninstall", tmp_path) == 0
    assert data.exists()
    assert "no installation" in capsys.readouterr().out


def test_a_python_that_the_service_cannot_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Before anything is written, with the command that works."""
    monkeypatch.setattr(sys, "base_prefix", "/root/.pyenv/versions/3.11.7")
    assert run("install", tmp_path) == 1
    assert "make PYTHON=/usr/bin/python3 install" in capsys.readouterr().err
    assert files_below(tmp_path) == set()
