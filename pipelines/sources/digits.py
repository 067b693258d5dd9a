"""scikit-learn's digits: small, and always there."""

import numpy as np

from kerasdistill import packages
from pipelines.sources.examples import Examples, Raw, Request
from pipelines.sources.shapes import in_words


def read(request: Request) -> Raw:
    """1,797 grey images of hand-written digits."""
    packages.require("sklearn", "PIL", by="data set 'digits'")
    from PIL import Image
    from sklearn.datasets import load_digits

    from pipelines.sources.images import square

    shape, bunch = request.image_shape, load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = np.stack([square(Image.fromarray(p), shape) for p in pixels])
    return Raw(
        name="digits",
        version="scikit-learn",
        class_names=tuple(str(name) for name in bunch.target_names),
        train=Examples.numbered(images, bunch.target),
        test=None,
        notes=(f"8x8 grey images were brought to {in_words(shape)}",),
    )
