"""Sizes of images and lengths of trainings; the command line needs them, so nothing heavy is imported."""

from numbers import Integral, Real

from tlkit.errors import DataError, TlkitError

MAX_IMAGE_SIZE = 4096  # height and width in pixels
MAX_EPOCHS = 1_000_000


def check_image_size(size: int) -> None:
    """Raise DataError if images cannot have this height and width in pixels."""
    if not 1 <= size <= MAX_IMAGE_SIZE:
        raise DataError(
            f"image_size={size} was given; expected 1 to {MAX_IMAGE_SIZE} pixels, such as 128 or 224."
        )


def check_length(epochs: int | None = None, minutes: float | None = None) -> None:
    """Raise TlkitError if a training cannot have this length; None is the default or no limit.

    >>> check_length(epochs=10, minutes=float("inf"))
    >>> check_length(minutes=float("nan"))
    Traceback (most recent call last):
    tlkit.errors.TlkitError: minutes=nan was given; expected 0 or more, or None for no limit.
    """
    if epochs is not None and not (isinstance(epochs, Integral) and 1 <= epochs <= MAX_EPOCHS):
        raise TlkitError(f"epochs={epochs!r} was given; expected a whole number from 1 to {MAX_EPOCHS}.")
    if minutes is not None and not (isinstance(minutes, Real) and minutes >= 0):
        raise TlkitError(f"minutes={minutes!r} was given; expected 0 or more, or None for no limit.")
