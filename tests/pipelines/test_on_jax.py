"""A student learns from a distillation set on Keras' JAX backend."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from kerasdistill.training.distillation_models import LogitRegressionModel
from pipelines import distillation_set

TRAINING = """
import dataclasses
import sys, warnings
import keras
import numpy as np
from kerasdistill.models import urban
from kerasdistill.recipes import urban2017
from kerasdistill.budget import Budget
from kerasdistill.training import distillation_models, keras_losses
from pipelines import distillation_set

warnings.simplefilter("error", UserWarning)  # such as integers cut to 32 bits
assert keras.backend.backend() == "jax"
stored = distillation_set.open(sys.argv[1])
batches = stored.dataset(batch_size=16)
recipe = urban2017.student(
    budget=Budget(3_000), convs=2, image_shape=(8, 8, 3), num_classes=3
)
architecture = dataclasses.replace(recipe.architecture, dropout_rates=())
small = urban.build(architecture, image_shape=(8, 8, 3), num_classes=3, seed=0)
start = small.get_weights()
for shell in (
    distillation_models.KnowledgeDistillationModel(small, temperature=2, alpha=0.5),
    distillation_models.LogitRegressionModel(small),
):
    small.set_weights(start)
    shell.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True))
    history = shell.fit(batches, epochs=3, verbose=0, shuffle=False).history
    assert history["loss"][-1] < history["loss"][0], history
    assert {"accuracy", "teacher_agreement"} <= set(history)
# The same set for Keras' own trainer.
pairs = batches.map(lambda batch: (batch["image"], batch["teacher_logits"]))
plain = keras.models.clone_model(small)
plain.set_weights(start)
plain.compile("sgd", loss=keras_losses.SoftTargets(temperature=2))
assert np.isfinite(plain.fit(pairs, verbose=0, shuffle=False).history["loss"][0])
small.save(sys.argv[2])
logits = small.predict(np.zeros((1, 8, 8, 3)), verbose=0)
np.savez(sys.argv[3], history["loss"], logits, *start)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="jax is not installed: kerasdistill[jax]",
)
def test_a_student_learns_from_a_set(make_set, tmp_path):
    path = make_set().distillation_set
    results = [str(tmp_path / "student.keras"), str(tmp_path / "found.npz")]
    process = subprocess.run(
        [sys.executable, "-c", TRAINING, path, *results],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        },
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    with np.load(results[1]) as found:
        losses, logits, *start = found.values()
    # The file loads on TensorFlow and gives the same logits there.
    model = keras.saving.load_model(results[0])
    np.testing.assert_allclose(model(np.zeros((1, 8, 8, 3))), logits, atol=1e-4)
    # And the training is TensorFlow's: the same set, start and optimizer.
    model.set_weights(start)
    shell = LogitRegressionModel(model)
    shell.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True))
    batches = distillation_set.open(path).dataset(batch_size=16)
    history = shell.fit(batches, epochs=3, verbose=0).history
    np.testing.assert_allclose(losses, history["loss"], rtol=1e-3)
