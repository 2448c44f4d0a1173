"""Decode image files of any pixel format into square RGB arrays."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from tlkit.data.resizing import fit
from tlkit.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
WINDOW = 4 * CORES


def decode(path: str | Path, image_size: int) -> np.ndarray:
    """Read an image file as uint8 RGB pixels `(image_size, image_size, 3)`, values 0 to 255.

    The EXIF orientation is applied, and an animation gives its first frame. Transparent pixels become white.
    Grey, palette and CMYK images become RGB. Grey levels beyond 8 bits are scaled, not clipped: integers from
    0..65535, floats from the smallest range of 0..1, 0..255 and 0..65535 that contains them. Values above all
    of these ranges are divided by their maximum; values below 0 become black. The shorter side is then
    resized to `image_size` by a bilinear filter with antialiasing, and the centre is cropped.

    Raises:
        DataError: the file is not an image, is truncated, or has more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS` (a decompression bomb). The message is "path: reason".
    """
    try:
        with Image.open(path) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit and image.width * image.height > limit:
                raise ValueError(f"{image.width} x {image.height} pixels are more than {limit}")
            # Decode a JPEG at 1/2, 1/4 or 1/8 of its size if that leaves at least 1.5 times the final size.
            # From there the filter leaves no more aliasing than from the full size; from less it would.
            image.draft(None, (3 * image_size // 2, 3 * image_size // 2))
            ImageOps.exif_transpose(image, in_place=True)  # otherwise it copies images that need no change
            return square(image, image_size)
    except Exception as error:  # Pillow's plugins raise nearly every type on damaged files
        reason = " ".join(str(error).split()).replace(f" '{path}'", "").rstrip(":.") or type(error).__name__
        raise DataError(f"{path}: {reason}") from error


def square(image: Image.Image, image_size: int) -> np.ndarray:
    """Convert a Pillow image of any mode to uint8 RGB pixels `(image_size, image_size, 3)`.

    >>> square(Image.new("L", (40, 20), 255), 8).shape
    (8, 8, 3)
    """
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(_to_8_bit(np.asarray(image, "float32"), floating=image.mode == "F"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode not in ("L", "RGB"):  # one channel is resized faster than three
        image = image.convert("RGB")
    return fit(image, image_size)


def _to_8_bit(levels: np.ndarray, floating: bool) -> np.ndarray:
    levels = np.nan_to_num(levels, posinf=0.0, neginf=0.0).clip(min=0.0)
    peak = float(levels.max())
    scale = next((each for each in ((1, 255, 65535) if floating else (65535,)) if peak <= each), peak)
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
