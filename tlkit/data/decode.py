"""Decode image files of any pixel format into square RGB arrays."""

import io
import os
import re
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Literal, TypeVar

import numpy as np
from PIL import Image, ImageFile, ImageOps

from tlkit.data.layout import FORMATS, printable
from tlkit.data.resizing import fit
from tlkit.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
WINDOW = 4 * CORES

MAX_SIDE = 65_535  # height and width in pixels, as in JPEG; some decoders need memory for 255 rows at once
MAX_READS = 10_000  # reads of a header; ordinary files need tens
MAX_EXIF = 2**16  # bytes, as in JPEG; Pillow's memory for EXIF tags can grow with the square of this
MAX_TAGS = 2**18  # EXIF tags anywhere in an AVIF file
TAG_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}  # by type; others have 1
MAX_SCANNED = 2**31  # pixels of all scans of a JPEG together, about 3 seconds
MAX_COMMENTS = 1000  # of a PPM file in plain text, since Pillow's time for them grows with their square
LARGE = 2**25  # pixels; larger images are decoded one at a time, so that memory does not grow with the cores
BAND = 2**20  # pixels that are converted at a time
_large_images = Lock()


def decode(path: str | Path, image_size: int) -> np.ndarray:
    """Read an image file as uint8 RGB pixels `(image_size, image_size, 3)`, values 0 to 255.

    The formats are those of `tlkit.data.layout.FORMATS`; the ending of the file name does not matter. The
    EXIF orientation is applied, and an animation gives its first frame. Transparent pixels become white.
    Grey, palette and CMYK images become RGB. Grey levels beyond 8 bits are scaled, not clipped: integers from
    0..65535, floats from the smallest range of 0..1, 0..255 and 0..65535 that contains them. Values above all
    of these ranges are divided by their maximum; values below 0 become black. The shorter side is then
    resized to `image_size` by a bilinear filter with antialiasing, and the centre is cropped.

    Raises:
        DataError: as for `opened`, or the file is truncated. The message is "path: reason".
    """
    with opened(path) as image:
        # Decode a JPEG at 1/2, 1/4 or 1/8 of its size if that leaves at least 1.5 times the final size.
        # From there the filter leaves no more aliasing than from the full size; from less it would.
        pixels = image.width * image.height
        image.draft(None, (3 * image_size // 2, 3 * image_size // 2))
        if not _has_scans(image):  # of a JPEG in several scans, all coefficients are in memory
            pixels = image.width * image.height
        with _large_images if pixels > LARGE else nullcontext():
            image.load()
            _check_exif(image)  # again, since a PNG may have it behind the pixels
            ImageOps.exif_transpose(image, in_place=True)  # otherwise it copies images that need no change
            return square(image, image_size)


@contextmanager
def opened(path: str | Path) -> Iterator[ImageFile.ImageFile]:
    """Open an image file of unknown origin; the pixels are read when they are used.

    Raises:
        DataError: the file is missing, is no regular file, is of another format than those in `FORMATS`, is
            damaged, or would take far more memory or time than its size suggests: it has more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS`, a side of more than 65,535 pixels, or a header of that kind. Errors
            inside the `with` block become DataErrors, too. The message is "path: reason", in one line.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # opening a named pipe would wait for its writer
            raise ValueError("not a regular file")
        with _Header(path) as file, Image.open(file, formats=_formats()) as image:
            file.limited = False
            _check_size(image)
            _check_exif(image)
            _check_work(image, Path(path))
            yield image
    except Image.UnidentifiedImageError as error:
        *others, last = FORMATS
        expected = f"{', '.join(others)} or {last}"
        raise DataError(f"{printable(path)}: cannot identify image file; expected {expected}") from error
    except Exception as error:  # Pillow's plugins raise nearly every type on damaged files
        text = " ".join(str(error).split()).replace(f" '{path}'", "").rstrip(":.")
        raise DataError(f"{printable(path)}: {printable(text) or type(error).__name__}") from error


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(each for each in FORMATS if each in Image.OPEN)  # Pillow before 11.3 has no AVIF


class _Header(io.BufferedReader):
    """An image file of which Pillow can read only a limited amount before it decodes the pixels.

    Otherwise a small file could take gigabytes or hours, such as a TIFF file with thousands of tags that all
    refer to the same bytes, or a GIF file with a comment in a million blocks.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(io.FileIO(path))
        self.limited = True
        self.reads, self.exif = MAX_READS, MAX_EXIF
        self.bytes = 2 * os.fstat(self.fileno()).st_size + 2**20

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        if self.limited:
            self.reads -= 1
            self.bytes -= len(content)
            self.exif -= len(content) if content.startswith(b"Exif") else 0
            if content[4:8] == b"ftyp":  # AVIF, whose tags Pillow reads from memory as it opens the file
                self.bytes -= _bytes_of_tags(content)
            if min(self.reads, self.bytes, self.exif) < 0:
                raise ValueError("the header has too many parts; it is damaged, or made to exhaust memory")
        return content


def _bytes_of_tags(content: bytes) -> int:
    """Return the bytes of all EXIF tags anywhere in a file; overlapping tags count more than once."""
    total, left = 0, MAX_TAGS
    for start in re.finditer(rb"II\*\0|MM\0\*", content):
        tags = memoryview(content)[start.start() :]
        order: Literal["little", "big"] = "little" if start[0].startswith(b"I") else "big"
        at = int.from_bytes(tags[4:8], order)
        n = int.from_bytes(tags[at : at + 2], order)
        if (left := left - n) < 0:
            raise ValueError(f"the file has more than {MAX_TAGS} EXIF tags")
        for entry in range(at + 2, at + 2 + 12 * n, 12):
            kind, count, value = (
                int.from_bytes(tags[entry + first : entry + last], order)
                for first, last in ((2, 4), (4, 8), (8, 12))
            )
            size = count * TAG_BYTES.get(kind, 1)
            total += size if value + size <= len(tags) else 0  # Pillow leaves out tags beyond the end
    return total


def _check_size(image: ImageFile.ImageFile) -> None:
    limit, pixels = Image.MAX_IMAGE_PIXELS, image.width * image.height
    if limit and pixels > limit:
        raise ValueError(f"{image.width} x {image.height} pixels are more than {limit}")
    if max(image.size) > MAX_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels; expected sides of at most {MAX_SIDE}")
    tags = getattr(image, "tag_v2", {})  # of TIFF
    tile = tags.get(322, 0) * tags.get(323, 0)
    if limit and tile > limit:
        raise ValueError(f"a tile of {tile} pixels is larger than {limit}")


def _check_exif(image: ImageFile.ImageFile) -> None:
    """Raise ValueError for large EXIF data, whose tags could refer to the same bytes again and again."""
    sizes = len(image.info.get("exif", "")), len(image.info.get("Raw profile type exif", "")) // 2
    if max(sizes) > MAX_EXIF:
        raise ValueError(f"EXIF data of {max(sizes)} bytes are more than {MAX_EXIF}")


def _check_work(image: ImageFile.ImageFile, path: Path) -> None:
    """Raise ValueError for files that take long although they have few pixels."""
    if image.tile and image.tile[0][0] == "ppm_plain" and path.read_bytes().count(b"#") > MAX_COMMENTS:
        raise ValueError(f"the file has more than {MAX_COMMENTS} comments")
    if _has_scans(image):
        pixels = image.width * image.height
        for scan in _scans(path.read_bytes()):
            if scan * pixels > MAX_SCANNED:
                raise ValueError(f"{image.width} x {image.height} pixels in {scan} or more JPEG scans")


def _has_scans(image: ImageFile.ImageFile) -> bool:
    """Return whether a file is a JPEG with several scans, such as a progressive one."""
    if not hasattr(image, "layers") or image.fp is None:
        return False
    start = image.fp.tell()  # of the header of the first scan: two bytes for its length, one for its channels
    channels = image.fp.read(3)[-1:]
    image.fp.seek(start)
    return "progressive" in image.info or channels < bytes([image.layers])


def _scans(content: bytes) -> Iterator[int]:
    """Yield 1, 2, ... at each scan of a JPEG."""
    marker, start, scans = re.compile(rb"\xff([\x01-\xcf\xd9-\xfe])"), 2, 0
    while (found := marker.search(content, start)) and found[1] != b"\xd9":  # the end of the image
        if found[1] == b"\xda":
            scans += 1
            yield scans
        start = found.end() + int.from_bytes(content[found.end() : found.end() + 2])


def square(image: Image.Image, image_size: int) -> np.ndarray:
    """Convert a Pillow image of any mode to uint8 RGB pixels `(image_size, image_size, 3)`.

    >>> square(Image.new("L", (40, 20), 255), 8).shape
    (8, 8, 3)
    """
    if image.mode == "F" or image.mode.startswith("I"):
        scale = _full_scale(image)
        image = _by_band(image, "L", lambda band: Image.fromarray(_to_8_bit(_levels(band), scale)))
    if image.has_transparency_data:
        image = _by_band(image, "RGB", _on_white)
    if image.mode not in ("L", "RGB"):  # one channel is resized faster than three
        image = image.convert("RGB")
    return fit(image, image_size)


def is_transparent(image: Image.Image) -> bool:
    """Return whether any pixel is transparent; an alpha channel may be opaque everywhere.

    >>> is_transparent(Image.new("RGBA", (2, 2), (0, 0, 0, 255)))
    False
    """
    return image.has_transparency_data and any(
        band.convert("RGBA").getchannel("A").getextrema()[0] != 255 for _, band in _bands(image)
    )


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield the first row of each band of rows, and the band: converting all at once takes more memory."""
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _by_band(image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    converted = Image.new(mode, image.size)
    for top, band in _bands(image):
        converted.paste(convert(band), (0, top))
    return converted


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _levels(image: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(image, "float32"), posinf=0.0, neginf=0.0).clip(min=0.0)


def _full_scale(image: Image.Image) -> float:
    """Return the level that becomes white."""
    peak = max(float(_levels(band).max()) for _, band in _bands(image))
    ranges = (1, 255, 65535) if image.mode == "F" else (65535,)
    return next((each for each in ranges if peak <= each), peak)


def _to_8_bit(levels: np.ndarray, scale: float) -> np.ndarray:
    return np.round(levels * (255.0 / scale)).astype("uint8")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int = WINDOW
) -> Iterator[Result]:
    """Apply `function` to the items on one thread per core; yield the results in the order of the items.

    At most `ahead` results wait at any time, so memory use does not grow with the number of items
    (`ThreadPoolExecutor.map` would submit all items at once). The threads end with the iterator, even if it
    is closed early or `function` raises an error.

    >>> list(ordered_map(abs, [3, -1, -2]))
    [3, 1, 2]
    """
    Image.init()  # loading Pillow's plugins is not safe on several threads at once
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(CORES, "tlkit-decode")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # At exit, Python has ended the threads already, and cleared the modules that `shutdown` needs.
        if not sys.is_finalizing():
            pool.shutdown(cancel_futures=True)
