"""Pictures: that they are drawn, of what, and whole; their look is for the eye."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from kerasdistill.errors import UserError
from kerasdistill.reports import plots, search, sheets

from .conftest import content


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    from matplotlib.figure import Figure

    save = Figure.savefig

    def saving(self, *arguments, **options):
        figures.append(self)
        return save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", saving)
    return figures


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes}


def test_one_search(write, drawn, tmp_path):
    file = tmp_path / "picture.png"
    plots.search_picture([search.load(write())], file)
    with Image.open(file) as image:
        assert image.format == "PNG" and image.width > 1000
    found = panels(drawn[0])
    assert {"rate", "width", "kind"} < set(found) and "momentum" not in found
    assert found["rate"].get_xscale() == "log"
    assert found["width"].get_xscale() == "linear"
    names = [label.get_text() for label in found["kind"].get_xticklabels()]
    assert names == ["a", "b"]
    (curve,) = found["best so far (line), each trial (dot)"].get_lines()
    assert list(curve.get_ydata()) == [80] + [90] * 6
    bars = found["length scales (short: matters)"].patches
    assert sorted(bar.get_width() for bar in bars) == [0.2, 1.0, 4.0]
    dots = found["rate"].collections[0].get_offsets()
    assert sorted(dots[:, 0]) == [0.0001, 0.002, 0.005, 0.015, 0.02, 0.1]


def test_several_searches_share_the_axes(write, drawn, tmp_path):
    found = [
        search.load(write("gp")),
        search.load(write("random", oracle="random", length_scales=None)),
    ]
    plots.search_picture(found, tmp_path / "picture.png")
    curves = panels(drawn[0])["best so far (line), each trial (dot)"]
    labels = [text.get_text() for text in curves.get_legend().get_texts()]
    assert labels == ["gp, seed 0 (gp)", "random, seed 0 (random)"]
    assert len(curves.get_lines()) == 2
    assert len({line.get_color() for line in curves.get_lines()}) == 2


def test_what_went_wrong_does_not_press_the_rest_into_a_line(write, drawn, tmp_path):
    trials = content()["trials"]
    trials[-1]["val_accuracy"] = 0.1
    for place, trial in enumerate(trials[2:-1]):
        trial.update(status="COMPLETED", val_accuracy=0.8 + place / 100)
    plots.search_picture([search.load(write(trials=trials))], tmp_path / "a.png")
    panel = panels(drawn[0])["rate"]
    assert panel.get_ylim()[0] > 70
    below = panel.collections[1].get_offsets()
    assert len(below) == 1 and below[0, 1] > panel.get_ylim()[0]


@pytest.mark.parametrize("keep", [1, 2])
def test_a_search_that_has_hardly_begun(write, keep, tmp_path):
    trials = [trial for trial in content()["trials"] if trial["number"] < keep]
    found = search.load(write(trials=trials, length_scales=None))
    plots.search_picture([found], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


def test_a_file_that_cannot_be_written(write):
    with pytest.raises(UserError, match="another `file`"):
        plots.search_picture([search.load(write())], "/dev/null/picture.png")


def test_without_matplotlib_one_line_says_what_to_install(write, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install 'matplotlib"):
        plots.search_picture([search.load(write())], tmp_path / "picture.png")


def test_long_captions_are_whole_and_apart():
    names = ["golden retriever 51 %, flat-coated retriever 44 %, otter 2 %"] * 7
    captions = [f"{'W' * 200}\nstudent: {name}\nteacher: {name}" for name in names]
    images = np.zeros((7, 8, 8, 3), np.uint8)
    figure = sheets.contact_sheet(images, captions, good=[True] * 7)
    figure.draw_without_rendering()
    first, below = figure.axes[0], figure.axes[6]
    for panel in (first, below):
        text = panel.xaxis.label.get_window_extent()
        assert text.y0 >= 0 and text.y1 <= panel.get_window_extent().y0
        assert panel.xaxis.label.get_text().count("otter 2\N{NO-BREAK SPACE}%") == 2
    assert first.xaxis.label.get_window_extent().y0 >= below.get_window_extent().y1
