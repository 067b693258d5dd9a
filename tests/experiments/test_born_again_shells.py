"""A generation through its real recipe: views, live teacher, steps, checkpoints."""

from dataclasses import replace

import pytest

from kerasdistill.experiments.shells import born_again_shell
from kerasdistill.models import batch_norm, born_again
from kerasdistill.recipes import born_again as recipes
from kerasdistill.training.fit import fit
from pipelines import live_views

SMALL = recipes.recipe("wide-resnet-10-1")


def generation(data, *, seed):
    return born_again.build(
        SMALL.architecture,
        image_shape=data.image_shape,
        num_classes=data.num_classes,
        seed=seed,
    )


@pytest.mark.parametrize("loss", ["hard-label", "ban", "ban+l", "cwtm", "dkpp"])
def test_two_steps_of_every_loss(loss, image_data, tmp_path):
    teacher = batch_norm.stock(generation(image_data, seed=0))
    training = replace(SMALL.training, loss=loss, epochs=1, batch_size=21)
    model = generation(image_data, seed=1)
    before = model.get_weights()
    asked = None if loss == "hard-label" else teacher
    result = fit(
        born_again_shell(model, training, teacher=asked),
        train=live_views.stream(
            image_data.train, augmentation=SMALL.augmentation, seed=1, batch_size=21
        ),
        validation=live_views.for_scoring(image_data.validation),
        training=training,
        directory=tmp_path,
    )
    assert result.epochs == 1
    assert ("teacher_agreement" in result.history[0]) == (loss != "hard-label")
    for earlier, later in zip(before, model.get_weights(), strict=True):
        assert (earlier != later).any()
