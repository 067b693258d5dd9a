"""The first Python that a reader meets, run: own teacher, student and images."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/how-to/own-teacher.md")


def examples() -> list[str]:
    """The one Python block of each page: a whole chain, and Keras' own `fit`."""
    texts = [(ROOT / page).read_text(encoding="utf-8") for page in PAGES]
    block = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [example for text in texts for example in block.findall(text)]


def network(side: int, *before: keras.Layer) -> keras.Model:
    """Two logits from the mean colour."""
    last = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((side, side, 3)), *before, *last])


def photos(folder: Path) -> None:
    """Forty noisy pictures, each dark or light."""
    generator = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 130)):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(low, low + 120, (30, 26, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "train" / name / f"{number}.png")


def test_they_are_short():
    own, stored = examples()
    lines = [line for line in own.splitlines() if line]
    assert len(lines) <= 10
    assert all(len(line) <= 88 for line in own.splitlines() + stored.splitlines())


@pytest.mark.slow
def test_they_do_what_they_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos")
    mine = network(24)  # of another size, so it is adapted
    mine.set_weights([np.array([[-1, 1]] * 3) / 30, np.array([12.0, -12.0])])
    mine.save("mine.keras")
    network(32, keras.layers.Rescaling(1 / 64, offset=-2)).save("my_student.keras")
    own, stored = examples()
    # The paper's stopping rule takes at least 31 epochs, of one batch each here.
    names: dict = {}
    exec(compile(own, "own", "exec"), names)
    assert names["found"]["test_accuracy"] > 0.8
    assert (tmp_path / names["found"]["saved_model"]).is_dir()
    assert names["found"]["saved_model"] in capsys.readouterr().out
    (adapted,) = names["teacher"]
    assert "adapted-teacher" in adapted

    (folder,) = Path("runs").glob("precompute-*")
    stored = stored.replace("precompute-…", folder.name)
    exec(compile(stored, "stored", "exec"), names)
    before = keras.saving.load_model("my_student.keras").get_weights()
    after = keras.saving.load_model("distilled.keras").get_weights()
    assert not np.allclose(before[0], after[0])
