"""Every format of image file is decoded to a square RGB array that looks like the image."""

import io
import os
import re
import resource
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from tlkit.data import resizing
from tlkit.data.decode import BAND, WINDOW, decode, is_transparent, ordered_map, square
from tlkit.data.layout import ENDINGS
from tlkit.errors import DataError

RED, WHITE = (255, 0, 0), (255, 255, 255)


def colours(pixels):
    return {tuple(colour) for colour in pixels.reshape(-1, 3).tolist()}


def save(image, path, **options):
    image.save(path, **options)
    return path


def test_the_result_is_a_square_of_uint8(write_image):
    pixels = decode(write_image("wide.png", size=(90, 30)), 12)
    assert pixels.shape == (12, 12, 3)
    assert pixels.dtype == np.uint8


def test_the_shorter_side_fits_and_the_centre_is_kept(tmp_path):
    image = Image.new("RGB", (90, 30), WHITE)
    image.paste(RED, (30, 0, 60, 30))
    assert colours(decode(save(image, tmp_path / "a.png"), 30)) == {RED}


def test_grey_palette_and_one_bit_become_rgb(tmp_path):
    grey = decode(save(Image.new("L", (8, 8), 77), tmp_path / "grey.png"), 8)
    assert colours(grey) == {(77, 77, 77)}
    palette = Image.new("RGB", (8, 8), RED).convert("P", palette=Image.Palette.ADAPTIVE)
    assert colours(decode(save(palette, tmp_path / "p.png"), 8)) == {RED}
    assert colours(decode(save(Image.new("1", (8, 8), 1), tmp_path / "bit.png"), 8)) == {WHITE}


def test_transparent_pixels_become_white(tmp_path):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    palette = Image.new("P", (8, 8), 3)
    palette.putpalette([0, 0, 0] * 256)
    assert colours(decode(save(clear, tmp_path / "clear.png"), 8)) == {WHITE}
    assert colours(decode(save(half, tmp_path / "half.png"), 8)) == {(127, 127, 127)}
    assert colours(decode(save(Image.new("LA", (8, 8), (0, 0)), tmp_path / "la.png"), 8)) == {WHITE}
    assert colours(decode(save(palette, tmp_path / "palette.png", transparency=3), 8)) == {WHITE}


def test_cmyk_jpegs_have_their_colours(tmp_path):
    path = save(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), tmp_path / "ink.jpg", quality=95)
    red, green, blue = decode(path, 16)[8, 8].tolist()
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path, ending):
    levels = np.tile(np.array([0, 128 * 257, 65535], "uint16").repeat(4), (12, 1))
    pixels = decode(save(Image.fromarray(levels), tmp_path / f"deep.{ending}"), 12)
    assert pixels[6, [1, 6, 10], 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("peak", [1.0, 255.0, 65535.0])
def test_float_grey_is_scaled_from_the_smallest_range_that_contains_it(tmp_path, peak):
    levels = np.full((8, 8), peak / 2, "float32")
    levels[0, 0] = peak
    path = save(Image.fromarray(levels), tmp_path / "float.tif")
    assert decode(path, 8)[4, 4].tolist() == [128, 128, 128]


def test_32_bit_integers_beyond_65535_keep_their_contrast():
    levels = np.full((8, 8), 2_000_000, "int32")
    levels[:, 4:] = 0
    assert square(Image.fromarray(levels), 8)[4, [0, 7], 0].tolist() == [255, 0]


def test_exif_orientation_rotates_the_image(tmp_path):
    image = Image.new("RGB", (40, 40), WHITE)
    image.paste(RED, (0, 0, 20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise: the left side becomes the top
    pixels = decode(save(image, tmp_path / "rotated.png", exif=exif), 40)
    assert colours(pixels[:18]) == {RED}
    assert colours(pixels[22:]) == {WHITE}


def test_exif_orientation_rotates_a_jpeg_that_is_decoded_at_a_reduced_size(tmp_path):
    image = Image.new("RGB", (400, 300), WHITE)
    image.paste(RED, (0, 0, 200, 300))
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode(save(image, tmp_path / "rotated.jpg", exif=exif, quality=95), 40)
    for half, colour in ((pixels[:18], RED), (pixels[22:], WHITE)):
        assert abs(half.astype(int) - colour).max() < 5


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, WHITE)]
    path = save(frames[0], tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert colours(decode(path, 8)) == {RED}


def test_a_large_jpeg_decoded_at_a_reduced_size_has_nearly_the_same_pixels(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 800, dtype="uint8"), (800, 1))
    image = Image.fromarray(np.stack([ramp, ramp.T, ramp], -1))
    path = save(image, tmp_path / "large.jpg", quality=95)
    difference = decode(path, 50).astype(int) - square(image, 50)
    assert abs(difference).max() <= 4


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize("size", [60, 100, 150, 240, 480])  # a JPEG is decoded at 1/1, 1/1, 1/2, 1/4 and 1/8
def test_stripes_too_fine_for_the_result_become_grey(tmp_path, ending, size):
    period = 1.4 * size / 40  # in pixels of the file; the finest stripes that 40 pixels can show take 2 each
    row = 127.5 + 120 * np.sin(2 * np.pi * np.arange(size) / period)
    vertical = np.tile(row.astype("uint8"), (size, 1))
    for stripes in (vertical, vertical.T):
        options = {"quality": 95} if ending == "jpg" else {}
        pixels = decode(save(Image.fromarray(stripes), tmp_path / f"stripes.{ending}", **options), 40)
        assert pixels.std() < 0.2 * stripes.std()
        assert abs(pixels.mean() - stripes.mean()) < 2


def test_a_small_jpeg_is_enlarged_smoothly(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 16).astype("uint8"), (16, 1))
    row = decode(save(Image.fromarray(ramp), tmp_path / "small.jpg", quality=95), 64)[32, :, 0].astype(int)
    assert row[0] < 5
    assert row[-1] > 250
    assert -2 <= np.diff(row).min() <= np.diff(row).max() <= 10


