"""Corrupted copies of images, to measure how a classifier behaves when the images change after training."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from tlkit.errors import DataError, UnknownNameError

# Severities 1 to 5, as in the published code of Hendrycks & Dietterich (ImageNet-C, images of 224 pixels).
NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)  # standard deviation, of values 0 to 1
BLUR = (1, 2, 3, 4, 6)  # standard deviation in pixels, at 224 pixels
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)  # the fraction of the contrast that is left
JPEG = (25, 18, 15, 10, 7)  # quality, 1 to 95
SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(images: np.ndarray, name: str, severity: int, seed: int = 0) -> np.ndarray:
    """Return corrupted copies of images.

    - `"noise"` adds Gaussian noise to every value.
    - `"blur"` is a Gaussian blur. It is scaled with the image size, so that it removes the same details of a
      scene at every size; images of 28 pixels hardly change at severities 1 and 2.
    - `"contrast"` moves all values towards the mean colour of their image.
    - `"jpeg"` compresses and decompresses the image as JPEG.

    Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations".

    Args:
        images: uint8 RGB `(n, h, w, 3)`, values 0 to 255.
        name: one of `CORRUPTIONS`.
        severity: 1, a weak corruption, to 5, a strong one.
        seed: chooses the noise. The noise of an image depends on its place in `images`.

    Returns:
        uint8 `(n, h, w, 3)`.

    Raises:
        UnknownNameError: there is no such corruption.
        DataError: a severity other than 1 to 5, or images of another dtype or shape.

    >>> grey = np.full((2, 8, 8, 3), 128, "uint8")
    >>> noisy = corrupt(grey, "noise", severity=1)
    >>> noisy.shape, float(round(noisy.std() / 255, 2))
    ((2, 8, 8, 3), 0.08)
    """
    images = np.asarray(images)
    if name not in _CORRUPTIONS:
        raise UnknownNameError("corruption", name, CORRUPTIONS)
    if severity not in SEVERITIES:
        raise DataError(f"severity={severity!r} was given; expected a whole number from 1 to 5.")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise DataError(
            f"The images are {images.dtype} {images.shape}; expected uint8 (n, height, width, 3). Convert "
            "values from 0 to 1 by (255 * images).round().astype('uint8')."
        )
    rng = np.random.default_rng(seed)
    changed = [_CORRUPTIONS[name](image, int(severity) - 1, rng) for image in images]
    return np.stack(changed) if changed else images.copy()


def _noise(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    return _as_uint8(image + 255 * NOISE[level] * rng.standard_normal(image.shape, "float32"))


def _blur(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    sigma = BLUR[level] * min(image.shape[:2]) / 224
    return _as_uint8(ndimage.gaussian_filter(image.astype("float32"), (sigma, sigma, 0), mode="nearest"))


def _contrast(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    mean = image.mean(axis=(0, 1))
    return _as_uint8(mean + CONTRAST[level] * (image - mean))


def _jpeg(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG[level])
    return np.asarray(Image.open(file))


def _as_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype("uint8")


_CORRUPTIONS: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "jpeg": _jpeg,
}
CORRUPTIONS = list(_CORRUPTIONS)
