"""Layers by arithmetic: the same rows as Keras lists of the network that is built."""

import math
from dataclasses import replace

import numpy as np
import pytest

from kerasdistill.errors import UserError
from kerasdistill.models import language, summary
from kerasdistill.models.build import build
from kerasdistill.recipes import layers
from kerasdistill.recipes.architectures import (
    BanResNet,
    CharCnnLstm,
    DenseNet,
    Lstm,
    WideResNet,
)
from kerasdistill.recipes.base import CnnTeacher, FastTeacher, Student

SIZES = [
    {"image_shape": (32, 32, 3), "num_classes": 10},
    {"image_shape": (29, 37, 1), "num_classes": 7},
]
RATES = (0.1, 0.2, 0.3, 0.4, 0.5)
ON_IMAGES = [
    CnnTeacher((3, 4, 5), 6, RATES, 1e-4, 1.0),
    FastTeacher((4, 6, 5)),
    Student((), (7,), 3),
    Student((), (7, 5, 6), None, input_scale=2.0, dropout_rates=(0.1,)),
    Student((6,), (7,), 3, pool=3, pool_stride=2),
    Student((6,), (7,), None, pool=3, dropout_rates=RATES[:2]),
    Student((3, 4), (7,), None, kernel=3),
    Student((3, 4, 5), (7,), None, dropout_rates=RATES[:4]),
    Student((3, 4, 5, 6), (7,), None),
    WideResNet(units=1, width=1),
    WideResNet(units=2, width=2, dropout_rate=0.0),
    DenseNet(stem=6, growths=((2, 3), (4,), (3, 3)), transitions=(5, 7)),
    DenseNet(stem=6, growths=((2,), (4, 1), (3,)), transitions=(5, 7, 6)),
    BanResNet("wide", units=2, ratio=0.5, stem=8, sizes=(8, 12, 12)),
    BanResNet("pre", units=2, ratio=0.5, stem=8, sizes=(8, 12, 12)),
    BanResNet("pre", units=1, ratio=1.5, stem=6, sizes=(8, 8, 16)),
]
ON_WORDS = [
    Lstm(units=5, layers=2, dropout_rate=0.2),
    Lstm(units=4, layers=1, dropout_rate=0.0),
    CharCnnLstm(3, (1, 2, 4), (2, 3, 2), 2, units=5, layers=2, dropout_rate=0.5),
    CharCnnLstm(2, (1, 9), (2, 3), 1, units=4, layers=3, dropout_rate=0.0),
]


def kinds(network) -> str:
    return type(network).__name__


def keras_rows(model) -> list[dict]:
    """What Keras says of a model's layers; None is a side that is not fixed."""
    rows = []
    for layer in model.layers:
        outputs = layer.output
        several = isinstance(outputs, list | tuple)
        shapes = [
            list(tensor.shape[1:]) for tensor in (outputs if several else [outputs])
        ]
        count = sum(math.prod(weight.shape) for weight in layer.trainable_variables)
        rows.append(
            {
                "name": layer.name,
                "kind": type(layer).__name__,
                "output_shape": shapes if several else shapes[0],
                "num_params": count,
            }
        )
    return rows


def test_every_family_is_compared():
    assert {type(each) for each in (*ON_IMAGES, *ON_WORDS)} == layers.LAYERS.keys()


@pytest.mark.parametrize("size", SIZES, ids=("colour", "grey"))
@pytest.mark.parametrize("network", ON_IMAGES, ids=kinds)
def test_networks_on_images_have_keras_rows(network, size):
    images = np.zeros((1, *size["image_shape"]), np.uint8)
    model = build(network, **size, images=images)
    rows = layers.table(network, **size)
    assert rows == keras_rows(model)
    assert layers.num_params(rows) == summary.num_trainable(model)


@pytest.mark.parametrize("network", ON_WORDS, ids=kinds)
def test_language_models_have_keras_rows(network):
    words = ("cab", "be", "<unk>", "a")
    model = language.build(network, words=words)
    spelled = {"num_characters": 9 + 3, "word_length": 5 + 2}
    if isinstance(network, Lstm):
        spelled = {}
    rows = layers.table(network, num_words=4, **spelled)
    assert rows == keras_rows(model)
    assert layers.num_params(rows) == summary.num_trainable(model)


def test_images_that_poolings_use_up_are_refused():
    network = replace(ON_IMAGES[0], dense=3)
    with pytest.raises(UserError, match="pool_3"):
        layers.table(network, image_shape=(7, 7, 3), num_classes=2)
