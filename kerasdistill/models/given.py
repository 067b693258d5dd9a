"""A student that somebody brought: a file, or a network of Keras Applications."""

import keras

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.files import sha256_file
from kerasdistill.models import applications, loading, plain, wrapping
from kerasdistill.recipes.base import GivenNetwork


def network(source: str) -> GivenNetwork:
    """What stands in a recipe for a `.keras` file or keras:NAME[@SIDE].

    Raises:
        UserError: no such file.
    """
    if source.startswith(applications.PREFIX):
        return GivenNetwork(source=source, sha256=None)
    path = loading.require_file(source)
    return GivenNetwork(str(path.resolve()), sha256_file(path))


def build(
    architecture: GivenNetwork,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    **_: str,
) -> keras.Model:
    """The network as it is: a file's with its weights, another's, and one that was
    saved before it was built, with random ones, which follow from `seed`.

    Where its images have another size or colour, layers that bring them to it come
    first (`wrapping.adapt`). It computes in the precision that it was built with.

    Raises:
        UserError: it cannot be loaded, takes no images or has other classes.
        StaleArtifactError: the file is another than that of the recipe.
    """
    source = architecture.source
    if source.startswith(applications.PREFIX):
        shape = {"image_shape": image_shape, "num_classes": num_classes}
        return applications.application(source, **shape, seed=seed)[0]
    # Weights that it lacks, and what its layers draw in training, follow from it.
    keras.utils.set_random_seed(seed)
    model = loading.load(source)
    if sha256_file(source) != architecture.sha256:
        raise StaleArtifactError(
            f"student {source} has changed since the recipe was made; give the file "
            "again with `student`"
        )
    if isinstance(model, keras.Sequential) and not model.built:
        model.build((None, *image_shape))
    model, _ = plain.plain(model)
    if model.output_shape[1] != num_classes:  # a single one would broadcast silently
        raise UserError(
            f"student {source} gives {model.output_shape}, expected {num_classes} "
            "logits; pass one for these classes"
        )
    shape = {"image_shape": image_shape, "num_classes": num_classes}
    return wrapping.adapt(model, **shape, name="student")[0]
