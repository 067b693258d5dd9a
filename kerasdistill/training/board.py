"""What TensorBoard shows of a training: scalars per epoch, the first batch's views."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasdistill import packages

GRID_SIDE = 8  # pictures across and down
_GAP = 2  # pixels between pictures


class Board:
    """Writes every epoch's metrics to `directory`, at the epoch's number from 1.

    Tags are `epoch_loss`, `epoch_accuracy`, `epoch_teacher_agreement`, each with a
    curve of train and one of validation, and `learning_rate`.
    """

    def __init__(self, directory: str | Path):
        self._writers = {
            split: _writer(Path(directory) / split) for split in ("train", "validation")
        }

    def write(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """One point on every curve, of epoch 1 at first."""
        for name, value in metrics.items():
            split = "validation" if name.startswith("val_") else "train"
            name = name.removeprefix("val_")
            tag = name if name == "learning_rate" else f"epoch_{name}"
            with self._writers[split].as_default():  # which flushes, too
                tf.summary.scalar(tag, value, step=epoch)

    def close(self) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()


def write_views(
    directory: str | Path, batch: Mapping[str, Any], *, class_names: Sequence[str] = ()
) -> None:
    """Writes the pictures of a batch as one grid, unless `directory` has it already.

    `batch` is {"image" [B, H, W, 1 or 3], pixels 0-255[, "label" [B]]}. Without
    `class_names` in the labels' order, or without labels, no classes stand beside it.
    """
    directory = Path(directory)
    if any(directory.glob("*.tfevents.*")):
        return
    images = np.asarray(batch["image"])[: GRID_SIDE**2]
    labels = np.asarray(batch["label"]) if "label" in batch else np.empty(0, int)
    names = titles(labels[: GRID_SIDE**2], class_names)
    with closing(_writer(directory)) as w, w.as_default():
        title, pixels = "views of the first batch", grid(images)[None]
        tf.summary.image(title, pixels, step=0, description=names)


def grid(images: np.ndarray) -> np.ndarray:
    """[N, H, W, C] -> uint8 [rows, columns, C]: row by row, white between and after."""
    count, height, width, channels = images.shape
    across = min(GRID_SIDE, count)
    down = -(-count // across)
    cell = (height + _GAP, width + _GAP)
    cells = np.full((down * across, *cell, channels), 255, np.uint8)
    cells[:count, :height, :width] = np.clip(images, 0, 255)
    rows = cells.reshape(down, across, *cell, channels).swapaxes(1, 2)
    return rows.reshape(down * cell[0], -1, channels)[:-_GAP, :-_GAP]


def titles(labels: np.ndarray, class_names: Sequence[str]) -> str:
    """The classes in the grid's order, a Markdown list item for each of its rows."""
    if not class_names or not len(labels):
        return ""
    classes = range(len(class_names))
    names = [class_names[label] if label in classes else "?" for label in labels]
    rows = [names[i : i + GRID_SIDE] for i in range(0, len(names), GRID_SIDE)]
    return "\n".join(f"{n}. {', '.join(row)}" for n, row in enumerate(rows, start=1))


def write_pictures(
    directory: str | Path, pictures: Mapping[str, bytes], numbers: Mapping[str, float]
) -> None:
    """Writes PNG files' contents, and numbers, each under its name, for TensorBoard.

    What an earlier call left in `directory` is replaced.
    """
    directory = Path(directory)
    for old in directory.glob("*.tfevents.*"):
        old.unlink()
    with closing(_writer(directory)) as w, w.as_default():
        for name, content in pictures.items():
            pixels = tf.io.decode_png(content, channels=3)
            tf.summary.image(name, pixels[None], step=0)
        for name, value in numbers.items():
            tf.summary.scalar(name, value, step=0)


def _writer(directory: Path) -> tf.summary.SummaryWriter:
    packages.require("tensorboard", by="what TensorBoard shows of a training")
    return tf.summary.create_file_writer(str(directory))
