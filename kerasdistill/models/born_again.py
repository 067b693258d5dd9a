"""The second paper's networks, whichever family they are of."""

from typing import Any

import keras

from kerasdistill.models import densenet, resnet, wide_resnet
from kerasdistill.recipes.architectures import (
    Architecture,
    BanResNet,
    DenseNet,
    WideResNet,
)

_BUILDERS = {
    WideResNet: wide_resnet.build,
    DenseNet: densenet.build,
    BanResNet: resnet.build,
}


def build(architecture: Architecture, **options: Any) -> keras.Model:
    """The network of `architecture`; options are those of every `build`."""
    return _BUILDERS[type(architecture)](architecture, **options)
