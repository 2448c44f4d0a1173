"""Resize images bilinearly with antialiasing: fast where the package for it is installed, else by Pillow."""

import threading
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image, ImageOps

# There are no wheels for ARM on Linux. Pillow's result differs by at most one level.
FAST = find_spec("cykooz_resizer") is not None
_of_thread = threading.local()


def fit(image: Image.Image, image_size: int) -> np.ndarray:
    """Resize the shorter side of an image to `image_size`, and crop the centre.

    The filter is bilinear with antialiasing: a triangle that is as wide as the reduction, as in torchvision's
    `Resize(antialias=True)`.

    Args:
        image: of mode L or RGB.
        image_size: height and width in pixels.

    Returns:
        uint8 RGB `(image_size, image_size, 3)`, values 0 to 255.

    >>> fit(Image.new("RGB", (40, 20), "red"), 8)[0, 0].tolist()
    [255, 0, 0]
    """
    if not FAST:
        small = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
        return np.array(small.convert("RGB"))
    pixels = _fit(image, image_size)
    return np.repeat(pixels, 3, axis=-1) if image.mode == "L" else np.ascontiguousarray(pixels[..., :3])


def _fit(image: Image.Image, image_size: int) -> np.ndarray:
    """Return the resized pixels with one channel for grey images, and with four for RGB."""
    from cykooz_resizer import ImageData, PixelType

    kind, layout = (PixelType.U8, "L") if image.mode == "L" else (PixelType.U8x4, "RGBX")
    source = ImageData(*image.size, kind, image.tobytes("raw", layout))
    target = ImageData(image_size, image_size, kind)
    resizer, options = _resizer()
    resizer.resize(source, target, options)
    return np.frombuffer(target.get_buffer(), "uint8").reshape(image_size, image_size, -1)


def _resizer() -> tuple[Any, Any]:
    """Return the resizer of this thread, which keeps its buffers from image to image, and its options."""
    from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer

    if not hasattr(_of_thread, "resizer"):
        bilinear = ResizeAlg.convolution(FilterType.bilinear)
        options = ResizeOptions(resize_alg=bilinear, use_alpha=False, fit_into_destination=(0.5, 0.5))
        _of_thread.resizer = Resizer(), options
    return _of_thread.resizer
