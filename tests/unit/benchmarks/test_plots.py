"""Pictures of results."""

from __future__ import annotations

import pytest

from benchmarks import plots
from benchmarks.harness.figures import load
from benchmarks.harness.result import RESULTS

PNG = b"\x89PNG\r\n"


@pytest.mark.parametrize("name", plots.PLOTS)
def test_every_committed_result_with_a_picture_can_be_drawn(name, tmp_path):
    """From what was committed, without a display."""
    pytest.importorskip("matplotlib", reason="pictures need the plots extra")
    path = plots.picture(load(RESULTS)[name], tmp_path / f"{name}.png")
    assert path.read_bytes().startswith(PNG)


@pytest.mark.parametrize("name", plots.PLOTS)
def test_every_picture_is_committed(name):
    """Where the page of figures shows it."""
    assert (plots.IMAGES / f"{name}.png").read_bytes().startswith(PNG)


def test_an_unknown_picture_is_named(capsys):
    """With those that there are."""
    with pytest.raises(SystemExit):
        plots.main(["gpu.nothing"])
    assert "gpu.trace" in capsys.readouterr().err
