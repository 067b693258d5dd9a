"""Data sets: splits, odd images, and every refusal."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from kerasdistill.errors import UserError
from pipelines import datasets
from pipelines.sources import images
from pipelines.sources import tfds as tfds_source

SHARED = ("train", "validation", "test")


def picture(seed: int = 0, size: tuple[int, int] = (32, 32)) -> Image.Image:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def make_folder(
    root: Path, classes=("cat", "dog"), count: int = 6, split: str = "train"
) -> Path:
    for index, name in enumerate(classes):
        directory = root / split / name
        directory.mkdir(parents=True)
        for number in range(count):
            picture(100 * index + number).save(directory / f"{number:03}.png")
    return root


def load_folder(root: Path, **options):
    return datasets.load(f"folder:{root}", **options)


def by_id(*splits) -> dict[int, bytes]:
    return {
        int(sample_id): image.tobytes()
        for split in splits
        for sample_id, image in zip(split.sample_ids, split.images, strict=True)
    }


# Digits


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


def test_digits_are_cut_into_stratified_fifths(digits):
    assert digits.class_names == tuple("0123456789")
    assert digits.image_shape == (32, 32, 3) and digits.num_classes == 10
    assert [len(digits.split(name)) for name in SHARED] == [1151, 287, 359]
    whole = sum(np.bincount(digits.split(name).labels) for name in SHARED)
    assert whole.sum() == 1797  # all of scikit-learn's digits
    test = np.bincount(digits.test.labels)
    np.testing.assert_array_equal(test, np.rint(whole / 5))
    validation = np.bincount(digits.validation.labels)
    np.testing.assert_array_equal(validation, np.rint((whole - test) / 5))
    ids = [digits.split(name).sample_ids for name in SHARED]
    np.testing.assert_array_equal(np.sort(np.concatenate(ids)), np.arange(1797))


def test_digits_are_grey_and_keep_their_brightness(digits):
    from sklearn.datasets import load_digits

    pixels = digits.train.images
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])
    original = load_digits().images[digits.train.sample_ids[0]] * 255 / 16
    shrunk = pixels[0, ..., 0].reshape(8, 4, 8, 4).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), original.ravel())[0, 1] > 0.99


def test_the_split_seed_alone_fixes_the_split(digits):
    again, other = datasets.load("digits"), datasets.load("digits", split_seed=1)
    for name in SHARED:
        expected, found = digits.split(name), again.split(name)
        np.testing.assert_array_equal(found.sample_ids, expected.sample_ids)
        np.testing.assert_array_equal(found.images, expected.images)
    assert again.identity() == digits.identity()
    assert other.digest != digits.digest
    assert set(other.test.sample_ids) != set(digits.test.sample_ids)
    everything = [digits.split(name) for name in SHARED]
    assert by_id(*everything) == by_id(*(other.split(name) for name in SHARED))


def test_quick_keeps_part_of_each_split(digits, monkeypatch):
    most = {"train": 100, "validation": 50, "test": 1_000}
    monkeypatch.setattr(datasets, "QUICK_EXAMPLES", most)
    quick = datasets.load("digits", quick=True)
    assert [len(quick.split(name)) for name in SHARED] == [100, 50, 359]
    assert quick.digest != digits.digest
    assert set(quick.train.sample_ids) < set(digits.train.sample_ids)
    assert set(quick.validation.sample_ids) < set(digits.validation.sample_ids)


def test_an_unknown_split_is_refused(digits):
    with pytest.raises(UserError, match="'dev' is not known; use train, validation"):
        digits.split("dev")


# Image folders


def test_a_folder_has_its_classes_and_files_in_name_order(tmp_path):
    make_folder(tmp_path, classes=("zebra", "ant", "Bee"))
    make_folder(tmp_path, classes=("zebra", "ant", "Bee"), count=2, split="test")
    data = load_folder(tmp_path)
    assert data.class_names == ("Bee", "ant", "zebra")
    assert [len(data.split(name)) for name in SHARED] == [15, 3, 6]
    # A 32x32 RGB image is taken as it is.
    whole = by_id(data.train, data.validation)
    first_of_each = [picture(200), picture(100), picture(0)]  # as make_folder wrote
    for place, expected in zip((0, 6, 12), first_of_each, strict=True):
        assert whole[place] == expected.tobytes()
    np.testing.assert_array_equal(data.test.labels, [0, 0, 1, 1, 2, 2])


def test_the_same_folder_is_the_same_data_from_anywhere(tmp_path, monkeypatch):
    make_folder(tmp_path / "pets")
    absolute = load_folder(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    assert datasets.load("folder:./pets").identity() == absolute.identity()


def test_a_missing_test_split_is_cut_from_train_and_said(tmp_path, capsys):
    data = load_folder(make_folder(tmp_path, count=10))
    assert [len(data.split(name)) for name in SHARED] == [12, 4, 4]
    np.testing.assert_array_equal(np.bincount(data.test.labels), [2, 2])
    said = capsys.readouterr()
    assert "no test split: 4 images were cut from train for it" in said.err
    assert "brought to 32x32 by their short side" in said.err
    assert said.out == ""
    assert not set(data.train.sample_ids) & set(data.test.sample_ids)


def test_hidden_files_and_folders_are_left_out(tmp_path):
    make_folder(tmp_path)
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "cat" / ".DS_Store").write_bytes(b"\x00junk")
    data = load_folder(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert sum(len(data.split(name)) for name in SHARED) == 12


def read(path: Path, image: Image.Image, **options) -> np.ndarray:
    image.save(path, **options)
    pixels = images.read_square(path)
    assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8
    return pixels


GREYS = np.linspace(0, 255, 32 * 32).astype(np.uint8).reshape(32, 32)
AS_RGB = np.repeat(GREYS[..., None], 3, axis=2)


def test_grey_and_bilevel_images_become_rgb(tmp_path):
    made = read(tmp_path / "grey.png", Image.fromarray(GREYS))
    np.testing.assert_array_equal(made, AS_RGB)
    bilevel = Image.fromarray(GREYS > 127)
    np.testing.assert_array_equal(
        read(tmp_path / "bits.png", bilevel), 255 * (AS_RGB > 127)
    )


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(colours * share + 255 * (1 - share))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_white(tmp_path, mode):
    image = picture(3).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    alpha = np.asarray(picture(4))[..., 0]
    image.putalpha(Image.fromarray(alpha))
    made = read(tmp_path / "alpha.png", image)
    np.testing.assert_allclose(made, on_white(expected, alpha), atol=1)
    image.putalpha(255)
    np.testing.assert_array_equal(read(tmp_path / "opaque.png", image), expected)


def test_palettes_become_rgb_without_a_warning(tmp_path):
    image = picture(4).quantize(16)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read(tmp_path / "palette.png", image), expected)
    # Partly transparent palette entries: Pillow warns about converting those.
    transparent = read(tmp_path / "alpha.png", image, transparency=bytes([9, 99]))
    alpha = np.array([9, 99] + 14 * [255])[np.asarray(image)]
    np.testing.assert_allclose(transparent, on_white(expected, alpha), atol=1)


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, name):
    deep = Image.fromarray(GREYS.astype(np.uint16) * 257)
    assert deep.mode.startswith("I;16")
    np.testing.assert_array_equal(read(tmp_path / name, deep), AS_RGB)


def test_thirty_two_bit_integers_count_as_sixteen_bits(tmp_path):
    deep = Image.fromarray(GREYS.astype(np.int32) * 257)
    np.testing.assert_array_equal(read(tmp_path / "deep.tiff", deep), AS_RGB)


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.zeros((32, 32), np.float32)).save(tmp_path / "real.tiff")
    with pytest.raises(ValueError, match="floating-point"):
        images.read_square(tmp_path / "real.tiff")


def test_cmyk_becomes_rgb(tmp_path):
    red = Image.new("RGB", (40, 40), (255, 0, 0)).convert("CMYK")
    made = read(tmp_path / "print.tiff", red)
    np.testing.assert_allclose(made, np.broadcast_to([255, 0, 0], made.shape), atol=2)


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("blue", "red", "lime")]
    made = read(
        tmp_path / "moving.gif", frames[0], save_all=True, append_images=frames[1:]
    )
    np.testing.assert_array_equal(made[5, 5], [0, 0, 255])


def test_exif_rotation_is_applied(tmp_path):
    upright = np.asarray(picture(6))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise puts it upright
    lying = Image.fromarray(np.rot90(upright))
    made = read(tmp_path / "phone.png", lying, exif=exif)
    np.testing.assert_array_equal(made, upright)


@pytest.mark.parametrize("size", [(96, 64), (64, 96), (20, 10), (32, 40), (200, 64)])
def test_the_centre_square_is_kept(tmp_path, size):
    width, height = size
    side = min(size)
    pixels = np.zeros((height, width, 3), np.uint8)  # black outside the centre
    left, top = (width - side) // 2, (height - side) // 2
    pixels[top : top + side, left : left + side] = 200
    made = read(tmp_path / "wide.png", Image.fromarray(pixels))
    # Cutting comes after resizing, whose cubic kernel reaches two pixels far.
    edge = math.ceil(2 * max(1.0, 32 / side))
    np.testing.assert_array_equal(made[edge:-edge, edge:-edge], 200)


def test_a_line_of_pixels_is_an_image_too(tmp_path):
    made = read(tmp_path / "line.png", Image.new("RGB", (1, 9), (9, 8, 7)))
    np.testing.assert_array_equal(made, np.broadcast_to([9, 8, 7], made.shape))


def test_shrinking_is_antialiased(tmp_path):
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    made = read(tmp_path / "stripes.png", Image.fromarray(stripes))
    np.testing.assert_allclose(made[4:-4, 4:-4].astype(int), 127, atol=3)


def damaged(directory: Path, kind: str) -> None:
    file = directory / "bad.png"
    picture(8, (64, 64)).save(file)
    whole = file.read_bytes()
    contents = {"text": b"not an image", "empty": b"", "cut": whole[: len(whole) // 2]}
    file.write_bytes(contents[kind])


@pytest.mark.parametrize("kind", ["text", "empty", "cut"])
def test_a_corrupt_image_is_named(tmp_path, kind):
    make_folder(tmp_path)
    expected = load_folder(tmp_path)
    damaged(tmp_path / "train" / "dog", kind)
    data = load_folder(tmp_path)
    assert data.identity() == expected.identity()
    (note,) = set(data.notes) - set(expected.notes)
    assert note.startswith("1 file was skipped") and "train/dog/bad.png: " in note
    with pytest.raises(UserError, match="train/dog/bad.png: ") as error:
        load_folder(tmp_path, strict=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: None, "has no train/ inside; expected train/<class>/<image>"),
        (lambda root: (root / "train").mkdir(), "0 class folders, expected at least"),
        (lambda root: make_folder(root, classes=("cat",)), "1 class folders"),
        (
            lambda root: make_folder(root, count=0),
            "train holds no images; expected <class>/<image> files",
        ),
        (
            lambda root: make_folder(make_folder(root), classes=("eel",), split="test"),
            "a class that train/ lacks: eel",
        ),
        (
            lambda root: make_folder(make_folder(root), count=0, split="test"),
            "test holds no images",
        ),
    ],
)
def test_a_folder_of_another_shape_is_refused(tmp_path, prepare, message):
    prepare(tmp_path)
    with pytest.raises(UserError, match=message):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("count", "with_test", "enough"),
    [(1, True, False), (2, True, True), (2, False, False), (3, False, True)],
)
def test_every_class_reaches_every_split_or_is_named(
    tmp_path, count, with_test, enough
):
    make_folder(tmp_path)
    for number in range(count):
        rare = tmp_path / "train" / "rare"
        rare.mkdir(exist_ok=True)
        picture(number).save(rare / f"{number}.png")
    if with_test:
        make_folder(tmp_path, count=1, split="test")
    if enough:
        data = load_folder(tmp_path)
        assert 2 in data.train.labels and 2 in data.validation.labels
        assert with_test or 2 in data.test.labels
    else:
        needed = count + 1
        with pytest.raises(UserError, match=f"'rare' has {count} .*at least {needed}"):
            load_folder(tmp_path)


# TFDS names


@pytest.fixture
def offline(monkeypatch):
    def unreachable(url, **options):
        assert options["timeout"] <= 15
        raise requests.ConnectionError(f"cannot resolve {url}")

    monkeypatch.setattr(requests, "get", unreachable)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifar11", "did you mean 'cifar1"),
        ("CIFAR10", "did you mean 'cifar10'"),
        ("digit", "did you mean 'digits'"),
        ("qqqqqqqq", "expected digits, folder:PATH or the name of a TFDS"),
        ("no such set", "expected digits"),
        ("", "expected digits"),
        ("huggingface:none", "expected digits"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(tmp_path, capsys, name, hint):
    with pytest.raises(UserError, match=f"^data set '{name}' is not known") as error:
        datasets.load(name, data_dir=str(tmp_path))
    assert hint in str(error.value) and "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_a_path_without_its_prefix_is_recognised(tmp_path, monkeypatch):
    make_folder(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="did you mean 'folder:pets'"):
        datasets.load("pets", data_dir=str(tmp_path))


@pytest.mark.parametrize("name", ["cifar10:9.9.9", "cifar10/huge"])
def test_an_unknown_version_or_variant_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=f"'{name}' cannot be opened: ") as error:
        datasets.load(name, data_dir=str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_known_set_that_cannot_be_had_is_refused_at_once(tmp_path, offline, capsys):
    with pytest.raises(UserError) as error:
        datasets.load("mnist", data_dir=str(tmp_path))
    message = str(error.value)
    assert "'mnist' is neither under" in message and str(tmp_path) in message
    assert "storage.googleapis.com cannot be reached" in message
    assert "`data_dir`" in message and "\n" not in message
    announced = capsys.readouterr().err
    assert "downloading mnist (up to 12 MB) to" in announced


def test_a_host_that_fails_counts_as_unreachable(tmp_path, monkeypatch):
    class Unavailable:
        status_code = 503

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            return None

    monkeypatch.setattr(requests, "get", lambda url, **options: Unavailable())
    with pytest.raises(UserError, match="answers with status 503"):
        datasets.load("mnist", data_dir=str(tmp_path))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The data_dir of a set of TFDS's own kind, with no network: 48x64 images."""
    import tensorflow_datasets as tfds

    class TinyShapes(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.2.0")
        MANUAL_DOWNLOAD_INSTRUCTIONS = None

        def _info(self):
            label = tfds.features.ClassLabel(names=["round", "edgy"])
            image = tfds.features.Image(shape=(48, 64, 1))
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return self.dataset_info_from_configs(features=features)

        def _split_generators(self, manager):
            return {"train": self._generate_examples(20)}

        def _generate_examples(self, count):
            for index in range(count):
                pixels = np.full((48, 64, 1), 10 * index, np.uint8)
                pixels[24:] += 9
                yield index, {"image": pixels, "label": index % 2}

    root = tmp_path_factory.mktemp("tfds")
    datasets.load("tiny_shapes", data_dir=str(root))
    return root


def test_any_image_classification_set_is_taken(tiny, capsys):
    data = datasets.load("tiny_shapes", data_dir=str(tiny))
    assert (data.name, data.version) == ("tiny_shapes", "1.2.0")
    assert data.class_names == ("round", "edgy") and data.image_shape == (32, 32, 3)
    assert [len(data.split(name)) for name in SHARED] == [12, 4, 4]
    for name in SHARED:
        grey = data.split(name).images[:, 0, 0, 0]
        np.testing.assert_array_equal(data.split(name).labels, grey // 10 % 2)
    said = capsys.readouterr().err
    assert "no test split" in said and "brought to 32x32x3" in said
    assert "downloading" not in said


def test_the_order_of_a_prepared_set_never_changes(tiny):
    first, again = (datasets.load("tiny_shapes", data_dir=str(tiny)) for _ in range(2))
    assert first.digest == again.digest
    for name in SHARED:
        np.testing.assert_array_equal(
            first.split(name).images, again.split(name).images
        )


def test_a_damaged_prepared_set_is_refused(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "copy")
    (record,) = (tmp_path / "copy").rglob("*.tfrecord*")
    contents = bytearray(record.read_bytes())
    contents[len(contents) // 2] ^= 0xFF
    record.write_bytes(contents)
    with pytest.raises(UserError, match="'tiny_shapes' under .* cannot be read"):
        datasets.load("tiny_shapes", data_dir=str(tmp_path / "copy"))


@pytest.mark.parametrize(
    ("features", "reason"),
    [({"image": None, "text": None}, "image, text"), ({"label": None}, "label")],
)
def test_a_set_of_another_kind_is_refused(features, reason):
    with pytest.raises(UserError, match=f"no 'image' and 'label' .*{reason}"):
        tfds_source._class_names(features, "imdb_reviews")


# CIFAR-10, where it is prepared


@pytest.mark.slow
def test_cifar10_is_split_as_the_paper_does(tfds_dir):
    data = datasets.load("cifar10", data_dir=tfds_dir)
    assert [len(data.split(name)) for name in SHARED] == [40_000, 10_000, 10_000]
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    assert data.class_names == tuple(names.split())
    for name, count in (("train", 4_000), ("validation", 1_000), ("test", 1_000)):
        np.testing.assert_array_equal(np.bincount(data.split(name).labels), count)
    ids = np.concatenate([data.train.sample_ids, data.validation.sample_ids])
    np.testing.assert_array_equal(np.sort(ids), np.arange(50_000))
    assert data.notes == () and data.image_shape == (32, 32, 3)
    # The same images in the same order: sample ids and so the views depend on it.
    assert data.train.sample_ids[:5].tolist() == CIFAR_IDS
    assert data.train.labels[:5].tolist() == CIFAR_LABELS


CIFAR_IDS = [0, 2, 3, 5, 9]
CIFAR_LABELS = [4, 1, 8, 2, 6]
