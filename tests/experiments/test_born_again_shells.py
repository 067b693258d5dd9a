"""A generation through its real recipe: views, live teacher, steps, checkpoints."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill.models import fast_layers
from kerasdistill.models.build import build
from kerasdistill.objectives import OBJECTIVES, PermutedPredictions
from kerasdistill.recipes import born_again as recipes
from kerasdistill.running.building import shell
from kerasdistill.seeds import derive_seed
from kerasdistill.training.fit import fit
from pipelines.views import live_views

SMALL = recipes.recipe("wide-resnet-10-1")
DKPP = PermutedPredictions()


def generation(data, *, seed, architecture=SMALL.architecture):
    return build(
        architecture,
        image_shape=data.image_shape,
        num_classes=data.num_classes,
        seed=seed,
    )


def test_two_steps_with_a_live_teacher(image_data, tmp_path):
    teacher = fast_layers.with_keras_layers(generation(image_data, seed=0))
    training = replace(SMALL.training, objective=DKPP, epochs=1, batch_size=21)
    model = generation(image_data, seed=1)
    before = model.get_weights()
    result = fit(
        shell(model, training, ask=teacher),
        train=live_views.stream(
            image_data.train, augmentation=SMALL.augmentation, seed=1, batch_size=21
        ),
        validation=live_views.for_scoring(image_data.validation),
        training=training,
        directory=tmp_path,
    )
    assert result.epochs == 1 and "teacher_agreement" in result.history[0]
    for earlier, later in zip(before, model.get_weights(), strict=True):
        assert (earlier != later).any()


def trained(data, strategy):
    """Weights of a whole Wide-ResNet after 20 steps beside a live teacher."""
    still = replace(SMALL.architecture, dropout_rate=0.0)  # each replica draws its own
    batches = live_views.stream(
        data.train, augmentation=SMALL.augmentation, seed=1, batch_size=21
    )
    with strategy.scope():
        teacher = fast_layers.with_keras_layers(generation(data, seed=0))
        model = generation(data, seed=1, architecture=still)
        wrapped = shell(model, SMALL.training, ask=teacher)
        wrapped.compile(keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True))
    wrapped.fit(batches.batches(0).repeat().take(20), verbose=0)
    return model.get_weights()


@pytest.mark.slow
def test_a_wide_resnet_learns_the_same_on_two_replicas(image_data, two_replicas):
    alone = trained(image_data, tf.distribute.get_strategy())
    together = trained(image_data, two_replicas)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("loss", OBJECTIVES)
def test_the_recipe_chooses_the_objective(loss):
    objective = OBJECTIVES[loss]()
    training = replace(SMALL.training, objective=objective, clip_norm=3.0, seed=7)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    made = shell(model, training, ask=model)
    assert (made.objective, made.clip_norm) == (objective, 3.0)
    assert made.seed == derive_seed(7, "permutations")
    asked = "teacher_logits" in made.completed({"image": np.zeros((1, 2))})
    assert asked == ("teacher_logits" in made.needs)
