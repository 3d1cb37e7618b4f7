import io
import pickle
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image
from torchvision.datasets.folder import default_loader

from tracer.data.images import CorruptSample, decode
from tracer.errors import UserError

RED, HALF = (200, 30, 40), 128


def encoded(image, kind="png", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(shape=(12, 9, 3)):
    return np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)


def bomb(width, height):
    """A PNG that claims a size and has next to no pixels."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


class TestModes:
    def test_color_is_kept(self):
        assert np.array_equal(decode(encoded(Image.fromarray(noise())), "a"), noise())

    def test_grey_is_repeated(self):
        grey = noise((12, 9))
        assert np.array_equal(decode(encoded(Image.fromarray(grey)), "a"), grey[..., None].repeat(3, axis=-1))

    def test_black_and_white(self):
        bits = noise((12, 9)) > HALF
        assert np.array_equal(decode(encoded(Image.fromarray(bits)), "a")[..., 1], bits * np.uint8(255))

    @pytest.mark.parametrize("mode", ["LA", "RGBA"])
    def test_alpha_is_dropped_as_open_clip_does(self, mode):
        image = Image.fromarray(noise()).convert(mode)
        image.putalpha(Image.fromarray(noise((12, 9))))
        expected = np.asarray(Image.fromarray(noise()).convert(mode[:-1]).convert("RGB"))
        assert np.array_equal(decode(encoded(image), "a"), expected)

    def test_palette_with_transparency(self):
        image = Image.fromarray(noise()).quantize(8)
        content = encoded(image, transparency=bytes([0, 90, *[255] * 6]))
        with Image.open(io.BytesIO(content)) as read:
            assert (read.mode, type(read.info["transparency"])) == ("P", bytes)
        with warnings.catch_warnings(action="error"):
            decoded = decode(content, "a")
        assert np.array_equal(decoded, np.asarray(image.convert("RGB")))

    def test_cmyk(self):
        inks = Image.new("CMYK", (9, 12), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
        assert decode(encoded(inks, "tiff"), "a")[3, 3].tolist() == [255, 0, 0]
        assert np.abs(decode(encoded(inks, "jpeg", quality=100), "a")[3, 3].astype(int) - [255, 0, 0]).max() <= 3

    @pytest.mark.parametrize("kind", ["png", "tiff"])
    def test_sixteen_bits_keep_their_high_byte(self, kind):
        """Pillow's own conversion would turn three of these four greys white."""
        grey = np.array([[0, 256 * 7, 256 * 128 + 5, 65535]], dtype=np.uint16)
        image = decode(encoded(Image.fromarray(grey), kind), "a")
        assert image.dtype == np.uint8
        assert image[0].tolist() == [[0] * 3, [7] * 3, [128] * 3, [255] * 3]
        assert np.asarray(Image.fromarray(grey).convert("RGB"))[0, :, 0].tolist() == [0, 255, 255, 255]

    def test_sixteen_bits_of_portable_greymaps(self):
        content = b"P5 3 1 65535\n" + np.array([0, 256 * 7, 65535], dtype=">u2").tobytes()
        assert decode(content, "a")[0, :, 0].tolist() == [0, 7, 255]

    def test_floats_are_refused(self):
        with pytest.raises(CorruptSample, match="floats"):
            decode(encoded(Image.fromarray(np.ones((3, 3), dtype=np.float32)), "tiff"), "a")


class TestFormats:
    def test_postscript_is_not_handed_to_another_program(self, monkeypatch):
        """Pillow would, whatever the file is called."""

        def never(*args, **kwargs):
            raise AssertionError("Ghostscript was started")

        monkeypatch.setattr(EpsImagePlugin, "Ghostscript", never)
        monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
        content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 12\n%%EndComments\n/s {(x) print} def s\nshowpage\n%%EOF\n"
        with pytest.raises(AssertionError, match="Ghostscript"), Image.open(io.BytesIO(content)) as image:
            image.load()
        with pytest.raises(CorruptSample, match="not an image of a known format"):
            decode(content, "a.png")

    @pytest.mark.parametrize("kind", ["ico", "tga", "pcx", "jpeg2000", "pdf", "sgi"])
    def test_other_formats_are_refused(self, kind):
        with pytest.raises(CorruptSample, match="not an image of a known format"):
            decode(encoded(Image.fromarray(noise()), kind), "a.png")

    @pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp", "tiff", "ppm", "gif", "mpo"])
    def test_those_of_the_suffixes_and_of_the_web_are_read(self, kind):
        assert decode(encoded(Image.fromarray(noise()), kind), "a").shape == (12, 9, 3)

    def test_images_are_not_turned_as_open_clips_loaders_do_not(self, tmp_path):
        turned = Image.Exif()
        turned[0x0112] = 6
        content = encoded(Image.fromarray(noise()), exif=turned)
        (tmp_path / "a.png").write_bytes(content)
        assert np.array_equal(decode(content, "a"), np.asarray(default_loader(tmp_path / "a.png")))
        assert decode(content, "a").shape == (12, 9, 3)


class TestDamage:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "it is empty"),
            (b"nonsense" * 20, "not an image of a known format"),
            (encoded(Image.fromarray(noise()))[:200], "truncated"),
            (encoded(Image.fromarray(noise((64, 64, 3))), "jpeg")[:900], "truncated"),
            (bomb(30_000, 30_000), "decompression bomb"),
        ],
        ids=["empty", "nonsense", "cut png", "cut jpeg", "bomb"],
    )
    def test_is_told_in_a_sentence(self, content, reason):
        with pytest.raises(CorruptSample, match=rf"cannot read shelf/a\.png \(.*{reason}.*\): repair it or take it out"):
            decode(content, "shelf/a.png")

    @pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "gif", "webp", "bmp", "ppm"])
    def test_no_damage_escapes(self, kind):
        """Whatever a decoder raises on damaged bytes, it is that the image is corrupt."""
        whole, rng = encoded(Image.fromarray(noise()), kind), np.random.default_rng(1)
        told = 0
        for _ in range(60):
            damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            for place in rng.integers(len(damaged), size=3):
                damaged[place] = rng.integers(256)
            try:
                assert decode(bytes(damaged), "a").dtype == np.uint8
            except CorruptSample:
                told += 1
        assert told > 0

    def test_fault_survives_the_way_out_of_a_worker(self):
        error = pickle.loads(pickle.dumps(CorruptSample("a.png", "it is empty")))
        assert isinstance(error, UserError)
        assert (error.sample, error.reason, str(error)) == (
            "a.png",
            "it is empty",
            "cannot read a.png (it is empty): repair it or take it out",
        )

    def test_a_full_memory_is_not_the_images_fault(self, monkeypatch):
        def full(*args, **kwargs):
            raise MemoryError

        monkeypatch.setattr(Image, "open", full)
        with pytest.raises(MemoryError):
            decode(b"x", "a")
