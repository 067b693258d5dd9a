"""Numbers that went wrong, and data at the edge of what can be trained on."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill.errors import DivergedError, UserError
from kerasdistill.models import urban
from kerasdistill.recipes.base import Augmentation, Student, Training
from kerasdistill.training import distillation_models
from kerasdistill.training.fit import fit
from pipelines import checking
from pipelines.views import live_views
from tests.conftest import CLASSES, make_examples

CNN = Student(filters=(3,), hidden=(4,), bottleneck=None, kernel=3)
TRAINING = Training(
    learning_rate=0.01, momentum=0.9, batch_size=8, schedule="cosine", epochs=1
)


def trained(
    folder, *, count=17, validation=None, batch_size=8, model=None, change=None, **how
):
    """Fits on so many images; `change` is made to each batch of views."""
    built = urban.build(CNN, image_shape=(8, 8, 3), num_classes=3, seed=0)
    stream = live_views.stream(
        make_examples(count),
        augmentation=Augmentation(min_crop=6),
        seed=1,
        batch_size=batch_size,
    )
    if change is not None:
        plain = stream.batches
        stream = dataclasses.replace(
            stream, batches=lambda epoch: plain(epoch).map(change)
        )
    held_out = make_examples(6, first_id=50) if validation is None else validation
    shell = (model or distillation_models.HardLabelModel)(built)
    return fit(
        shell,
        train=stream,
        validation=live_views.for_scoring(held_out),
        training=dataclasses.replace(TRAINING, batch_size=batch_size, **how),
        directory=folder,
    )


def with_logits(value):
    def change(batch):
        shape = [tf.shape(batch["image"])[0], 3]
        return {**batch, "teacher_logits": tf.fill(shape, tf.constant(value))}

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite(tmp_path, value):
    with pytest.raises(DivergedError, match="loss is .* at step 3 .*Training.learn"):
        trained(
            tmp_path,
            change=with_logits(np.float32(value)),
            model=distillation_models.LogitRegressionModel,
        )
    assert not list(tmp_path.rglob("*.npz"))  # nothing to resume from


class Poisoned(distillation_models.HardLabelModel):
    """The loss is finite; its gradient, of a square root at zero, is not."""

    def per_example_loss(self, batch, logits):
        plain = super().per_example_loss(batch, logits)
        return plain + tf.sqrt(tf.reduce_sum(logits - logits, axis=-1))


def test_a_gradient_that_is_not_finite_in_the_last_step(tmp_path):
    with pytest.raises(DivergedError, match="weights .* after step 1 .*Training\\("):
        trained(tmp_path, model=Poisoned, count=8)
    assert not list(tmp_path.rglob("*.npz"))


def test_probabilities_are_no_logits(image_data):
    logits = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    softmaxed = keras.Sequential(
        [keras.Input((8, 8, 3)), *logits.layers, keras.layers.Softmax()]
    )
    with pytest.raises(UserError, match="outputs probabilities, expected logits"):
        checking.check_teacher(softmaxed, "t.keras", data=image_data, force=True)
    checking.check_teacher(logits, "t.keras", data=image_data, force=True)


@pytest.mark.parametrize("classes", [2, 4])
def test_another_number_of_classes(image_data, classes):
    teacher = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(classes)]
    )
    with pytest.raises(UserError, match=rf"\({classes},\).* 3 classes"):
        checking.check_teacher(teacher, "t.keras", data=image_data, force=True)


@pytest.mark.parametrize("kind", ["HardLabelModel", "LogitRegressionModel", "KD"])
@pytest.mark.parametrize("logits_dtype", ["bfloat16", "float16", "float32"])
def test_losses_are_float32_whatever_the_logits(kind, logits_dtype):
    shells = vars(distillation_models)
    make = shells["KnowledgeDistillationModel" if kind == "KD" else kind]
    net = urban.build(CNN, image_shape=(8, 8, 3), num_classes=3, seed=0)
    values = np.array([[3.0, 1.0, 0.5], [-2.0, 0.25, 1.0]], np.float32)
    batch = {"teacher_logits": tf.constant(values[::-1]), "label": tf.constant([0, 2])}
    found = make(net).per_example_loss(batch, tf.cast(values, logits_dtype))
    exact = make(net).per_example_loss(batch, tf.constant(values))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, exact, rtol=1e-6)  # these values are exact


def test_no_validation_images(tmp_path):
    nothing = make_examples(6).take(np.arange(0))
    with pytest.raises(UserError, match="no validation images"):
        trained(tmp_path, validation=nothing)


def test_a_validation_set_of_one_class(tmp_path):
    all_of_it = make_examples(30)
    one_class = all_of_it.take(np.flatnonzero(all_of_it.labels == 1))
    assert len(CLASSES) == 3
    assert 0 <= trained(tmp_path, validation=one_class).val_score <= 1


@pytest.mark.parametrize(("count", "batch_size"), [(9, 8), (3, 8), (1, 8), (4, 1)])
def test_last_batches_of_one_and_sets_smaller_than_a_batch(tmp_path, count, batch_size):
    done = trained(tmp_path, count=count, batch_size=batch_size)
    assert done.epochs == 1 and np.isfinite(done.history[0]["loss"])
