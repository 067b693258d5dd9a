"""Small trainings that end with the same weights on every engine, to rounding.

They begin with weights drawn by NumPy, and nothing in them draws on a backend.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from kerasdistill import objectives
from kerasdistill.models import fast_layers, language
from kerasdistill.models.build import build
from kerasdistill.recipes import born_again
from kerasdistill.recipes.architectures import Lstm
from kerasdistill.recipes.base import Student, TextTraining, Training
from kerasdistill.running.building import shell
from kerasdistill.training.epochs import EpochStream
from kerasdistill.training.fit import fit
from kerasdistill.training.fit_text import fit_text
from kerasdistill.training.language_models import LanguageModel
from kerasdistill.training.perplexity import Scorer
from pipelines.views import live_views
from pipelines.words import text
from tests.conftest import make_examples

CNN = Student(filters=(3, 4), hidden=(6,), bottleneck=None, kernel=3)
RESNET = replace(born_again.architecture("wide-resnet-10-1"), dropout_rate=0.0)
TRAINING = Training(
    learning_rate=0.05, momentum=0.9, batch_size=16, schedule="cosine", epochs=2
)
TEXT = TextTraining(learning_rate=1.0, batch_size=3, window=5, epochs=2, clip_norm=0.5)
CLASSES = 3

# Architecture and objective, whether the teacher is live, and what else is special.
IMAGES = {
    "labels": (CNN, objectives.HardLabel(), False, {}),
    "labels, clipped": (CNN, objectives.HardLabel(), False, {"clip_norm": 0.1}),
    "muon": (CNN, objectives.HardLabel(), False, {"optimizer": "muon"}),
    "weight decay": (
        replace(CNN, weight_decay=1e-2),
        objectives.LogitRegression(),
        False,
        {},
    ),
    "logits": (CNN, objectives.LogitRegression(), False, {}),
    "kd": (CNN, objectives.KnowledgeDistillation(), False, {}),
    "ban+l, live": (CNN, objectives.BanWithLabels(), True, {}),
    "cwtm": (CNN, objectives.ConfidenceWeighted(), False, {}),
    "dkpp, fresh": (CNN, objectives.PermutedPredictions(), True, {}),
    "batch normalisation": (RESNET, objectives.Ban(), True, {}),
}
TEXTS = {
    "text, labels": (objectives.HardLabel(), 0),
    "text, live": (objectives.BanWithLabels(), 2),
}
#: Together these have each part of a step once; the others are combinations.
FEW = ("labels, clipped", "weight decay", "dkpp, fresh", "batch normalisation")
FEW += ("text, live",)
ALL = (*IMAGES, *TEXTS)


def trained(name: str) -> list[np.ndarray]:
    """The losses of the epochs, then the weights at the end."""
    with tempfile.TemporaryDirectory() as folder:
        if name in IMAGES:
            return _images(*IMAGES[name], folder=Path(folder))
        return _text(*TEXTS[name], folder=Path(folder))


def _drawn(model: keras.Model, seed: int) -> keras.Model:
    generator = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        spread = 0.3 if len(variable.shape) > 1 else 0.05
        start = 1.0 if variable.name == "gamma" else 0.0
        variable.assign(start + generator.normal(0, spread, variable.shape))
    return model


def network(architecture, *, seed: int) -> keras.Model:
    """One for images 8x8x3."""
    shape = {"image_shape": (8, 8, 3), "num_classes": CLASSES}
    return _drawn(build(architecture, **shape, seed=0), seed)


def _images(architecture, objective, live, settings, *, folder):
    examples, model = make_examples(41), network(architecture, seed=1)
    teacher = fast_layers.use_fast_layers(network(architecture, seed=2))
    training = replace(TRAINING, objective=objective, **settings)
    made = shell(model, training, ask=teacher if live else None)
    batch = {"image": examples.images, "label": examples.labels}
    batch["sample_id"] = examples.sample_ids
    if not live and objective.learns_from_teacher:
        draw = np.random.default_rng(3).normal(0, 2, (len(examples), CLASSES))
        batch["teacher_logits"] = draw.astype(np.float32)
    result = fit(
        made,
        train=EpochStream(3, 41, lambda epoch: _batches(batch, size=16)),
        validation=live_views.for_scoring(
            make_examples(15, first_id=100), batch_size=8
        ),
        training=training,
        directory=folder,
    )
    losses = [row["loss"] for row in result.history]
    scores = [row["val_accuracy"] for row in result.history]
    return [np.array(losses), np.array(scores), *model.get_weights()]


def _batches(columns, *, size):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(columns).batch(size).repeat()


def _text(objective, teachers, *, folder):
    words = tuple("abcdefgh")

    def model(seed):
        network = Lstm(units=6, layers=1, dropout_rate=0.0)
        return _drawn(language.build(network, words=words, seed=0), seed)

    def cut(count, seed):
        tokens = np.random.default_rng(seed).integers(0, 8, count).astype(np.int32)
        return text.windows(tokens, end=0, streams=3, length=5)

    student, validation = model(1), cut(40, 5)
    asked = [model(10 + number) for number in range(teachers)]
    how = {"streams": 3, "clip_norm": TEXT.clip_norm, "teachers": asked}
    made, scorer = LanguageModel(student, objective, **how), Scorer([student])
    result = fit_text(
        made,
        train=text.stream(cut(100, 4)),
        validate=lambda: scorer.nats(validation)[0],
        training=TEXT,
        directory=folder,
    )
    losses = [(row["loss"], row["val_loss"]) for row in result.history]
    return [np.array(losses), *student.get_weights()]
