"""Images with labels, and a data set as three splits of them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kerasdistill.errors import UserError
from pipelines.sources.source import Source


@dataclass(frozen=True)
class Examples:
    """A source in memory: images uint8 [N, H, W, C], labels int64 [N], sample_ids
    int64 [N]."""

    images: np.ndarray
    labels: np.ndarray
    sample_ids: np.ndarray
    in_memory: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def numbered(cls, images: np.ndarray, labels: np.ndarray) -> "Examples":
        """Examples whose sample ids are their places."""
        labels = np.asarray(labels, np.int64)
        return cls(images, labels, np.arange(len(labels), dtype=np.int64))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.images.shape[1:]

    def read(self, places: np.ndarray) -> np.ndarray:
        """The images at `places`, in that order: uint8 [n, H, W, C]."""
        return self.images[places]

    def take(self, places: np.ndarray) -> "Examples":
        """The examples at `places`, in that order, with their sample ids."""
        columns = (self.images, self.labels, self.sample_ids)
        return Examples(*(column[places] for column in columns))


@dataclass(frozen=True)
class ImageData:
    """A data set cut into train (the transfer set), validation and test.

    `digest` covers every split's pixels, labels and ids and the class names.
    Unlabelled images have label -1, the teacher's class names and an empty test split.
    `notes` says in words what was done to the images or the splits; `drop_duplicates`
    whether repeated images were removed from train.
    """

    name: str
    version: str
    class_names: tuple[str, ...]
    split_seed: int
    train: Source
    validation: Source
    test: Source
    digest: str
    notes: tuple[str, ...] = ()
    drop_duplicates: bool = False

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.train.image_shape

    @property
    def labelled(self) -> bool:
        """Whether there are labels to learn from and to compare with."""
        return bool((self.train.labels >= 0).all())

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def split(self, name: str) -> Source:
        """The split called train, validation or test."""
        if name not in ("train", "validation", "test"):
            raise UserError(f"split {name!r} is not known; use train, validation, test")
        return getattr(self, name)

    def identity(self) -> dict:
        """What a teacher, a distillation set and a student must agree on."""
        identity = {
            "name": self.name,
            "version": self.version,
            "split_seed": self.split_seed,
            "digest": self.digest,
            "num_samples": len(self.train),
        }
        if self.drop_duplicates:  # older runs know nothing of it
            identity["drop_duplicates"] = True
        return identity


@dataclass(frozen=True)
class Request:
    """What a reader is to load: `name` is what stands behind the reader's prefix;
    `strict`: UserError for a file that it cannot read, rather than a note."""

    name: str
    data_dir: str | None
    class_names: tuple[str, ...]  # of unlabelled images
    image_shape: tuple[int, int, int]
    strict: bool = False


@dataclass(frozen=True)
class Raw:
    """A data set as it comes: what it lacks of validation and test is cut from train.

    The sample ids of validation are none of train's.
    """

    name: str
    version: str
    class_names: tuple[str, ...]
    train: Source
    test: Source | None
    notes: tuple[str, ...] = ()
    validation: Source | None = None