def test_a_grey_image_has_the_pixels_of_the_same_image_in_rgb(tmp_path, write_image):
    grey = Image.open(write_image("noise.png", size=(50, 40))).convert("L")
    pixels = decode(save(grey, tmp_path / "grey.png"), 12)
    np.testing.assert_array_equal(pixels, decode(save(grey.convert("RGB"), tmp_path / "rgb.png"), 12))


def test_a_progressive_jpeg_has_the_pixels_of_a_baseline_jpeg(tmp_path, write_image):
    image = Image.open(write_image("noise.png", size=(200, 150)))
    baseline, progressive = (
        decode(save(image, tmp_path / f"{kind}.jpg", progressive=kind), 32) for kind in (False, True)
    )
    np.testing.assert_array_equal(baseline, progressive)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_truncated_file_is_named(tmp_path, write_image, name):
    content = write_image(name, size=(64, 64)).read_bytes()
    path = tmp_path / f"half_{name}"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: .+$"):
        decode(path, 8)


def test_a_file_that_is_not_an_image_is_named(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("not an image")
    with pytest.raises(DataError, match=r"text\.jpg: cannot identify image file; expected JPEG, .* or PPM$"):
        decode(path, 8)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [50, 300])  # beyond twice the limit Pillow raises, below it warns
def test_a_decompression_bomb_is_unreadable(write_image, monkeypatch, limit):
    path = write_image("bomb.png", size=(20, 20))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=r"bomb\.png: .*pixels"):
        decode(path, 8)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_documented_ending_is_a_format_that_is_read(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    image = Image.new("1" if ending == ".pbm" else "RGB", (9, 9), 1)
    save(image, path, format=Image.registered_extensions()[ending])
    assert decode(path, 8).shape == (8, 8, 3)


@pytest.mark.parametrize("name", ["EPS", "ICO", "PDF", "TGA", "JPEG2000", "PCX"])
def test_a_file_of_another_format_is_refused_whatever_its_ending(tmp_path, name):
    path = save(Image.new("RGB", (16, 16)), tmp_path / "a.jpg", format=name)
    with pytest.raises(DataError, match=r"a\.jpg: cannot identify image file; expected JPEG"):
        decode(path, 8)


def png(width, height, *chunks, behind=()):
    rows = zlib.compress(bytes((1 + 3 * width) * height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", rows), *behind, (b"IEND", b"")]
    found = (struct.pack(">I", len(each)) + kind + each for kind, each in parts)
    sums = (struct.pack(">I", zlib.crc32(kind + each)) for kind, each in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(a + b for a, b in zip(found, sums, strict=True))


def overlapping_tags(n, size):
    """TIFF data of n tags that all refer to the same bytes."""
    start = 8 + 2 + 12 * n + 4
    tags = b"".join(struct.pack("<HHII", 1000 + i, 7, size, start) for i in range(n))
    return struct.pack("<4sIH", b"II*\0", 8, n) + tags + bytes(4 + size)


def jpeg(before=b"", scans=0, size=8):
    file = io.BytesIO()
    Image.new("L", (size, size)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    last = content[content.rindex(b"\xff\xc4") : -2]  # the last scan with its table
    return content[:2] + before + content[2:-2] + scans * last + b"\xff\xd9"


def segments(content, size=60_000):
    parts = (b"Exif\0\0" + content[i : i + size] for i in range(0, len(content), size))
    return b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(each)) + each for each in parts)


def avif(tags, more=b""):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "AVIF", exif=tags)
    return file.getvalue() + more


def gif(comment):
    file = io.BytesIO()
    Image.new("P", (8, 8)).save(file, "GIF")
    content = file.getvalue()
    start = content.index(b",", 13)
    return content[:start] + b"!\xfe" + comment + b"\0" + content[start:]


def bmp(width, height, rle):
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rle), 0, 0, 256, 0)
    return struct.pack("<2sIII", b"BM", 1078 + len(rle), 0, 1078) + header + bytes(1024) + rle


