"""Recipes need no Keras; models, losses and shells need no TensorFlow."""

import importlib.util
import os
import subprocess
import sys

import pytest

# Keras' own NumPy backend borrows from JAX, so both need it.
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="jax is not installed; install it to test Keras' other backends",
)

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
"""

RECIPES = """
from kerasdistill import budget, errors, files, runs, seeds
from kerasdistill.recipes import base, born_again, ptb, reading, urban2017
for name in ptb.NAMES:
    model = ptb.language_model(name)
    assert reading.from_json(base.to_json(model)) == model
again = born_again.recipe("densenet-90-60")
assert reading.from_json(base.to_json(again)) == again
recipe = urban2017.student(budget=budget.Budget(250_000), convs=3)
assert reading.from_json(base.to_json(recipe)) == recipe
print("worked")
"""

MODELS = """
import keras
import numpy as np
from kerasdistill.budget import Budget
from kerasdistill.models import digest, ensemble, fast_layers
from kerasdistill.models import language, summary, urban
from kerasdistill.models.build import build
from kerasdistill.recipes import architectures
from kerasdistill.recipes import born_again as born_again_recipes
from kerasdistill.recipes import urban2017
from kerasdistill import losses
from kerasdistill.training import distillation_models

images = np.arange(2 * 32 * 32 * 3, dtype="uint8").reshape(2, 32, 32, 3)
shape = {"image_shape": (32, 32, 3), "num_classes": 4, "seed": 0}
small = urban.build(
    urban2017.student(budget=Budget(100_000), convs=2, num_classes=4).architecture,
    **shape,
)
teacher = urban.build(
    urban2017.teacher_of(filters=(2, 2, 2), dense=3).architecture, **shape
)
both = ensemble.build([small, teacher])
outputs = [model.predict(images, verbose=0) for model in (small, teacher, both)]
np.testing.assert_allclose((outputs[0] + outputs[1]) / 2, outputs[2], atol=1e-4)
assert summary.num_trainable(small) > 90_000 and len(digest.weights_digest(small)) == 64
wide = build(born_again_recipes.architecture("wide-resnet-10-1"), **shape)
np.testing.assert_allclose(
    fast_layers.with_keras_layers(wide).predict(images, verbose=0),
    wide.predict(images, verbose=0),
    atol=1e-5,
)
dense = build(
    born_again_recipes.architecture("densenet-bc-16-4"),
    image_shape=(8, 8, 3), num_classes=4, seed=0,
)
logits = dense.predict(images[:, :8, :8], verbose=0)
assert logits.shape == (2, 4) and np.isfinite(logits).all() and np.ptp(logits) > 0

# A window of five words is one of two and one of three from the state after it.
text = architectures.Lstm(units=6, layers=2, dropout_rate=0.1)
reads = language.build(text, words=tuple("abcdefg"), seed=0)
ids = np.array([[1, 2, 3, 4, 5], [6, 5, 4, 3, 2]], "int32")
state = [np.zeros((2, 6), "float32")] * 4
whole, *_ = reads.predict([ids, *state], verbose=0)
head, *state = reads.predict([ids[:, :2], *state], verbose=0)
tail, *_ = reads.predict([ids[:, 2:], *state], verbose=0)
assert whole.shape == (2, 5, 7) and np.ptp(whole) > 0
np.testing.assert_allclose(np.concatenate([head, tail], axis=1), whole, atol=1e-6)

keys = losses.shuffle_keys(np.arange(2), classes=4, seed=0, step=1)
found = losses.dkpp(np.eye(2, 4), np.zeros((2, 4)), keys=keys)
np.testing.assert_allclose(np.asarray(found), np.log(4), rtol=1e-6)

found = losses.logit_regression([[1.0, 0.0, 6.0]], [[1.0, 2.0, 3.0]])
assert np.asarray(found).tolist() == [13.0], found
found = losses.knowledge_distillation([1], [[0.0, 0.0]], [[0.0, 0.0]], alpha=0.5)
np.testing.assert_allclose(np.asarray(found), [np.log(2)], rtol=1e-6)
"""

SHELL = """
rng = np.random.default_rng(0)
x = rng.integers(0, 9, (6, 2, 2, 1)).astype("uint8")
targets = rng.normal(size=(6, 3)).astype("float32")
linear = keras.Sequential([
    keras.Input((2, 2, 1)), keras.layers.Flatten(),
    keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.01)),
])
shell = distillation_models.LogitRegressionModel(linear)
shell.compile(optimizer=keras.optimizers.SGD(0.01))
w, b = linear.get_weights()
expected_losses = []
for _ in range(3):
    flat = x.reshape(6, 4).astype("float32")
    error = flat @ w + b - targets
    expected_losses.append(np.mean(np.sum(error**2, axis=1)))
    w = w - 0.01 * (flat.T @ error * 2 / 6 + 2 * 0.01 * w)
    b = b - 0.01 * error.sum(axis=0) * 2 / 6
