"""A new user's first day, run as its page stands: each command ends well and says what
it made."""

import contextlib
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import ROOT
from .test_tutorial import run_command

SIDE, EACH = 96, 80
# A command's verb -> what its answer says on stdout, beside other things.
SAYS = {
    "student": ["model: ", "distillation_set: ", " of the test images, ", "next:"],
    "baseline": ["model: ", " of the test images, ", "next:"],
    "inspect": [".png"],
    "export": ["saved_model: ", "saved-model", "keras"],
    "born-again": ["generation 1", "teacher"],
    "language-model": ["model: ", "perplexity", "next:"],
}
EXTRAS = ("ai_edge_litert", "onnxruntime", "tf2onnx")


def photos(folder: Path) -> None:
    """Pictures of three patterns, of any colours, sizes and places, and with noise."""
    generator = np.random.default_rng(0)
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    for name in ("checks", "rings", "stripes"):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(EACH):
            period = generator.uniform(12, 24)
            x, y = (each + generator.uniform(0, SIDE) for each in (across, down))
            waves = {
                "checks": np.sin(2 * np.pi * x / period)
                * np.sin(2 * np.pi * y / period),
                "rings": np.sin(2 * np.pi * np.hypot(x - SIDE, y - SIDE) / period),
                "stripes": np.sin(2 * np.pi * x / period),
            }
            colours = generator.integers(0, 256, (2, 3))
            pixels = np.where(waves[name][..., None] > 0, *colours)
            pixels = pixels + generator.normal(0, 12, pixels.shape)
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(folder / "train" / name / f"{number:03}.jpg", quality=90)


def sentences(folder: Path) -> None:
    """Text in which most words follow from the word before."""
    folder.mkdir()
    words = "the small network learns what a large one says of each new word".split()
    generator = np.random.default_rng(0)
    for name, count in (("train", 600), ("valid", 60), ("test", 60)):
        starts = generator.integers(len(words), size=count)
        lines = [" ".join((words * 2)[s : s + 8]) for s in starts]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
# Keras says so of every data set that is fitted as its own guides do.
@pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning")
def test_the_first_day(blocks, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos")
    sentences(tmp_path / "words")
    done = []
    for kind, text in blocks(ROOT / "docs" / "first-day.md"):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(text, "first-day", "exec"), {})
        elif kind == "console":
            for line in text.replace("\\\n", " ").splitlines():
                if not all(map(importlib.util.find_spec, EXTRAS)):
                    line = line.replace(" --all ", " --format saved-model keras ")
                printed = run_command(line, capsys)
                verb = line.split()[4]
                done.append(verb)
                if "--plan" not in line:
                    for words in SAYS.get(verb, []):
                        assert words in printed, (line, printed)
    assert set(done) >= {*SAYS, "doctor", "evaluate", "report", "runs"}
    for picture in ("inspect-precompute-*/views", "inspect-student-*/confusion"):
        (file,) = tmp_path.glob(f"runs/{picture}.png")
        with Image.open(file) as image:
            assert image.format == "PNG" and image.width > 400
    assert (tmp_path / "saved_models" / "photos" / "model.keras").is_file()
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")
    for folder in ("runs", "digits", "born-again", "text"):
        assert list((tmp_path / folder).rglob("*.tfevents.*")), folder
