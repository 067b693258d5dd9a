"""The Python example of the README: own teacher, own data, in ten lines."""

import keras
import numpy as np
import pytest
from PIL import Image

EXAMPLE = """
from kerasdistill.budget import Budget
from kerasdistill.experiments import chain, teachers
from kerasdistill.recipes import urban2017
from pipelines import datasets

data = datasets.load("folder:shapes", image_shape=(24, 24, 3))
mine = teachers.adapted(["mine.keras"], data=data, workdir="runs", output="logits")
student = urban2017.student(budget=Budget(20_000), convs=2, image_shape=(24, 24, 3), num_classes=2)
found = chain.run(chain.Chain((), tuple(mine), student, passes=4), data=data, workdir="runs")
print(found["test_accuracy"], found["saved_model"])
"""  # noqa: E501


@pytest.mark.slow
def test_the_example(tmp_path, monkeypatch):
    assert len(EXAMPLE.split("\n\n")[1].strip().splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 130)):
        folder = tmp_path / "shapes" / "train" / name
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(low, low + 120, (30, 26, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    model.set_weights([np.array([[-1, 1]] * 3) / 30, np.array([12.0, -12.0])])
    model.save("mine.keras")
    # The paper's stopping rule takes at least 31 epochs, of one batch each here.
    names: dict = {}
    exec(compile(EXAMPLE, "example", "exec"), names)
    assert names["found"]["test_accuracy"] > 0.8
    assert (tmp_path / names["found"]["saved_model"]).is_dir()
