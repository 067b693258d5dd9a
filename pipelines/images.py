"""Images of any size and mode -> uint8 RGB squares of 32 pixels."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from kerasdistill.errors import UserError

IMAGE_SIDE = 32
_SIXTEEN_BITS = 257  # 65535 / 255


def square(image: Image.Image) -> np.ndarray:
    """Short side to 32 with antialiasing, centre crop: uint8 [32, 32, channels].

    An image that is 32x32 already comes back as it is.
    """
    size = (IMAGE_SIDE, IMAGE_SIDE)
    return np.asarray(ImageOps.fit(image, size, Image.Resampling.BICUBIC))


def read_square(path: Path) -> np.ndarray:
    """An image file, turned upright as its EXIF data say: uint8 [32, 32, 3].

    Grey and palette images become RGB, 16-bit ones are scaled to 8 bits, alpha is
    dropped, and of an animation the first frame is taken.

    Raises:
        UserError: the file is not an image, is damaged or has floating-point pixels.
    """
    try:
        with Image.open(path) as image:
            return square(to_rgb(ImageOps.exif_transpose(image)))
    except Exception as error:  # Pillow raises what its many decoders raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} cannot be read as an image ({reason}); repair or remove it"
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


def array_square(pixels: np.ndarray) -> np.ndarray:
    """A decoded image, [H, W, 1, 3 or 4] -> uint8 [32, 32, 3].

    Raises:
        ValueError: pixels are neither uint8 nor uint16.
    """
    if pixels.dtype == np.uint16:
        pixels = _eight_bits(pixels)
    if pixels.dtype != np.uint8:
        raise ValueError(f"{pixels.dtype} pixels, expected uint8 or uint16")
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return square(Image.fromarray(pixels).convert("RGB"))


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    scaled = np.rint(pixels.astype(np.float64) / _SIXTEEN_BITS)
    return np.clip(scaled, 0, 255).astype(np.uint8)
