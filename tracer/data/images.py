"""One picture from its bytes, and the fault of a sample that is damaged."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from tracer.errors import UserError

SUFFIXES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")  # a file's content decides; others may run programs, as EPS does


class CorruptSample(UserError):
    """A damaged image or caption: what reads training data passes over the pair (see `Batches`), the rest stops with this sentence.

    Args:
        sample: where it is, a path say.
        reason: what is wrong with it.
    """

    def __init__(self, sample: str, reason: str):
        super().__init__(sample, reason)  # both are its args, so that it comes whole out of a worker process
        self.sample, self.reason = sample, reason

    def __str__(self) -> str:
        return f"cannot read {self.sample} ({self.reason}): repair it or take it out"


def decode(content: bytes, sample: str) -> np.ndarray:
    """The image in a file's bytes, uint8 (height, width, 3).

    Modes become RGB as in open_clip's and torchvision's loaders, so that a model sees the pixels of the published pipelines:
    greys are repeated, palettes looked up, CMYK converted, alpha dropped. Greys of 16 bits alone differ: their high byte is
    taken, where Pillow would turn all but the darkest white. As there, an image is not turned as its EXIF data say.

    Args:
        content: a file in one of `FORMATS`; of several frames the first is read.
        sample: what to call it in errors.

    Raises:
        CorruptSample: if it is empty, cut short, damaged, no image, too large to be one, or has float pixels (of unknown range).
    """
    if not content:
        raise CorruptSample(sample, "it is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return _rgb(image)
    except MemoryError:
        raise  # the fault of the machine
    except UnidentifiedImageError as error:
        raise CorruptSample(sample, "not an image of a known format") from error
    except Exception as error:  # on damaged bytes Pillow's decoders raise nearly anything: OSError, SyntaxError, struct.error, ...
        raise CorruptSample(sample, str(error).strip() or type(error).__name__) from error


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode == "F":
        raise ValueError("its pixels are floats, whose range is unknown")
    if image.mode.startswith("I"):  # I;16 and its byte orders, and I, into which Pillow reads 16-bit PGM
        high_byte = np.asarray(image).clip(0, 2**16 - 1) >> 8
        return high_byte.astype(np.uint8)[..., None].repeat(3, axis=-1)
    image.load()
    image.info.pop("transparency", None)  # it is dropped anyway, and Pillow would warn of it
    return np.asarray(image.convert("RGB"))
