"""A student that somebody brought: a file, or a network of Keras Applications."""

from pathlib import Path

import keras

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.files import sha256_file
from kerasdistill.models import loading, wrapping
from kerasdistill.recipes.base import GivenNetwork


def network(source: str) -> GivenNetwork:
    """What stands in a recipe for a `.keras` file or keras:NAME[@SIDE].

    Raises:
        UserError: no such file.
    """
    if source.startswith(wrapping.APPLICATION):
        return GivenNetwork(source=source, sha256=None)
    if not Path(source).is_file():
        raise UserError(
            f"student {source} does not exist; pass a .keras file or keras:NAME"
        )
    return GivenNetwork(str(Path(source).resolve()), sha256_file(source))


def build(
    architecture: GivenNetwork,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    **_: str,
) -> keras.Model:
    """The network as it is: a file's with its weights, another's with random ones.

    Where its images have another size or colour, layers that bring them to it come
    first (`wrapping.adapt`). It computes in the precision that it was built with.

    Raises:
        UserError: it cannot be loaded, ends in a softmax or has other classes.
        StaleArtifactError: the file is another than that of the recipe.
    """
    source = architecture.source
    if source.startswith(wrapping.APPLICATION):
        shape = {"image_shape": image_shape, "num_classes": num_classes}
        return wrapping.application(source, **shape, seed=seed)[0]
    model = loading.load(source)
    if sha256_file(source) != architecture.sha256:
        raise StaleArtifactError(
            f"student {source} has changed since the recipe was made; give the file "
            "again with --student"
        )
    if model.output_shape != (None, num_classes):
        raise UserError(
            f"student {source} gives {model.output_shape}, expected {num_classes} "
            "logits; pass one for these classes"
        )
    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax) or (
        getattr(last, "activation", None) is keras.activations.softmax
    ):
        raise UserError(
            f"student {source} ends in a softmax, expected logits; save it without"
        )
    return wrapping.adapt(model, image_shape=image_shape, name="student")[0]