def tiff_tile(side):
    tags = {256: 100, 257: 100, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 8, 325: 9}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<4sIH", b"II*\0", 8, len(tags)) + entries + bytes(40)


BOMBS = {
    "tags.tif": overlapping_tags(1000, 300_000),
    "tile.tif": tiff_tile(30_000),
    "exif.png": png(8, 8, (b"eXIf", overlapping_tags(1000, 300_000))),
    "late_exif.png": png(8, 8, behind=[(b"eXIf", overlapping_tags(1000, 300_000))]),
    "exif.avif": avif(overlapping_tags(1000, 300_000)),
    "many_tags.avif": avif(Image.Exif(), b"II*\0\x0c\0\0\0\0\0\0\0\xff\xff" * 200_000),
    "exif.jpg": jpeg(segments(overlapping_tags(1000, 300_000))),
    "scans.jpg": jpeg(scans=300, size=4000),
    "comment.gif": gif(b"\1a" * 200_000),
    "comments.pbm": b"P1 900 900\n" + b"#\n" * 100_000,
    "delta.bmp": bmp(1_000_000, 2, b"\0\2\0\xff\0\1"),
    "wide.png": png(70_000, 1),
    "high.png": png(1, 70_000),
    "text.png": png(8, 8, (b"zTXt", b"a\0\0" + zlib.compress(bytes(10_000_000)))),
    "chunks.png": png(8, 8, *[(b"prVt", b"")] * 20_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_would_take_much_memory_or_time_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BOMBS[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: .+$"):
        decode(path, 8)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000)])
def test_a_thin_image_is_read(tmp_path, size):
    assert decode(save(Image.new("RGB", size, RED), tmp_path / "thin.png"), 8).shape == (8, 8, 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_ordinary_large_jpegs_are_read(tmp_path, options):
    path = save(Image.new("RGB", (6000, 4000), WHITE), tmp_path / "photo.jpg", exif=Image.Exif(), **options)
    assert colours(decode(path, 8)) == {WHITE}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16", "F"])
def test_images_that_are_converted_in_bands_have_no_seams(tmp_path, mode):
    width = 1 + BAND // 100
    levels = np.linspace(0, 65535, 250)[:, np.newaxis].repeat(width, 1)
    image = Image.fromarray(levels.astype("uint16" if mode == "I;16" else "float32"))
    if "A" in mode:
        image = Image.fromarray((levels / 257).astype("uint8")).convert(mode)
        image.putalpha(128)
        assert is_transparent(image)
    steps = np.diff(square(image, 250)[:, 100, 0].astype(int))
    assert steps.min() >= 0
    assert steps.max() <= 2


def test_a_file_that_is_not_regular_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "pipe.png", tmp_path / "loop.png", tmp_path / "folder.png", "/dev/zero"):
        with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: .+$"):
            decode(path, 8)


@pytest.mark.parametrize("name", ["a" * 300 + ".png", "a\0.png", "two\nlines.png", os.fsdecode(b"\xff.png")])
def test_an_error_names_any_file_in_one_line_of_text(name):
    with pytest.raises(DataError) as raised:
        decode(name, 8)
    assert str(raised.value).encode().splitlines()[1:] == []


def test_the_threaded_map_keeps_order_and_holds_few_items_at_a_time():
    started = []

    def items():
        for i in range(10 * WINDOW):
            started.append(i)
            yield i

    for received, result in enumerate(ordered_map(lambda i: i * i, items())):
        assert result == received**2
        assert len(started) - received <= WINDOW


def test_python_exits_silently_with_an_unfinished_map():
    # An object that Python clears late holds the iterator, as when a script leaves off within an epoch.
    script = "import os, tlkit.data.decode as d; os.kept = d.ordered_map(abs, range(99)); next(os.kept)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stderr == ""


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(300, 300), (50, 120), (3, 70), (64, 64), (200, 9)])
def test_both_ways_to_resize_agree_within_a_level(mode, size, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), "uint8")
    image = Image.fromarray(noise).convert(mode)
    fast = resizing.fit(image, 64)
    monkeypatch.setattr(resizing, "FAST", False)
    assert abs(fast.astype(int) - resizing.fit(image, 64)).max() <= 1
    assert fast.shape == (64, 64, 3)
    assert fast.flags.writeable
