"""Images of any size and mode -> uint8 of one shape: by default 32x32 RGB."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from kerasdistill.errors import UserError

IMAGE_SIDE = 32
IMAGE_SHAPE = (IMAGE_SIDE, IMAGE_SIDE, 3)  # the papers'
Shape = tuple[int, int, int]  # height, width, channels

_SIXTEEN_BITS = 257  # 65535 / 255


def square(image: Image.Image, shape: Shape = IMAGE_SHAPE) -> np.ndarray:
    """An 8-bit RGB or grey image, its short side brought to the shape's with
    antialiasing, cropped at the centre: uint8 of `shape`."""
    height, width, channels = shape
    image = image.convert("L" if channels == 1 else "RGB")
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted).reshape(shape)


def read_square(path: Path, shape: Shape = IMAGE_SHAPE) -> np.ndarray:
    """An image file, turned upright as its EXIF data say: uint8 of `shape`.

    Grey and palette images become RGB, 16-bit ones are scaled to 8 bits, alpha is
    dropped, and of an animation the first frame is taken. UserError for a file that is
    damaged, has floating-point pixels or is not an image.
    """
    try:
        with Image.open(path) as image:
            return square(to_rgb(ImageOps.exif_transpose(image)), shape)
    except Exception as error:  # Pillow raises what its many decoders raise
        raise UserError(
            f"{path} cannot be read as an image ({reason(error)}); repair or remove it"
        ) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of an image in any of Pillow's modes."""
    if image.mode == "F":
        # Nothing says whether white is 1, 255 or 65535.
        raise ValueError("floating-point pixels, expected 8 or 16 bits per channel")
    if image.mode.startswith("I"):
        # Pillow's own conversion clips at 255: most of the image would be white.
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    elif "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB, Pillow warns
    return image.convert("RGB")


def array_square(pixels: np.ndarray, shape: Shape = IMAGE_SHAPE) -> np.ndarray:
    """A decoded image, [H, W, 1, 3 or 4] uint8 or uint16 -> uint8 of `shape`."""
    if pixels.dtype == np.uint16:
        pixels = _eight_bits(pixels)
    if pixels.dtype != np.uint8:
        raise ValueError(f"{pixels.dtype} pixels, expected uint8 or uint16")
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return square(Image.fromarray(pixels), shape)


def check_shape(shape: Shape) -> None:
    """UserError unless images can be brought to `shape`: square, grey or RGB."""
    height, width, channels = shape
    if height != width or not 8 <= height <= 1024 or channels not in (1, 3):
        raise UserError(
            f"images of {height}x{width}x{channels} were asked for; expected a square "
            "of 8 to 1024 pixels a side with 1 (grey) or 3 channels (RGB)"
        )


def in_words(shape: Shape) -> str:
    """Such as 32x32x3."""
    return "x".join(map(str, shape))


def reason(error: Exception) -> str:
    """The first line of what an error says, or its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    scaled = np.rint(pixels.astype(np.float64) / _SIXTEEN_BITS)
    return np.clip(scaled, 0, 255).astype(np.uint8)
