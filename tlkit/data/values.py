"""Check that arrays contain what a network expects: images of pixels 0 to 255, labels, sample weights."""

import warnings
from typing import Any

import numpy as np

from tlkit.errors import DataError, TlkitWarning

SAMPLE = 32  # images whose range of values is checked
BLOCK = 256  # images that are searched for NaN at a time


def check_images(images: Any, name: str) -> None:
    """Check the values of images in memory; images in files are correct by their type.

    NaN and infinite values are found in all images of floats, the range in the first 32 images.

    Args:
        images: `(n, height, width, channels)`, values 0 to 255; anything but an array is not checked.
        name: of the images, for messages.

    Raises:
        DataError: the values are not numbers, or not finite.

    Warns:
        TlkitWarning: the range of the values is another than 0 to 255, such as 0 to 1.

    >>> check_images(np.full((2, 8, 8, 3), np.nan), "images")
    Traceback (most recent call last):
    tlkit.errors.DataError: Image 0 of images has NaN or infinite values; expected pixels from 0 to 255. ...
    """
    if not isinstance(images, np.ndarray) or not images.size:
        return
    if images.dtype.kind in "OSUMmcV" and not np.can_cast(images.dtype, "float32"):
        raise DataError(
            f"The values of {name} have dtype {images.dtype}; expected numbers, the pixels from 0 to 255. "
            "Stack images of one size: np.stack(images)."
        )
    if images.dtype.kind not in "iub":
        for start in range(0, len(images), BLOCK):
            _check_finite(images[start : start + BLOCK], start, name)
    if images.ndim == 4 and images.shape[-1] in (1, 3, 4):  # stored activations have more channels
        _warn_range(images[:SAMPLE], name)


def _check_finite(block: np.ndarray, start: int, name: str) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(block.sum(dtype="float64")):  # one sum is faster than a test of each value
            return
    found = ~np.isfinite(block.astype("float64")).reshape(len(block), -1).all(axis=1)
    if found.any():
        raise DataError(
            f"Image {start + int(found.argmax())} of {name} has NaN or infinite values; expected pixels from "
            "0 to 255. Correct or remove such images: np.isfinite(images).all(axis=(1, 2, 3))."
        )


def _warn_range(sample: np.ndarray, name: str) -> None:
    low, high = float(sample.min()), float(sample.max())
    if 0 < high <= 1 and low >= 0:
        advice = "Multiply them by 255"
    elif low < 0:
        advice = "Shift and scale them to 0 to 255, such as 127.5 * (images + 1) for values of -1 to 1"
    elif high > 255:
        advice = "Divide images of 16 bits by 257"
    else:
        return
    warnings.warn(
        f"The values of {name} go from {low:g} to {high:g}; expected pixels from 0 to 255. {advice}, unless "
        "the network was trained on such values.",
        TlkitWarning,
        stacklevel=3,
    )


def check_label_values(labels: np.ndarray, name: str, *, indices: bool) -> None:
    """Check that labels are finite numbers that can be classes or probabilities.

    Args:
        labels: `(n,)`, `(n, 1)` or `(n, classes)`.
        name: of the data, for messages.
        indices: whether labels `(n,)` must be whole numbers; one output may have any targets from 0 to 1.

    Raises:
        DataError: the labels have another dtype or shape, are not finite, are no whole numbers, or are
            probabilities outside of 0 to 1.
    """
    if labels.dtype.kind in "OSUMmc" or labels.ndim not in (1, 2):
        raise DataError(
            f"The labels of {name} have dtype {labels.dtype} and shape {labels.shape}; expected class "
            "indices (n,) or one-hot labels (n, classes). For names: [class_names.index(name) for name in "
            "labels]."
        )
    if labels.dtype.kind in "iub" and labels.shape[1:] in ((), (1,)):
        return
    values = labels.astype("float64")
    rows = values.reshape(len(values), -1)
    if not np.isfinite(rows).all():
        row = int((~np.isfinite(rows).all(axis=1)).argmax())
        raise DataError(
            f"Label {row} of {name} is NaN or infinite; expected a class. Remove the images without a label."
        )
    if rows.shape[1] == 1 and indices:
        fractional = rows[:, 0] % 1 != 0
        if fractional.any():
            row = int(fractional.argmax())
            raise DataError(
                f"Label {row} of {name} is {rows[row, 0]:g}; expected the index of a class. Give whole "
                "numbers, or one probability for each class."
            )
    elif rows.size and (rows.min() < 0 or rows.max() > 1):
        raise DataError(
            f"The labels of {name} go from {rows.min():g} to {rows.max():g}; expected one-hot labels or "
            "probabilities from 0 to 1. Correct the labels."
        )


def check_weights(weights: np.ndarray, name: str) -> None:
    """Raise DataError if sample weights are negative or not finite."""
    if weights.dtype.kind not in "iubf" or not np.isfinite(weights).all() or (weights < 0).any():
        raise DataError(
            f"The sample weights of {name} must be finite numbers of at least 0, such as 1.0. Correct them."
        )
