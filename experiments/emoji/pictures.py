"""Pictures of a drawing: posed at random on a light ground of random colours, as small as the models take them."""

import numpy as np
from PIL import Image, ImageEnhance

SIZE = 32  # pixels along a side
TURN = 20.0  # degrees to either side
SCALE = (0.7, 1.05)  # of the drawing along a side, as a share of the picture
GRAY = 0.2  # share of pictures without colours
LIGHT = (150, 255)  # of a ground's colours
BRIGHTNESS = (0.75, 1.15)


def picture(drawing: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A picture (SIZE, SIZE) of an RGBA drawing."""
    turned = drawing.rotate(rng.uniform(-TURN, TURN), Image.Resampling.BICUBIC)
    side = round(SIZE * rng.uniform(*SCALE))
    small = turned.resize((side, side), Image.Resampling.LANCZOS)
    room = SIZE - side
    place = rng.integers(min(room, 0), max(room, 0), size=2, endpoint=True)
    shown = ground(rng)
    shown.paste(small, (int(place[0]), int(place[1])), small)
    if rng.uniform() < GRAY:
        shown = shown.convert("L").convert("RGB")
    return ImageEnhance.Brightness(shown).enhance(rng.uniform(*BRIGHTNESS))


def ground(rng: np.random.Generator) -> Image.Image:
    """Four random light colours, blended between the corners."""
    corners = rng.integers(*LIGHT, size=(2, 2, 3), endpoint=True).astype(np.uint8)
    return Image.fromarray(corners).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
