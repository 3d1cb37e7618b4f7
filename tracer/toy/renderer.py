"""Rendering of glyphs: shapes as signed distance fields, from fonts and pen strokes, then drawn and painted at random.

A field holds, per pixel, the distance to the glyph's edge in glyph heights (negative inside). One field therefore
serves every size and stroke weight, and outlines too: coverage is a threshold on it. Pen strokes have no width of their
own, so their fields are plain distances to the line and the weight is the pen's radius.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt, gaussian_filter1d

DIGITS = tuple("0123456789")
LETTERS = tuple("CEFHKMRTWX")  # no A: in a caption it would be the article; no B, O, S, ...: they look like digits
GLYPHS = DIGITS + LETTERS
VALIDATION_FONTS = ("cmtt10", "DejaVuSerif-Italic", "STIXGeneralBol")
TEST_FONTS = ("cmss10", "DejaVuSansMono-Oblique", "STIXGeneralItalic")
TRAINING_FONTS = (
    "cmb10", "cmr10", "cmti10",
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSans-Oblique",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic",
    "STIXGeneral", "STIXGeneralBolIta",
)  # fmt: skip

SIZE = 32  # image side in pixels
FIELD = 56  # field side in pixels
SPAN = 1.75  # field side in glyph heights: the margin keeps room for bold strokes and wide letters
FONT_SIZE = 160
FONT_HEIGHT, PEN_HEIGHT = 114, 80  # pixels of a glyph's height while its distances are computed, before subsampling

COLORS = {
    "red": (0.88, 0.10, 0.10),
    "yellow": (0.95, 0.88, 0.12),
    "green": (0.12, 0.65, 0.20),
    "blue": (0.10, 0.30, 0.92),
    "purple": (0.66, 0.14, 0.74),
    "white": (0.96, 0.96, 0.96),
    "black": (0.04, 0.04, 0.04),
}
CONTRAST = 0.55  # least distance in RGB between a glyph's colour and its background

# Pen strokes per glyph: variants separated by "|", strokes by ";", points "x,y" in percent (y down). A doubled point
# is a corner; every other one is rounded off.
SKELETONS = {
    "0": "33,0 7,12 0,50 7,88 33,100 58,88 65,50 58,12 33,0|45,0 12,12 0,55 12,92 35,100 60,80 65,40 50,5 30,2",
    "1": "30,0 30,100|5,25 30,0 30,0 30,100|5,25 32,0 32,0 32,100;5,100 60,100|45,0 20,100|0,35 40,0 40,0 35,100",
    "2": "3,25 15,0 50,0 62,28 45,60 0,100 0,100 65,98|0,20 25,-5 60,10 50,50 20,95 0,90 15,75 45,95 70,92"
    "|0,15 30,-5 55,15 45,50 5,95 5,95 30,85 70,98",
    "3": "3,10 33,-5 65,10 60,40 25,47 25,47 68,52 68,92 33,106 0,90|0,0 58,0 58,0 25,40 25,40 68,50 65,95 30,105 0,92"
    "|5,8 45,-8 62,20 40,48 20,48 20,48 60,55 55,95 5,100",
    "4": "15,0 0,55 0,55 65,55;48,20 45,100|45,100 45,0 45,0 0,65 0,65 65,65|10,0 5,50 5,50 55,48;58,0 50,60 45,100"
    "|30,0 0,60 0,60 70,55;40,35 35,100",
    "5": "62,0 12,0 12,0 6,45 6,45 40,35 66,55 62,95 33,105 0,92|60,2 15,2 15,2 8,42 8,42 55,40 60,75 40,100 0,98"
    "|70,0 25,5 25,5 15,45 15,45 55,55 50,85 0,105",
    "6": "52,0 20,20 0,60 3,95 33,106 65,92 58,55 25,50 3,75|35,0 5,40 0,80 20,102 55,95 55,65 25,60 3,80"
    "|60,0 10,35 0,75 15,104 50,95 50,70 20,65 5,85",
    "7": "0,0 65,0 65,0 28,100|0,3 65,0 65,0 30,100;12,50 60,47|0,18 2,0 2,0 65,2 65,2 35,55 25,100"
    "|0,5 62,0 62,0 40,50 30,100;15,55 68,45",
    "8": "58,15 33,-3 7,10 8,35 33,50 62,68 56,98 33,104 8,96 4,70 33,50 58,32 58,15"
    "|35,0 8,8 10,40 35,48 58,38 58,8 35,0;35,48 2,60 5,98 35,102 64,96 62,60 35,48"
    "|60,8 25,-5 8,20 35,50 55,75 40,102 12,95 20,65 60,8",
    "9": "62,18 40,-4 7,8 0,38 25,55 58,40 62,15 62,15 60,60 52,100"
    "|62,20 35,-5 3,12 5,45 35,52 60,25 60,25 62,80 35,105 5,95"
    "|55,15 30,-4 5,15 10,45 40,45 55,15 55,15 45,60 20,100|60,10 20,-2 5,25 20,45 58,30 62,15 55,70 10,102",
    "C": "75,15 45,-5 5,15 0,55 15,95 50,105 78,85|65,5 25,5 0,50 15,90 65,98",
    "E": "70,0 5,0 5,0 3,100 3,100 70,100;5,50 55,50|60,3 10,0 0,30 35,48 35,48 0,65 10,102 65,95",
    "F": "68,0 5,0 5,0 3,100;5,48 55,48|5,5 3,100;0,3 65,0;4,45 50,43",
    "H": "3,0 3,100;68,0 68,100;3,50 68,50|10,0 0,100;70,0 62,100;5,55 68,42",
    "K": "3,0 3,100;65,0 5,55 5,55;20,42 70,100|5,0 0,100;60,5 5,50 5,50 65,100",
    "M": "0,100 5,0 5,0 42,70 42,70 80,0 80,0 85,100|0,100 18,0 18,0 45,85 45,85 72,0 72,0 92,100",
    "R": "3,100 3,0 3,0 50,0 68,25 45,52 5,50;30,52 68,100|5,0 0,100;0,5 50,-5 62,28 35,50 5,50 5,50 65,100",
    "T": "0,0 75,0;37,0 37,100|0,5 80,0;42,3 35,100",
    "W": "0,0 20,100 20,100 45,25 45,25 70,100 70,100 90,0|0,0 15,95 25,95 45,40 45,40 60,95 72,95 90,0",
    "X": "0,0 70,100;70,0 0,100|5,0 65,100;72,5 0,95",
}


@dataclass(frozen=True)
class Look:
    """How glyphs are posed and drawn; each image draws its own values from these ranges.

    Attributes:
        scale: range of the glyph's height as a fraction of the image's.
        aspect: range of the width's stretch.
        rotation: largest turn in degrees; shear: largest shear; shift: largest offset of the centre in pixels.
        warp: largest elastic displacement in pixels (its standard deviation at the control points).
        weight: range added to the stroke on each side, in glyph heights (for pen strokes: the pen's radius).
        outline: half width of a drawn contour in pixels; 0 fills the glyph.
        pooled: whether the drawing is scanned as scikit-learn's digits were: a bitmap averaged in 4 x 4 blocks.
    """

    scale: tuple[float, float] = (0.6, 0.95)
    aspect: tuple[float, float] = (0.85, 1.15)
    rotation: float = 12.0
    shear: float = 0.2
    shift: float = 2.0
    warp: float = 0.6
    weight: tuple[float, float] = (-0.01, 0.03)
    outline: float = 0.0
    pooled: bool = False


@dataclass(frozen=True)
class Finish:
    """What happens to a painted picture; each image draws its own amounts between zero and these.

    Attributes:
        clutter: standard deviation of the background's texture, of intensity 1.
        blur: share of the way to a picture smoothed over one pixel.
        noise: standard deviation of the pixels' noise, of intensity 1.
        occlusion: share of images with a patch of background colour over them.
    """

    clutter: float = 0.0
    blur: float = 0.3
    noise: float = 0.02
    occlusion: float = 0.0


@cache
def font_fields(fonts: tuple[str, ...]) -> np.ndarray:
    """Signed distance fields of every glyph in the named fonts of matplotlib: float32 (fonts, glyphs, FIELD, FIELD)."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    faces = [ImageFont.truetype(folder / f"{name}.ttf", FONT_SIZE) for name in fonts]
    return np.stack([np.stack([_font_field(face, glyph) for glyph in GLYPHS]) for face in faces])


@cache
def pen_fields(count: int, seed: int) -> np.ndarray:
    """Distance fields of `count` jittered pen drawings of every glyph: float32 (count, glyphs, FIELD, FIELD)."""
    rng = np.random.default_rng(seed)
    return np.stack([np.stack([_pen_field(glyph, rng) for glyph in GLYPHS]) for _ in range(count)])


def draw(fields: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Coverage in [0, 1] of one glyph per image, float32 (n, SIZE, SIZE), from its field (n, FIELD, FIELD)."""
    n = len(fields)
    scale = rng.uniform(*look.scale, n).astype(np.float32)
    grid = _glyph_coordinates(n, scale, look, rng) * (2 / SPAN)
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(fields)[:, None], torch.from_numpy(grid), padding_mode="border", align_corners=False
    )
    pixel = 1 / (SIZE * scale)[:, None, None]  # a pixel's side in glyph heights
    distance: np.ndarray = sampled[:, 0].numpy() - rng.uniform(*look.weight, n).astype(np.float32)[:, None, None]
    if look.outline:
        distance = np.abs(distance) - look.outline * pixel
    if look.pooled:
        return scan((distance < 0).astype(np.float32))
    return np.clip(0.5 - distance / pixel, 0, 1)


def scan(bitmap: np.ndarray) -> np.ndarray:
    """Averages (n, SIZE, SIZE) bitmaps in 4 x 4 blocks and brings them back to SIZE, as a coarse scanner would."""
    n, side = len(bitmap), SIZE // 4
    return enlarge(bitmap.reshape(n, side, 4, side, 4).mean((2, 4)))


def enlarge(images: np.ndarray, mode: str = "bilinear") -> np.ndarray:
    """Interpolates square images (n, side, side) to float32 (n, SIZE, SIZE)."""
    small = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None]
    return torch.nn.functional.interpolate(small, (SIZE, SIZE), mode=mode, align_corners=False)[:, 0].numpy()


def foregrounds(names: Iterable[str], rng: np.random.Generator) -> np.ndarray:
    """A shade of each named colour: float32 (n, 3) in [0, 1]."""
    exact = np.array([COLORS[name] for name in names])
    return np.clip(exact + rng.uniform(-0.04, 0.04, exact.shape), 0, 1).astype(np.float32)


def backgrounds(foreground: np.ndarray, tinted: float, rng: np.random.Generator) -> np.ndarray:
    """Colours that stand out from (n, 3) foregrounds: dark or light grays, and any colour for a share `tinted`."""
    n = len(foreground)
    gray = np.where(rng.random(n) < 0.6, rng.uniform(0, 0.25, n), rng.uniform(0.75, 1, n))[:, None].repeat(3, axis=1)
    chosen = np.where(rng.random((n, 1)) < tinted, rng.random((n, 3)), gray)
    farthest = (foreground.mean(1, keepdims=True) < 0.5).repeat(3, axis=1)
    near = np.linalg.norm(chosen - foreground, axis=1, keepdims=True) < CONTRAST
    return np.where(near, farthest, chosen).astype(np.float32)


def paint(
    coverage: np.ndarray, foreground: np.ndarray, background: np.ndarray, finish: Finish, rng: np.random.Generator
) -> np.ndarray:
    """Pictures uint8 (n, SIZE, SIZE, 3) of coverages (n, SIZE, SIZE) in the colours (n, 3) given."""
    n = len(coverage)
    canvas = background[:, None, None, :] + np.zeros((n, SIZE, SIZE, 3), dtype=np.float32)
    if finish.clutter:
        canvas += _clutter(n, finish.clutter, rng)
    share = coverage[..., None]
    images = (1 - share) * canvas + share * foreground[:, None, None, :]
    if finish.blur:
        amount = _amounts(n, finish.blur, rng)
        images += amount * (gaussian_filter1d(gaussian_filter1d(images, 1, axis=1), 1, axis=2) - images)
    if finish.occlusion:
        images = np.where(_patches(n, finish.occlusion, rng), background[:, None, None, :], images)
    if finish.noise:
        images += _amounts(n, finish.noise, rng) * rng.standard_normal(images.shape, dtype=np.float32)
    return np.asarray((np.clip(images, 0, 1) * 255).round().astype(np.uint8))


def _amounts(n: int, most: float, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, most, (n, 1, 1, 1)).astype(np.float32)


def _clutter(n: int, amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """Coloured blotches of two sizes: (n, SIZE, SIZE, 3)."""
    blotches = np.mean([enlarge(rng.standard_normal((n * 3, side, side)), "bicubic") for side in (5, 12)], axis=0)
    return np.asarray(_amounts(n, amplitude, rng) * np.moveaxis(blotches.reshape(n, 3, SIZE, SIZE), 1, -1))


def _patches(n: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Masks (n, SIZE, SIZE, 1) of rectangles of a fifth to a third of the side, empty for all but a share of images."""
    start = rng.uniform(0, SIZE, (n, 2, 1))
    length = rng.uniform(SIZE / 5, SIZE / 3, (n, 2, 1)) * (rng.random((n, 1, 1)) < share)
    within = (np.arange(SIZE) >= start) & (np.arange(SIZE) < start + length)
    return (within[:, 0, :, None] & within[:, 1, None, :])[..., None]


def _glyph_coordinates(n: int, scale: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """The point of the glyph that each pixel shows, in glyph heights from its centre: (n, SIZE, SIZE, 2) as x, y."""
    centre = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE - 0.5
    points = np.stack(np.meshgrid(centre, centre), axis=-1)
    shift = rng.uniform(-look.shift, look.shift, (n, 1, 1, 2)).astype(np.float32) / SIZE
    bends = rng.standard_normal((n * 2, 5, 5)).astype(np.float32) * (look.warp / SIZE)
    warped = points - shift + np.moveaxis(enlarge(bends, "bicubic").reshape(n, 2, SIZE, SIZE), 1, -1)
    angle = np.deg2rad(rng.uniform(-look.rotation, look.rotation, n))
    shear = rng.uniform(-look.shear, look.shear, n)
    aspect = rng.uniform(*look.aspect, n)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    skew = np.zeros((n, 2, 2))
    skew[:, 0, 0], skew[:, 0, 1], skew[:, 1, 1] = 1 / aspect, shear, 1
    inverse = (skew @ turn / scale[:, None, None]).astype(np.float32)
    return np.asarray(np.einsum("nij,nhwj->nhwi", inverse, warped))


def _font_field(face: ImageFont.FreeTypeFont, glyph: str) -> np.ndarray:
    left, top, right, bottom = face.getbbox(glyph)
    image = Image.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(image).text((-left, -top), glyph, font=face, fill=255)
    image = image.resize((max(1, round(image.width * FONT_HEIGHT / image.height)), FONT_HEIGHT))
    side = round(FONT_HEIGHT * SPAN)
    canvas = Image.new("L", (side, side))
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    inside = np.asarray(canvas) > 127
    return _subsample((distance_transform_edt(~inside) - distance_transform_edt(inside)) / FONT_HEIGHT)


def _pen_field(glyph: str, rng: np.random.Generator) -> np.ndarray:
    variants = SKELETONS[glyph].split("|")
    strokes = [_points(stroke) for stroke in variants[rng.integers(len(variants))].split(";")]
    nudged: dict[tuple[float, float], np.ndarray] = {}  # a point named twice moves as one, so joints stay joined
    for point in np.concatenate(strokes):
        nudged.setdefault(tuple(point), point + rng.normal(0, 0.05, 2))
    lines = [_rounded(np.array([nudged[tuple(point)] for point in stroke])) for stroke in strokes]
    low, high = np.concatenate(lines).min(0), np.concatenate(lines).max(0)
    side = round(PEN_HEIGHT * SPAN)
    canvas = Image.new("L", (side, side))
    for line in lines:
        placed = (line - (low + high) / 2) * (PEN_HEIGHT / (high - low)[1]) + side / 2
        ImageDraw.Draw(canvas).line([tuple(point) for point in placed], fill=255)
    return _subsample(distance_transform_edt(np.asarray(canvas) == 0) / PEN_HEIGHT)


def _points(stroke: str) -> np.ndarray:
    return np.array([point.split(",") for point in stroke.split()], dtype=float) / 100


def _rounded(points: np.ndarray) -> np.ndarray:
    """Chaikin's corner cutting, which keeps the ends and doubled points."""
    for _ in range(3):
        cut = np.stack([0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], axis=1)
        points = np.concatenate([points[:1], cut.reshape(-1, 2), points[-1:]])
    return points


def _subsample(field: np.ndarray) -> np.ndarray:
    """Brings a fine square field to (FIELD, FIELD)."""
    return np.asarray(Image.fromarray(field.astype(np.float32)).resize((FIELD, FIELD), Image.Resampling.BILINEAR))
