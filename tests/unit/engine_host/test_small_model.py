"""The small model is made once, whole, and its absence says what to do."""

from pathlib import Path

import pytest

from reconfigure_daemon.engine_host import small_model
from reconfigure_daemon.errors import EngineUnavailable


def finished(directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    return directory


def test_what_is_made_already_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prepared directory is returned as it is, even without the package that it came from."""
    made = finished(tmp_path / small_model.NAME)
    monkeypatch.setattr(small_model, "PACKAGE", "no_such_package")
    assert small_model.prepare_small_model(tmp_path) == made


def test_a_missing_package_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error names it and `make setup`, and nothing is left in the cache."""
    monkeypatch.setattr(small_model, "PACKAGE", "no_such_package")
    with pytest.raises(EngineUnavailable, match=r"no-such-package.*\n?.*make setup"):
        small_model.prepare_small_model(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_the_cache_is_where_the_desktop_standard_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CACHE_HOME moves the cache; without it, it is in the home directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert small_model.cache_directory() == Path("/somewhere/vllm-reconfigure")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert small_model.cache_directory() == Path.home() / ".cache" / "vllm-reconfigure"


def test_the_faster_of_two_processes_wins(tmp_path: Path) -> None:
    """A directory that another process finished meanwhile stays as it is."""
    made, target = finished(tmp_path / "made"), finished(tmp_path / "target")
    (target / "weights").write_text("theirs")
    small_model.put_in_place(made, target)
    assert (target / "weights").read_text() == "theirs"


def test_a_foreign_directory_in_its_place_is_an_error(tmp_path: Path) -> None:
    """A directory of that name that holds something else is not overwritten silently."""
    made, target = finished(tmp_path / "made"), tmp_path / "target"
    target.mkdir()
    (target / "something").touch()
    with pytest.raises(OSError, match="not empty"):
        small_model.put_in_place(made, target)