history = shell.fit(
    {"image": x, "teacher_logits": targets}, batch_size=6, epochs=3, verbose=0
).history
np.testing.assert_allclose(history["loss"], expected_losses, rtol=1e-5)
for found, expected in zip(linear.get_weights(), (w, b), strict=True):
    np.testing.assert_allclose(found, expected, atol=1e-5)
labels = np.argmax(x.reshape(6, 4) @ w + b, axis=1)
scores = shell.evaluate(
    {"image": x, "label": labels}, batch_size=4, verbose=0, return_dict=True
)
assert scores["accuracy"] == 1.0, scores
"""

GENERATIONS = """
from kerasdistill.training import born_again_models

teacher = keras.models.clone_model(linear)
teacher.set_weights([rng.normal(size=(4, 3)) / 3, rng.normal(size=3)])
before = teacher.get_weights()
labels = rng.integers(0, 3, 6).astype("int32")
flat = x.reshape(6, 4).astype("float32")

def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)

said = flat @ before[0] + before[1]
p, y = softmax(said), np.eye(3)[labels]
sure = p.max(axis=1, keepdims=True)
weighed = sure / sure.mean()
same = np.zeros(6, "int32")
keys = np.asarray(losses.shuffle_keys(same, classes=3, seed=5, step=0))
permuted = softmax(np.asarray(losses.permuted_others(said.astype("float32"), keys)))
fresh = np.asarray(losses.shuffle_keys(np.arange(6), classes=3, seed=5, step=0))
anew = softmax(np.asarray(losses.permuted_others(said.astype("float32"), fresh)))
assert not np.allclose(permuted, p) and not np.allclose(anew, permuted)
# Each loss is the mean of w CE(targets, q), whose gradient is w (sum(targets) q -
# targets) by the logits.
models = born_again_models
for kind, options, expected, w in (
    (models.BornAgainModel, {}, p, 1.0),
    (models.BornAgainWithLabelsModel, {"label_weight": 0.5}, p + 0.5 * y, 1.0),
    (models.ConfidenceWeightedModel, {}, y, weighed),
    (
        models.PermutedPredictionsModel,
        {"permutation": "fixed", "seed": 5},
        permuted,
        1.0,
    ),
    (models.PermutedPredictionsModel, {"seed": 5}, anew, 1.0),
):
    for live in (False, True):
        taught = keras.Sequential(
            [keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
        )
        start, bias = taught.get_weights()
        q = softmax(flat @ start + bias)
        shell = kind(taught, teacher=teacher if live else None, **options)
        shell.compile(optimizer=keras.optimizers.SGD(0.01))
        batch = {"image": x, "label": labels, "sample_id": np.arange(6, dtype="int32")}
        batch |= {} if live else {"teacher_logits": said}
        seen = shell.fit(batch, batch_size=6, epochs=1, verbose=0).history
        loss = np.mean(np.sum(-w * expected * np.log(q), axis=1))
        np.testing.assert_allclose(seen["loss"], [loss], rtol=1e-4)
        error = w * (expected.sum(axis=1, keepdims=True) * q - expected) / 6
        ends = (start - 0.01 * flat.T @ error, bias - 0.01 * error.sum(axis=0))
        for found, end in zip(taught.get_weights(), ends, strict=True):
            np.testing.assert_allclose(found, end, atol=1e-5)
        agreement = np.mean(q.argmax(axis=1) == p.argmax(axis=1))
        np.testing.assert_allclose(seen["teacher_agreement"], [agreement], rtol=1e-6)
for found, was in zip(teacher.get_weights(), before, strict=True):
    np.testing.assert_array_equal(found, was)
"""


def run(script, *, blocked, backend="tensorflow"):
    process = subprocess.run(
        [sys.executable, "-c", BLOCKER.format(blocked=blocked) + script],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()[-1:]


def test_recipes_work_without_keras():
    assert run(RECIPES, blocked={"keras", "tensorflow"}) == ["worked"]


@needs_jax
@pytest.mark.parametrize(
    ("backend", "script"),
    [("numpy", MODELS), ("jax", MODELS + SHELL + GENERATIONS)],
)
@pytest.mark.slow
def test_models_losses_and_shells_work_without_tensorflow(backend, script):
    assert run(
        script + "print(keras.backend.backend(), 'tensorflow' in sys.modules)",
        blocked={"tensorflow"},
        backend=backend,
    ) == [f"{backend} False"]
