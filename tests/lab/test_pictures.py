"""What the camera draws is what the stand-in model makes out, after a camera's compression too."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from voicefleet import errors
from voicefleet.lab import pictures
from voicefleet.lab.pictures import COLOURS, SHAPES


def url(picture: np.ndarray, quality: int = 75) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).convert("RGB").save(buffer, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size", "quality"), [((768, 432), 75), ((160, 120), 30)])
def test_every_colour_and_shape_is_made_out(
    colour: str, shape: str, size: tuple[int, int], quality: int
) -> None:
    drawn = pictures.draw(f"{colour} {shape}", *size)
    assert pictures.seen_in(url(drawn, quality)) == f"{colour} {shape}"


def test_an_empty_picture_shows_nothing() -> None:
    assert pictures.seen_in(url(pictures.draw("", 160, 120))) == ""


@pytest.mark.parametrize("broken", ["", "https://example.com/a.jpg", "data:image/jpeg;base64,AAAA"])
def test_what_is_no_picture_is_an_error(broken: str) -> None:
    with pytest.raises(ValueError, match="no picture"):
        pictures.seen_in(broken)


@pytest.mark.parametrize("what", ["red", "pink circle", "red star"])
def test_what_cannot_be_drawn_is_an_error_that_says_what_can(what: str) -> None:
    with pytest.raises(errors.UsageError, match="cannot be shown"):
        pictures.draw(what, 16, 16)
