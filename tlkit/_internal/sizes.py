"""The sizes that images may be resized to; nothing heavy is imported, since the command line needs them."""

from tlkit.errors import DataError

MAX_IMAGE_SIZE = 4096  # height and width in pixels


def check_image_size(size: int) -> None:
    """Raise DataError if images cannot have this height and width in pixels."""
    if not 1 <= size <= MAX_IMAGE_SIZE:
        raise DataError(
            f"image_size={size} was given; expected 1 to {MAX_IMAGE_SIZE} pixels, such as 128 or 224."
        )
