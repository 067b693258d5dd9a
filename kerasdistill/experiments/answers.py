"""What a model file or a SavedModel says of a data set's images."""

from pathlib import Path

import numpy as np

from kerasdistill import evaluation
from kerasdistill.errors import UserError
from kerasdistill.exports import cards
from kerasdistill.exports import saved_model as export
from kerasdistill.models import loading
from pipelines.datasets import ImageData


def logits_of(path: str | Path, images: np.ndarray, data: ImageData) -> np.ndarray:
    """float32 [N, classes] of uint8 images [N, H, W, C], by a model of these data.

    Args:
        path: a `.keras` file or a SavedModel, pixels 0-255 to logits.
        images: of the data set.
        data: tells the classes.

    Raises:
        UserError: it takes other images, or knows other classes or another order.
        StaleArtifactError: it is not what its card describes.
    """
    if Path(path).is_dir():
        card = cards.read_card(path)
        logits = export.scored(path, images)
    else:
        model = loading.load(path)
        if not loading.takes(model, data.image_shape):
            raise UserError(
                f"{path} takes {tuple(model.input_shape)[1:]}, {data.name} has images "
                f"of {data.image_shape}; name its own data set with --dataset"
            )
        card = cards.own_card(path, model)
        logits = evaluation.predict(model, images)
    if logits.shape[1:] != (data.num_classes,):
        raise UserError(
            f"{path} gives logits of shape {logits.shape[1:]} for other classes than "
            f"{data.name} has, {data.num_classes}; name its own data set with --dataset"
        )
    names = list(data.class_names)
    if card is not None and card.get("class_names", names) != names:
        raise UserError(
            f"{path} knows other classes, or in another order, than {data.name} has; "
            "name its own data set with --dataset"
        )
    return logits
