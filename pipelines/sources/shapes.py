"""The shapes that images may be brought to."""

from kerasdistill.errors import UserError

IMAGE_SIDE = 32
IMAGE_SHAPE = (IMAGE_SIDE, IMAGE_SIDE, 3)  # the papers'
Shape = tuple[int, int, int]  # height, width, channels


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
