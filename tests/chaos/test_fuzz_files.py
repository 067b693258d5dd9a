"""Whatever lies in a file: it is read, or refused by name; never a traceback."""

import json
import os
import shutil
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kerasdistill.errors import UserError
from kerasdistill.files import sha256_file
from pipelines import datasets, distillation_set
from pipelines.stored.integrity import parse_manifest, sealed
from pipelines.words import text
from tests.chaos.fuzzing import SLOW, cases, ends_well
from tests.chaos.test_fuzz_requests import JSON, places, put

SHORT_AND_LONG = pytest.mark.parametrize("part", [1, pytest.param(50, marks=SLOW)])


@pytest.fixture(scope="module")
def small(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "set"
    return Path(shutil.copytree(inputs.images, folder))


@SHORT_AND_LONG
def test_manifests(small, part):
    """Fields of any kind, under a checksum that fits; and any bytes at all."""
    content = (small / "manifest.json").read_bytes()
    value = json.loads(content)
    value.pop("manifest_sha256")
    spots = list(places(value))

    def read(written: bytes):
        return ends_well(lambda: parse_manifest(written, where="manifest.json"))

    def field(where, new):
        mutated = put(value, spots[where % len(spots)], new)
        whole = sealed(mutated) if isinstance(mutated, dict) else mutated
        found = read(json.dumps(whole).encode())
        if not isinstance(found, UserError):
            assert found.layout.shard_names() == [shard.name for shard in found.shards]

    def spliced(position, junk):
        at = position % len(content)
        found = read(content[:at] + junk + content[at + len(junk) :])
        assert isinstance(found, UserError) or junk == content[at : at + len(junk)]

    huge = st.sampled_from([10**18, 10**9, -1, 0, 2**63])
    cases(30 * part)(given(st.integers(0, 10**6), JSON | huge)(field))()
    cases(30 * part)(given(st.integers(0, 10**6), st.binary(max_size=9))(spliced))()


FEATURES = (
    "labels",
    "sample_ids",
    "logits",
    "image",
    "pixel_fingerprint",
    "pass_index",
)


@SHORT_AND_LONG
def test_shards(small, part):
    """Records of any kind in a file that TensorFlow reads, under fitting checksums."""
    original = json.loads((small / "manifest.json").read_text())
    name = original["shards"][0]["name"]
    content = (small / name).read_bytes()
    record = next(tf.data.TFRecordDataset(str(small / name)).as_numpy_iterator())

    def read(written: bytes):
        with tf.io.TFRecordWriter(str(small / name)) as writer:
            writer.write(written)
        value = json.loads(json.dumps(original))
        value.pop("manifest_sha256")
        digest = sha256_file(small / name)
        size = (small / name).stat().st_size
        value["shards"][0] |= {"sha256": digest, "bytes": size}
        (small / "manifest.json").write_text(json.dumps(sealed(value)))

        def batches():
            opened = distillation_set.open(small)
            with opened.reading():
                return list(opened.dataset(16, passes=1).as_numpy_iterator())

        return ends_well(batches)

    def spliced(position, junk):
        at = position % len(record)
        read(record[:at] + junk + record[at + len(junk) :])

    def feature(which, kind, values):
        example = tf.train.Example.FromString(record)
        example.features.feature[which].CopyFrom(
            {
                "none": lambda: tf.train.Feature(),
                "ints": lambda: tf.train.Feature(
                    int64_list=tf.train.Int64List(value=list(values))
                ),
                "bytes": lambda: tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[values])
                ),
            }[kind]()
        )
        read(example.SerializeToString())

    try:
        short = st.binary(max_size=40)
        cases(5 * part)(given(st.integers(0, 10**6), short)(spliced))()
        kinds = st.sampled_from(["none", "ints", "bytes"])
        cases(5 * part)(given(st.sampled_from(FEATURES), kinds, short)(feature))()
    finally:
        (small / name).write_bytes(content)
        (small / "manifest.json").write_text(json.dumps(original))


MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F")
FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "ICO")
NAMES = st.text(max_size=8).map(lambda name: name.replace("/", "").replace("\0", ""))


