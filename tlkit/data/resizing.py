"""Resize images bilinearly with antialiasing: by SIMD instructions where that works, else by Pillow."""

import threading
from importlib.util import find_spec
from typing import Any

import numpy as np
import PIL
from PIL import Image, ImageOps

# The fast package has no wheels for Linux on ARM. It reads the memory of Pillow's images, whose layout may
# change with the next major version. Pillow's own result differs by at most one level.
FAST = find_spec("cykooz_resizer") is not None and PIL.__version__.split(".")[0] in ("11", "12")
_of_thread = threading.local()


def fit(image: Image.Image, image_size: int) -> np.ndarray:
    """Resize the shorter side of an image to `image_size`, and crop the centre.

    The filter is bilinear with antialiasing, as in torchvision's `Resize(antialias=True)`: when an image
    becomes k times smaller, the triangular kernel becomes k times wider.

    Args:
        image: of mode L or RGB, 8 bits per channel, any size.
        image_size: height and width in pixels.

    Returns:
        uint8 RGB `(image_size, image_size, 3)`, values 0 to 255.

    >>> fit(Image.new("RGB", (40, 20), "red"), 8)[0, 0].tolist()
    [255, 0, 0]
    """
    size = image_size, image_size
    if FAST:
        small = Image.new(image.mode, size)
        image.load()
        resizer, options = _resizer()
        resizer.resize_pil(image, small, options)
    else:
        small = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    return np.array(small.convert("RGB") if small.mode == "L" else small)


def _resizer() -> tuple[Any, Any]:
    """Return the resizer of this thread, which keeps its buffers from image to image, and its options."""
    from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer

    if not hasattr(_of_thread, "resizer"):
        bilinear = ResizeAlg.convolution(FilterType.bilinear)
        options = ResizeOptions(resize_alg=bilinear, use_alpha=False, fit_into_destination=(0.5, 0.5))
        _of_thread.resizer = Resizer(), options
    return _of_thread.resizer
