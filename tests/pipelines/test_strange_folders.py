"""What strangers' folders bring: one line a case. Nothing goes silently wrong."""

import errno
import os
import socket
import struct
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kerasdistill.cli import arguments, interpret
from kerasdistill.errors import UserError
from pipelines import datasets, distillation_set

WHOLE = 12  # pictures in `root`, six a class
NFC, NFD = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


@dataclass
class Read:
    """What is to be read, the words of notes, and whether files are skipped."""

    count: int
    said: tuple[str, ...] = ()
    skips: bool = False


def skips(*said: str, count: int = WHOLE) -> Read:
    return Read(count, said, skips=True)


@dataclass
class Refused:
    said: tuple[str, ...]


def refused(*said: str) -> Refused:
    return Refused(said)


def picture(seed: int = 0, side: int = 32) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(pixels)


def put(path: Path, *, seed: int = 99, count: int = 1, **options) -> None:
    """A picture, or a folder of several."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if count == 1:
        return picture(seed).save(path, **options)
    path.mkdir(parents=True)
    for number in range(count):
        picture(seed + number).save(path / f"{number}.png")


def enormous() -> bytes:
    """The beginning of a PNG of 50,000 x 50,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    length, check = struct.pack(">I", 13), struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + length + head + check


def animation(path: Path) -> None:
    frames = [picture(number) for number in (50, 51)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("cat/1.png", "x")


def unix_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # such paths are short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def corrupt_exif(path: Path) -> None:
    put(path, exif=b"Exif\x00\x00II*\x00" + b"\xff" * 40)


def emptied(folder: Path) -> None:
    for file in folder.iterdir():
        file.write_bytes(b"no image")


def deep(path: Path, dtype: type, high: int) -> None:
    ramp = np.linspace(0, high, 32 * 32).reshape(32, 32).astype(dtype)
    Image.fromarray(ramp).save(path)


def moved(root: Path, **names: str) -> None:
    for before, after in names.items():
        (root / before).rename(root / after)


def with_split(root: Path, split: str, *classes: str, seed: int = 500) -> None:
    for number, name in enumerate(classes or ("cat", "dog")):
        put(root / split / name, seed=seed + 10 * number, count=2)


def file_as_train(root: Path) -> None:
    moved(root, train="pictures")
    (root / "train").write_text("pictures/")


def flat(root: Path) -> None:
    for folder in list((root / "train").iterdir()):
        for file in folder.iterdir():
            file.rename(root / "train" / f"{folder.name}-{file.name}")
        folder.rmdir()


def tiny_imagenet(root: Path) -> None:
    for name in ("cat", "dog"):
        moved(root / "train" / name, **{"0.png": "odd"})
        (root / "train" / name / "images").mkdir()
        moved(root / "train" / name, odd="images/0.JPEG")
        (root / "train" / name / f"{name}_boxes.txt").write_text("0.JPEG 0 0 9 9")


CAT, DOG = "train/cat", "train/dog"
CASES = [
    ("as it should be", lambda r: None, Read(WHOLE)),
    # Files
    ("upper-case extension", lambda r: put(r / CAT / "A.JPG"), Read(13)),
    ("no extension", lambda r: put(r / CAT / "a", format="PNG"), Read(13)),
    ("wrong extension", lambda r: put(r / CAT / "a.jpg", format="PNG"), Read(13)),
    ("text", lambda r: (r / CAT / "notes.txt").write_text("a"), skips("cat/notes.txt")),
    ("Thumbs.db", lambda r: (r / CAT / "Thumbs.db").write_bytes(b"\xd0"), skips("Thu")),
    ("desktop.ini", lambda r: (r / CAT / "desktop.ini").write_text("["), skips("desk")),
    ("table", lambda r: (r / CAT / "a.csv").write_text("a,b\n" * 99), skips("a.csv")),
    ("drawing", lambda r: (r / CAT / "a.svg").write_text("<svg/>"), skips("a.svg")),
    ("program", lambda r: picture().save(r / CAT / "a.eps"), skips("known format")),
    ("archive", lambda r: archive(r / CAT / "a.zip"), skips("a.zip")),
    ("zero bytes", lambda r: (r / CAT / "a.png").touch(), skips("1 file was", "a.png")),
    ("cut", lambda r: put(r / CAT / "a.png") or cut(r / CAT / "a.png"), skips("a.png")),
    ("enormous", lambda r: (r / CAT / "a.png").write_bytes(enormous()), skips("a.png")),
    (".DS_Store", lambda r: (r / CAT / ".DS_Store").write_bytes(b"\0"), Read(WHOLE)),
    ("macOS shadow", lambda r: (r / CAT / "._0.png").write_bytes(b"\0"), Read(WHOLE)),
    ("line break", lambda r: (r / CAT / "a\nb.png").touch(), skips("a b.png")),
    ("bytes", lambda r: os.mknod(bytes(r / CAT) + b"/\xff.png"), skips("udcff.png")),
    ("good bytes", lambda r: put(r / CAT / "\udcff.png"), Read(13)),
    ("pipe", lambda r: os.mkfifo(r / CAT / "a.png"), skips("pipes", "a.png")),
    ("socket", lambda r: unix_socket(r / CAT / "a.png"), skips("sockets")),
    ("device", lambda r: (r / CAT / "a.png").symlink_to("/dev/zero"), skips("devices")),
    (
        "dead link",
        lambda r: (r / CAT / "a.png").symlink_to("/no"),
        skips("dead", "a.p"),
    ),
    (
        "own link",
        lambda r: (r / CAT / "a").symlink_to("a"),
        skips("dead link", "cat/a"),
    ),
    (
        "many",
        lambda r: emptied(r / CAT) or put(r / CAT / "z", count=3),
        skips("6 files", "unreadable", "and 1 more", count=9),
    ),
    # Pictures
    (
        "one pixel wide",
        lambda r: Image.new("L", (1, 40)).save(r / CAT / "a.png"),
        Read(13),
    ),
    ("animation", lambda r: animation(r / CAT / "a.gif"), Read(13)),
    ("two in one", lambda r: animation(r / CAT / "a.mpo"), Read(13)),
    ("corrupt EXIF", lambda r: corrupt_exif(r / CAT / "a.jpg"), Read(13)),
    ("16 bits", lambda r: deep(r / CAT / "a.png", np.uint16, 65_535), Read(13)),
    (
        "12 bits",
        lambda r: deep(r / CAT / "a.png", np.uint16, 4_000),
        Read(13, ("4,000",)),
    ),
    ("32 bits", lambda r: deep(r / CAT / "a.tif", np.int32, 70_000), skips("70000")),
    ("below 0", lambda r: deep(r / CAT / "a.tif", np.int32, -9), skips("from -9 to 0")),
    (
        "reals",
        lambda r: deep(r / CAT / "a.tif", np.float32, 1),
        skips("floating-point"),
    ),
    # Folders in a class
    (
        "deeper",
        lambda r: put(r / CAT / "old", count=3),
        Read(15, ("3", "train/cat/old")),
    ),
    ("Tiny-ImageNet's", tiny_imagenet, skips("cat/images", "cat_boxes.txt")),
    ("linked class", lambda r: linked(r, "train/owl"), Read(15)),
    ("linked folder", lambda r: linked(r, "train/cat/more"), Read(15, ("cat/more",))),
    ("loop", lambda r: (r / CAT / "up").symlink_to(r), skips("cat/up", "links to")),
    ("loop below", lambda r: (r / CAT / "me").symlink_to(r / CAT), skips("cat/me")),
    # Folders of classes
    (
        "file for a class",
        lambda r: (r / "train/owl").symlink_to(r / CAT / "0.png"),
        skips("owl"),
    ),
    ("picture beside", lambda r: put(r / "train/a.png"), skips("outside the class")),
    ("flat", flat, refused("0 class folders", "12 files")),
    ("packed by macOS", lambda r: (r / "train/__MACOSX").mkdir(), Read(WHOLE)),
    (
        "empty class",
        lambda r: (r / "train/owl").mkdir(),
        refused("'owl'", " 0 training"),
    ),
    ("bad class", lambda r: emptied(r / CAT), refused("'cat'", "6 files", "cat/0.png")),
    ("all bad", lambda r: emptied(r / CAT) or emptied(r / DOG), refused("12 files")),
    ("two forms in train", lambda r: forms(r, "train", "train"), Read(20, (NFC,))),
    ("two forms", lambda r: forms(r, "train", "test"), Read(20, (NFC,))),
    # Splits
    ("no train", lambda r: moved(r, train="data"), refused("train/", "it has data")),
    ("train is a file", file_as_train, refused("train/", "pictures")),
    ("Train", lambda r: moved(r, train="TRAIN"), Read(WHOLE)),
    ("Test", lambda r: with_split(r, "Test"), Read(16)),
    ("val", lambda r: with_split(r, "val"), Read(16, ("validation split",))),
    ("dev", lambda r: with_split(r, "Dev"), Read(16, ("validation split",))),
    ("two trains", lambda r: with_split(r, "Train"), refused("Train/", "train/")),
    (
        "two vals",
        lambda r: with_split(r, "val") or with_split(r, "valid"),
        refused("val/", "valid/"),
    ),
    (
        "others",
        lambda r: with_split(r, "extra") or (r / "README").touch(),
        Read(WHOLE, ("2 (README, extra)",)),
    ),
    ("new class", lambda r: with_split(r, "test", "owl"), refused("train/ lacks: owl")),
    ("other case", lambda r: with_split(r, "test", "Cat"), refused("mean cat?")),
    ("near name", lambda r: with_split(r, "val", "dogs"), refused("mean dog?")),
    ("empty split", lambda r: (r / "val").mkdir(), refused("val holds no images")),
    (
        "flat test",
        lambda r: put(r / "test", count=3),
        refused("test holds no", "3 files"),
    ),
    # Repeats, and nothing to learn from
    (
        "in test too",
        lambda r: with_split(r, "test", seed=0),
        Read(16, ("validation: 2",)),
    ),
    (
        "in val too",
        lambda r: with_split(r, "val", seed=0),
        Read(16, ("validation: 2",)),
    ),
    (
        "two labels",
        lambda r: put(r / CAT / "a.png", seed=100),
        Read(13, ("cat and dog",)),
    ),
    ("black", lambda r: repainted(r, lambda p, n: p // 16), refused("black")),
    (
        "one colour",
        lambda r: repainted(r, lambda p, n: 0 * p + 9 * n),
        refused("colour"),
    ),
    (
        "one image",
        lambda r: repainted(r, lambda p, n: np.asarray(picture())),
        refused("repeated"),
    ),
]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


def linked(root: Path, name: str) -> None:
    put(root.parent / "store", seed=700, count=3)
    (root / name).symlink_to(root.parent / "store")


def forms(root: Path, first: str, second: str) -> None:
    put(root / first / NFC, seed=300, count=4)
    put(root / second / NFD, seed=400, count=4)


def repainted(root: Path, change) -> None:
    for number, file in enumerate(sorted(root.rglob("*.png"))):
        pixels = change(np.asarray(picture(number)), number + 9)
        Image.fromarray(pixels.astype(np.uint8)).save(file)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "set"
    put(folder / CAT, seed=0, count=6)
    put(folder / DOG, seed=100, count=6)
    return folder


def load(root: Path, **options) -> datasets.ImageData:
    return datasets.load(f"folder:{root}", **options)


def size(data: datasets.ImageData) -> int:
    return len(data.train) + len(data.validation) + len(data.test)


@pytest.mark.parametrize(
    ("make", "expected"), [pytest.param(*case, id=name) for name, *case in CASES]
)
def test_nothing_goes_silently_wrong(root, capsys, make, expected):
    usual = load(root).notes
    capsys.readouterr()
    make(root)
    if isinstance(expected, Refused):
        with pytest.raises(UserError) as error:
            load(root)
        message = str(error.value)
        assert all(words in message for words in expected.said), message
        assert "\n" not in message and message.isprintable()
        return
    data = load(root)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"folder:{root}: {note}" for note in data.notes]
    assert size(data) == expected.count
    unusual = "\n".join(note for note in data.notes if note not in usual)
    assert all(words in unusual for words in expected.said), unusual
    assert bool(unusual) == bool(expected.said) or "cut from train" in unusual
    ids = np.concatenate([data.train.sample_ids, data.validation.sample_ids])
    assert len(set(ids)) == len(ids)
    if expected.skips:
        with pytest.raises(UserError, match="skipped"):
            load(root, strict=True)
    else:
        assert load(root, strict=True).identity() == data.identity()
    unlabelled = datasets.load(f"unlabelled:{root}", class_names=("a", "b"))
    assert size(unlabelled) >= expected.count


# Pixels


def jpeg_of_red(path: Path) -> None:
    """Pillow writes CMYK inverted, with Adobe's mark, as Photoshop does."""
    Image.new("RGB", (40, 40), "red").convert("CMYK").save(path)
    assert b"Adobe" in path.read_bytes()


def on_nothing(path: Path) -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste("red", (20, 0, 40, 40))
    image.save(path)


def side_by_side(path: Path) -> None:
    """A photo of a telephone that lay on its side: red above blue."""
    image = Image.new("RGB", (40, 40), "red")
    image.paste("blue", (20, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif, quality=95)


@pytest.mark.parametrize(
    ("name", "make", "left", "below"),
    [
        ("a.jpg", jpeg_of_red, (255, 0, 0), (255, 0, 0)),
        ("a.png", on_nothing, (255, 255, 255), (255, 255, 255)),
        ("a.webp", on_nothing, (255, 255, 255), (255, 255, 255)),
        ("b.jpg", side_by_side, (255, 0, 0), (0, 0, 255)),
    ],
)
def test_pictures_arrive_as_a_person_sees_them(root, name, make, left, below):
    for file in (root / DOG).iterdir():
        file.unlink()
    for number in range(3):
        make(root / DOG / f"{number}{name}")
    data = load(root)
    shown = data.train.images[data.train.labels == 1][0].astype(int)
    np.testing.assert_allclose(shown[4, 4], left, atol=4)
    np.testing.assert_allclose(shown[-4, 4], below, atol=4)


@pytest.mark.parametrize(
    ("highest", "white", "said"),
    [
        (200, 255, "255 was taken as white"),
        (4_095, 4_095, "4,095 was taken as white"),
        (4_096, 65_535, None),
        (65_535, 65_535, None),
    ],
)
def test_one_scale_serves_all_greys_of_a_set(root, highest, white, said):
    for number, file in enumerate(sorted((root / CAT).iterdir())):
        deep(file, np.uint16, highest if number == 3 else 100)
    data = load(root)
    everything = np.concatenate([data.train.images, data.validation.images])
    greys = [image for image in everything if (image[..., 0] == image[..., 1]).all()]
    whites = {int(image.max()) for image in greys} - {round(highest * 255 / white)}
    assert whites == {round(100 * 255 / white)}
    notes = [note for note in data.notes if "white" in note]
    assert [said in note for note in notes] == [True] if said else not notes


# Repeats


def test_repeats_leave_train_when_that_is_asked_for(root):
    with_split(root, "test", seed=0)  # cat's 0 and 1
    with_split(root, "val", seed=2)  # cat's 2 and 3
    put(root / DOG / "x.png", seed=5)  # cat's 5
    usual = load(root)
    assert len(usual.train) == 13 and "drop_duplicates" not in usual.identity()
    assert sum("`drop_duplicates=True`" in note for note in usual.notes) == 2
    data = load(root, drop_duplicates=True)
    assert len(data.train) == 13 - 4 - 2 and len(data.test) == len(data.validation) == 4
    assert data.identity()["drop_duplicates"] is True
    assert sum("removed" in note for note in data.notes) == 2
    ids = np.concatenate([data.train.sample_ids, data.validation.sample_ids])
    assert len(set(ids)) == len(ids)


def test_what_a_cut_separates_is_a_repeat_too(root):
    for number in range(5):
        put(root / CAT / f"again {number}.png", seed=0)
    assert any("cut from train" in note for note in load(root).notes[2:])
    data = load(root, drop_duplicates=True)
    shown = [{i.tobytes() for i in s.images} for s in (data.train, data.validation)]
    assert not shown[0] & (shown[1] | {i.tobytes() for i in data.test.images})


def test_a_class_of_repeats_is_refused(root):
    with_split(root, "test", seed=0)
    for number in range(2, 6):
        (root / CAT / f"{number}.png").unlink()
    with pytest.raises(UserError, match="'cat'"):
        load(root, drop_duplicates=True)


def test_unlabelled_repeats_make_no_note(root):
    put(root / DOG / "again.png", seed=0)
    name = f"unlabelled:{root}"
    data = datasets.load(name, class_names=("a", "b"))
    assert not [note for note in data.notes if "duplicates" in note]


def test_what_was_made_without_repeats_is_read_so_again(root, make_set):
    with_split(root, "test", seed=0)
    put(root / "train/owl", seed=200, count=6)
    name = f"folder:{root}"
    data = load(root, drop_duplicates=True, image_shape=(8, 8, 3))
    made = make_set(data=data, store="replay", passes=1).distillation_set
    assert distillation_set.open(made).data.identity() == data.identity()
    facts = {"dataset": data.identity(), "image_shape": data.image_shape}
    args = arguments.parse(["evaluate", "model.keras", "--dataset", name])
    assert interpret.data_of(args, facts).identity() == data.identity()
    args = arguments.parse(["teacher", "--dataset", name, "--drop-duplicates"])
    assert (
        interpret.data(args).identity() == load(root, drop_duplicates=True).identity()
    )
    again = arguments.parse(["teacher", *arguments.data_options(args), "--strict"])
    assert again.drop_duplicates and "--strict" in arguments.data_options(again)


# Identity


@pytest.mark.parametrize(
    ("test", "digest"),
    [
        (False, "45d33b6ab12d0ecde6f4a50e768fb1c0c52b884ece92a5d9170d279d62114db6"),
        (True, "46230af8c5c449d0b493f204c58c3d64e92c79f0f913c653c5a824bb39a32315"),
    ],
)
def test_an_ordinary_folder_keeps_its_digest(root, test, digest):
    """Finished runs are found by it."""
    if test:
        with_split(root, "test")
    assert load(root).digest == digest


def test_a_name_is_the_same_in_each_unicode_form(root):
    moved(root / "train", cat=NFD)
    assert load(root).class_names == (NFC, "dog")


def test_a_faulty_disk_is_no_faulty_picture(root, monkeypatch):
    def read(path, **_):
        raise OSError(errno.EIO, "Input/output error", path)

    monkeypatch.setattr(Image, "open", read)
    with pytest.raises(OSError):
        load(root)
