"""Images with labels, and a data set as three splits of them."""

from dataclasses import dataclass

import numpy as np

from kerasdistill.errors import UserError


@dataclass(frozen=True)
class Examples:
    """images uint8 [N, H, W, C], labels int64 [N], sample_ids int64 [N]."""

    images: np.ndarray
    labels: np.ndarray
    sample_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def numbered(cls, images: np.ndarray, labels: np.ndarray) -> "Examples":
        """Examples whose sample ids are their places."""
        labels = np.asarray(labels, np.int64)
        return cls(images, labels, np.arange(len(labels), dtype=np.int64))

    def take(self, indices: np.ndarray) -> "Examples":
        """The examples at `indices`, in that order, with their sample ids."""
        return Examples(
            self.images[indices], self.labels[indices], self.sample_ids[indices]
        )


@dataclass(frozen=True)
class ImageData:
    """A data set cut into train (the transfer set), validation and test.

    `digest` covers every split's pixels, labels and ids and the class names.
    Unlabelled images have label -1, the teacher's class names and an empty test split.
    `notes` says in words what was done to the images or the splits.
    """

    name: str
    version: str
    class_names: tuple[str, ...]
    split_seed: int
    train: Examples
    validation: Examples
    test: Examples
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.train.images.shape[1:]

    @property
    def labelled(self) -> bool:
        """Whether there are labels to learn from and to compare with."""
        return bool((self.train.labels >= 0).all())

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def split(self, name: str) -> Examples:
        """The split called train, validation or test."""
        if name not in ("train", "validation", "test"):
            raise UserError(
                f"split {name!r} is not known; use train, validation or test"
            )
        return getattr(self, name)

    def identity(self) -> dict:
        """What a teacher, a distillation set and a student must agree on."""
        return {
            "name": self.name,
            "version": self.version,
            "split_seed": self.split_seed,
            "digest": self.digest,
            "num_samples": len(self.train),
        }


@dataclass(frozen=True)
class Raw:
    """A data set as it comes: train is not cut yet, test may be missing."""

    name: str
    version: str
    class_names: tuple[str, ...]
    train: Examples
    test: Examples | None
    notes: tuple[str, ...] = ()
