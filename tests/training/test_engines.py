"""The loop needs nothing of a backend but an engine; a shell may have own weights."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kerasdistill.errors import DivergedError, UserError
from kerasdistill.models import language, urban
from kerasdistill.models.digest import weights_digest
from kerasdistill.recipes.architectures import Lstm
from kerasdistill.recipes.base import Augmentation, Student, TextTraining, Training
from kerasdistill.training import engines
from kerasdistill.training.distillation_models import HardLabelModel
from kerasdistill.training.engines import tensorflow
from kerasdistill.training.fit import fit
from kerasdistill.training.fit_text import fit_text
from kerasdistill.training.language_models import LanguageModel
from kerasdistill.training.perplexity import Scorer
from pipelines.views import live_views
from pipelines.words import text
from tests.conftest import make_examples

CNN = Student(filters=(3,), hidden=(4,), bottleneck=None, kernel=3)
TRAINING = Training(
    learning_rate=0.05, momentum=0.9, batch_size=8, schedule="cosine", epochs=3
)


class Eager:
    """An engine of its own: plain steps, one after the other, on NumPy batches."""

    def __init__(self):
        self.calls = []

    def threads(self):
        self.calls.append("threads")
        return {}

    def compile(self, shell, make_optimizer):
        self.calls.append("compile")
        shell.compile(optimizer=make_optimizer())
        shell.optimizer.build(shell.trainable_variables)

    def session(self, shell, train, *, validation=None, first_epoch=0, **places):
        first_step = places["first_step"]
        self.calls.append(("session", first_epoch, first_step))
        return EagerSession(self, shell, train.batches(first_epoch), validation)


class EagerSession:
    """Tells the loop of an epoch's last step only, as a compiled epoch would."""

    def __init__(self, engine, shell, batches, validation):
        self._engine, self._shell = engine, shell
        self._batches, self._validation = iter(batches), validation

    def train(self, steps, after_step):
        self._engine.calls.append(("train", steps))
        for _ in steps:
            metrics = self._shell.train_step(next(self._batches))
        after_step(steps[-1], metrics)
        return {name: float(value) for name, value in metrics.items()}

    def validate(self):
        self._engine.calls.append("validate")
        for batch in self._validation:
            metrics = self._shell.test_step(batch)
        return {f"val_{name}": float(value) for name, value in metrics.items()}

    def close(self):
        self._engine.calls.append("close")


def images(count=20):
    return live_views.stream(
        make_examples(count),
        augmentation=Augmentation(min_crop=6),
        seed=1,
        batch_size=8,
    )


def as_numpy(data):
    return [{key: value.numpy() for key, value in batch.items()} for batch in data]


def held_out():
    return live_views.for_scoring(make_examples(6, first_id=50), batch_size=4)


def network():
    return urban.build(CNN, image_shape=(8, 8, 3), num_classes=3, seed=0)


def train(folder, shell, *, count=20, engine=None, training=TRAINING, enough=None):
    return fit(
        shell,
        train=images(count),
        validation=held_out(),
        training=training,
        directory=folder,
        engine=engine,
        enough=enough,
    )


