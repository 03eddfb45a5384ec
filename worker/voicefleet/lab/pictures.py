"""Pictures of coloured shapes: the caller's camera draws them, and the stand-in model recognises
them in what it is sent.
"""

import base64
import binascii
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from voicefleet import errors

COLOURS = {
    "red": (200, 30, 40),
    "green": (20, 150, 60),
    "blue": (30, 60, 200),
    "yellow": (230, 200, 30),
}
SHAPES = ("circle", "square", "triangle")
BACKGROUND = (200, 200, 200)

# Red, green and blue of the background are alike; those of each colour differ by far more.
LEAST_COLOUR_SPREAD = 70
# Of the picture; less is what compression makes of an edge.
LEAST_SHAPE_RATIO = 0.01
# Of the box around it a square fills 1.0, a circle 0.785, a triangle 0.5.
SQUARE_RATIO, CIRCLE_RATIO = 0.9, 0.65


def draw(what: str, width: int, height: int) -> NDArray[np.uint8]:
    """A picture of, say, "red circle", as RGBA of shape (height, width, 4); "" is an empty one.

    :raises UsageError: if there is no such colour or shape.
    """
    picture = np.full((height, width, 4), (*BACKGROUND, 255), dtype=np.uint8)
    if what:
        colour, _, shape = what.partition(" ")
        if colour not in COLOURS or shape not in SHAPES:
            raise errors.UsageError(
                f"{what!r} cannot be shown",
                fix=f"one of {', '.join(COLOURS)} and one of {', '.join(SHAPES)}, as 'red circle'",
            )
        picture[_mask(shape, width, height), :3] = COLOURS[colour]
    return picture


def seen_in(image_url: str) -> str:
    """What a picture shows, in the words of `draw`; "" where nothing can be made out.

    :raises ValueError: if the data URL holds no picture.
    """
    try:
        data = base64.b64decode(image_url.partition(";base64,")[2], validate=True)
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(np.int16)
    except (binascii.Error, UnidentifiedImageError, OSError) as error:
        raise ValueError("no picture") from error
    is_coloured = pixels.max(axis=2) - pixels.min(axis=2) >= LEAST_COLOUR_SPREAD
    if is_coloured.mean() < LEAST_SHAPE_RATIO:
        return ""
    middle = np.median(pixels[is_coloured], axis=0)
    colour = min(COLOURS, key=lambda name: float(np.abs(middle - COLOURS[name]).sum()))
    rows, columns = np.flatnonzero(is_coloured.any(axis=1)), np.flatnonzero(is_coloured.any(axis=0))
    box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    filled = is_coloured.sum() / box
    shape = "square" if filled > SQUARE_RATIO else "circle" if filled > CIRCLE_RATIO else "triangle"
    return f"{colour} {shape}"


def _mask(shape: str, width: int, height: int) -> NDArray[np.bool_]:
    """Where the shape is, in the middle, as large as half of the shorter side."""
    half = min(width, height) / 4
    y, x = np.ogrid[:height, :width]
    right, down = x - width / 2, y - height / 2
    inside: NDArray[np.bool_]
    if shape == "circle":
        inside = right**2 + down**2 <= half**2
    elif shape == "square":
        inside = (abs(right) <= half) & (abs(down) <= half)
    else:
        inside = (abs(down) <= half) & (abs(right) <= (down + half) / 2)
    return inside
