"""Images of any size and mode -> uint8 of one shape: by default 32x32 RGB."""

import contextlib
import functools
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from kerasdistill.reading_files import open_file
from pipelines.sources.shapes import IMAGE_SHAPE, Shape

WHITE = 65_535  # of 16 bits
_WHITES = (255, 4_095, WHITE)  # 8, 12 and 16 bits

# What Pillow decodes itself: EPS, for one, would start a program. TGA has no mark of
# its own and comes last.
_FORMATS = "JPEG PNG WEBP GIF BMP TIFF PPM AVIF JPEG2000 ICO ICNS CUR DIB DDS MSP PCX "
_FORMATS += "PSD QOI SGI SUN XBM XPM TGA"
_ORIENTATION = 0x0112  # EXIF's tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def square(image: Image.Image, shape: Shape = IMAGE_SHAPE) -> np.ndarray:
    """An 8-bit RGB or grey image, its short side brought to the shape's with
    antialiasing, cropped at the centre: uint8 of `shape`."""
    height, width, channels = shape
    image = image.convert("L" if channels == 1 else "RGB")
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted).reshape(shape)


def read_square(
    path: str | Path, shape: Shape = IMAGE_SHAPE, *, white: int = WHITE
) -> np.ndarray:
    """An image file as a person sees it: uint8 of `shape`.

    It is turned upright as its EXIF data say; transparent parts are white; grey and
    palette images become RGB; of an animation the first frame is taken. In greys of
    more than 8 bits `white` becomes 255; Pillow itself takes the high 8 of 16 bits a
    channel in RGB.

    Raises what `load` and `to_rgb` raise.
    """
    return square(to_rgb(load(path), white), shape)


def load(path: str | Path) -> Image.Image:
    """A file's first frame, upright. Pillow's decoders raise errors of many classes
    for a damaged file, and for one that unpacks to an enormous image."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open_file(path, "image"))
        try:
            image = stack.enter_context(Image.open(file, formats=_formats()))
        except UnidentifiedImageError:
            raise ValueError("no image in a known format") from None
        image.load()
        try:
            turn = _TURNS.get(image.getexif().get(_ORIENTATION))
        except Exception:  # data that nobody can read turn nothing
            turn = None
    return image if turn is None else image.transpose(turn)


def to_rgb(image: Image.Image, white: int = WHITE) -> Image.Image:
    """8-bit RGB of an image in any of Pillow's modes, transparent parts on white."""
    if image.mode == "F":
        # Nothing says whether white is 1, 255 or 65535.
        raise ValueError("floating-point pixels, expected 8 or 16 bits per channel")
    if is_deep(image):
        # Pillow's own conversion clips at 255: most of the image would be white.
        image = Image.fromarray(_eight_bits(np.asarray(image), white))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("RGB")


def is_deep(image: Image.Image) -> bool:
    """Whether it is grey with more than 8 bits."""
    return image.mode.startswith("I")


def largest_value(image: Image.Image) -> int:
    """Of an image with more than 8 bits; ValueError for values beyond 16 bits."""
    pixels = np.asarray(image)
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > WHITE:
        raise ValueError(f"values from {low} to {high}, expected 0 to {WHITE}")
    return high


def white_of(largest: int) -> int:
    """What is white, of 8, 12 or 16 bits, where no value is above `largest`."""
    return next(white for white in _WHITES if largest <= white)


def array_square(pixels: np.ndarray, shape: Shape = IMAGE_SHAPE) -> np.ndarray:
    """A decoded image, [H, W, 1, 3 or 4] uint8 or uint16 -> uint8 of `shape`."""
    if pixels.dtype == np.uint16:
        pixels = _eight_bits(pixels, WHITE)
    if pixels.dtype != np.uint8:
        raise ValueError(f"{pixels.dtype} pixels, expected uint8 or uint16")
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return square(to_rgb(Image.fromarray(pixels)), shape)


@functools.cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS.split() if name in Image.OPEN]


def _eight_bits(pixels: np.ndarray, white: int) -> np.ndarray:
    scaled = np.rint(pixels.astype(np.float64) / (white / 255))
    return np.clip(scaled, 0, 255).astype(np.uint8)