def test_the_loop_needs_no_more_than_an_engine(tmp_path):
    model, other, engine = network(), network(), Eager()
    done = fit(
        HardLabelModel(model),
        train=images(),
        validation=as_numpy(held_out()),
        training=dataclasses.replace(TRAINING, epochs=1),
        directory=tmp_path / "eager",
        engine=engine,
    )
    assert engine.calls == [
        "compile",
        ("session", 0, 0),
        ("train", range(3)),
        "validate",
        "threads",
        "close",
    ]
    expected = train(
        tmp_path / "graph",
        HardLabelModel(other),
        training=dataclasses.replace(TRAINING, epochs=1),
    )
    assert done.history[0].keys() == expected.history[0].keys()
    assert done.val_score == pytest.approx(expected.val_score)
    for one, two in zip(model.weights, other.weights, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def test_another_engine_goes_on_with_a_training(tmp_path):
    first, engine = HardLabelModel(network()), Eager()
    with pytest.raises(InterruptedError):
        train(tmp_path, first, enough=interrupted(after=1))
    done = train(tmp_path, HardLabelModel(network()), engine=engine)
    assert ("session", 1, 0) in engine.calls and done.epochs == 3


def interrupted(*, after):
    def enough(history):
        if len(history) == after:
            raise InterruptedError
        return False

    return enough


def test_a_text_is_an_engines_too(tmp_path):
    words = tuple("abcd")
    tokens = (np.arange(60) % 4).astype(np.int32)
    model = language.build(Lstm(units=3, layers=1, dropout_rate=0.0), words=words)
    engine, scorer = Eager(), Scorer([model])
    cut = text.windows(tokens, end=0, streams=1, length=5)
    fit_text(
        LanguageModel(model, streams=2),
        train=text.stream(text.windows(tokens, end=0, streams=2, length=5)),
        validate=lambda: scorer.nats(cut)[0],
        training=TextTraining(learning_rate=1.0, batch_size=2, epochs=1, window=5),
        directory=tmp_path,
        engine=engine,
    )
    assert engine.calls == [
        "compile",
        ("session", 0, 0),
        ("train", range(6)),
        "threads",
        "close",
    ]


def test_the_engine_is_that_of_keras_backend(monkeypatch):
    assert engines.current() is tensorflow
    engine = Eager()
    monkeypatch.setitem(engines.ENGINES, "tensorflow", lambda: engine)
    assert engines.current() is engine
    monkeypatch.delitem(engines.ENGINES, "tensorflow")
    with pytest.raises(UserError, match="backend is tensorflow"):
        engines.current()


def test_tensorflow_has_all_that_an_engine_is():
    promised = {name for name in vars(engines.Engine) if not name.startswith("_")}
    assert promised <= set(vars(tensorflow))


def test_out_of_memory():
    error = tf.errors.ResourceExhaustedError(None, None, "OOM")
    assert tensorflow.is_out_of_memory(error)
    assert not tensorflow.is_out_of_memory(MemoryError())


class Projected(HardLabelModel):
    """Also brings a projection of the logits, dropped at times, near the label."""

    def __init__(self, student):
        super().__init__(student)
        self.projection = keras.layers.Dense(3, name="projection")
        self.projection.build((None, 3))
        self.dropout = keras.layers.Dropout(0.3, seed=7)
        self.projection.kernel.assign(np.eye(3) * 0.5)

    def per_example_loss(self, batch, logits):
        dropped = self.dropout(self.projection(logits), training=True)
        target = ops.one_hot(batch["label"], 3)
        hint = ops.sum(ops.square(dropped - target), axis=-1)
        return super().per_example_loss(batch, logits) + 0.1 * hint


def last(folder):
    with np.load(folder / "checkpoints" / "last.npz") as file:
        return {key: file[key] for key in file.files if key != "state"}


def test_an_interrupted_training_keeps_the_weights_of_its_shell(tmp_path):
    whole, parts = Projected(network()), Projected(network())
    train(tmp_path / "whole", whole)
    with pytest.raises(InterruptedError):
        train(tmp_path / "parts", Projected(network()), enough=interrupted(after=1))
    train(tmp_path / "parts", parts)
    assert weights_digest(parts.student) == weights_digest(whole.student)
    assert not np.allclose(whole.projection.kernel, np.eye(3) * 0.5)
    expected, found = last(tmp_path / "whole"), last(tmp_path / "parts")
    # The student's six and the projection's two with their momenta, the number of
    # steps and the dropout's seed.
    assert len(expected) == 2 * (6 + 2) + 1 + 1
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(value, found[key])
    (best,) = (tmp_path / "whole" / "checkpoints").glob("best-*.npz")
    with np.load(best) as file:
        assert len(file.files) == 6 + 1  # the student's, and the state


def test_a_shell_without_weights_of_its_own_fits_older_checkpoints(tmp_path):
    shell = HardLabelModel(network())
    train(tmp_path, shell, training=dataclasses.replace(TRAINING, epochs=1))
    older = [*shell.student.variables, *shell.optimizer.variables]
    shapes = [value.shape for value in last(tmp_path).values()]
    assert shapes == [tuple(variable.shape) for variable in older]


class Poisoned(Projected):
    """Only the projection's gradient, of a root at zero, is not finite."""

    def per_example_loss(self, batch, logits):
        plain = super().per_example_loss(batch, logits)
        zero = ops.sum(self.projection.kernel - self.projection.kernel)
        return plain + ops.sqrt(zero)


def test_weights_of_the_shell_that_are_not_finite(tmp_path):
    with pytest.raises(DivergedError, match="projection/kernel are not finite"):
        train(tmp_path, Poisoned(network()), count=8)
    assert not list(tmp_path.rglob("*.npz"))