@st.composite
def image_bytes(draw) -> bytes:
    """An image of any kind, whole, cut off or with something else in it."""
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    mode = draw(st.sampled_from((*MODES, "I;16")))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    if mode == "I;16":
        pixels = generator.integers(0, 2**16, (height, width), np.uint16)
        image = Image.fromarray(pixels)
    else:
        pixels = generator.integers(0, 256, (height, width, 3), np.uint8)
        image = Image.fromarray(pixels)
        if mode in ("LAB", "HSV", "LA", "I", "F"):
            image = Image.new(mode, (width, height), draw(st.integers(0, 255)))
        else:
            image = image.convert(mode)
    options = {}
    kind = draw(st.sampled_from(FORMATS))
    if draw(st.booleans()):
        exif = Image.Exif()
        exif[0x0112] = draw(st.integers(0, 9))  # the way it is turned
        options["exif"] = exif
    if kind in ("GIF", "WEBP", "TIFF") and draw(st.booleans()):
        options |= {"save_all": True, "append_images": [image, image]}
    file = BytesIO()
    try:
        image.save(file, kind, **options)
    except (OSError, ValueError, KeyError):  # no such mode in this format
        return draw(st.binary(max_size=60))
    content = file.getvalue()
    how = draw(st.sampled_from(["whole", "whole", "cut", "spliced", "nothing"]))
    at = draw(st.integers(0, len(content)))
    junk = draw(st.binary(max_size=8))
    return {
        "whole": content,
        "cut": content[:at],
        "spliced": content[:at] + junk + content[at + len(junk) :],
        "nothing": b"",
    }[how]


@SHORT_AND_LONG
@pytest.mark.filterwarnings("ignore::Warning")  # Pillow's, about what it repairs
def test_image_folders(part):
    """Files of any kind and name in class folders of any name."""

    def folder(classes, files, extra):
        with tempfile.TemporaryDirectory() as place:
            root = Path(place)
            paths = [root / "train" / (name or "x") for name in classes]
            for path in paths:
                path.mkdir(parents=True, exist_ok=True)
            for number, (which, name, content) in enumerate(files):
                path = paths[which % len(paths)] / f"{number}{name}"
                path.write_bytes(content)
            if extra == "loop":
                (paths[0] / "loop").symlink_to(paths[0] / "loop")
            elif extra == "link":
                (root / "train" / "linked").symlink_to(paths[-1])
            elif extra == "bytes":
                os.mkdir(os.fsencode(root / "train") + b"/\xff\xfe")
            elif extra == "pipe":
                os.mkfifo(paths[0] / "pipe")
            found = ends_well(lambda: datasets.load(f"folder:{root}"))
            if not isinstance(found, UserError):
                assert found.image_shape == (32, 32, 3)
                assert found.train.images.dtype == np.uint8
                assert len(found.digest) == 64
                json.dumps(found.identity(), allow_nan=False)
            ends_well(
                lambda: datasets.load(f"unlabelled:{root}", class_names=("a", "b"))
            )

    file = st.tuples(st.integers(0, 3), NAMES, image_bytes())
    cases(12 * part)(
        given(
            st.lists(NAMES, min_size=1, max_size=3),
            st.lists(file, max_size=9),
            st.sampled_from(["", "loop", "link", "bytes", "pipe"]),
        )(folder)
    )()


SPLIT_NAMES = ("train.txt", "valid.txt", "validation.txt", "test.txt", "a.train.txt")
LINES = st.lists(
    st.sampled_from(["a", "b c", "<unk>", "<eos>", "", "\r", "\x00", "\u2028", "é\tß"])
    | st.text(max_size=6),
    max_size=8,
).map("\n".join)
TEXTS = LINES.map(lambda text: text.encode(errors="surrogatepass"))


@SHORT_AND_LONG
def test_text_folders(part):
    """Files of any content, missing, or of another kind."""

    def folder(texts, others, stranger):
        with tempfile.TemporaryDirectory() as place:
            root = Path(place)
            splits = zip(("train.txt", "valid.txt", "test.txt"), texts, strict=True)
            for name, content in {**dict(splits), **others}.items():
                (root / name).write_bytes(content)
            name, kind = stranger
            if kind:
                (root / name).unlink(missing_ok=True)
            if kind == "folder":
                (root / name).mkdir()
            elif kind == "loop":
                (root / name).symlink_to(root / name)
            elif kind == "pipe":
                os.mkfifo(root / name)
            found = ends_well(lambda: text.load(root))
            if isinstance(found, UserError):
                return
            assert {text.END, text.UNKNOWN} <= set(found.words)
            for split in ("train", "validation", "test"):
                ids = found.split(split)
                assert len(ids) and 0 <= ids.min() and ids.max() < len(found.words)
            json.dumps(found.identity(), allow_nan=False)

    contents = TEXTS | st.binary(max_size=9)
    cases(20 * part)(
        given(
            st.tuples(contents, contents, contents),
            st.dictionaries(st.sampled_from(SPLIT_NAMES), contents, max_size=2),
            st.tuples(
                st.sampled_from(SPLIT_NAMES),
                st.sampled_from(["", "", "missing", "folder", "loop", "pipe"]),
            ),
        )(folder)
    )()
