"""The colour photographs that scikit-learn and scikit-image ship."""

import numpy as np

from tlkit.data.dataset import Split
from tlkit.data.decode import decode
from tlkit.data.packaged import packaged
from tlkit.errors import DataError

PHOTOS = [
    ("sklearn", "datasets/images/china.jpg", "scikit-learn"),
    ("sklearn", "datasets/images/flower.jpg", "scikit-learn"),
    ("skimage", "data/astronaut.png", "scikit-image"),
    ("skimage", "data/chelsea.png", "scikit-image"),
    ("skimage", "data/coffee.png", "scikit-image"),
    ("skimage", "data/rocket.jpg", "scikit-image"),
]


def photos(image_size: int = 224) -> Split:
    """Load six unlabelled colour photographs for trying a pretrained network.

    They show a Chinese palace, a flower, the astronaut Eileen Collins, a cat, a cup of coffee, and a rocket.
    Each is cropped to its central square.

    Args:
        image_size: height and width in pixels.

    Returns:
        An unlabelled split: uint8 RGB `(6, image_size, image_size, 3)`, values 0 to 255, named after the
        files.

    Raises:
        DataError: the size is below 1, or a photograph is missing from its package.

    >>> photos(64)
    Split(6 unlabelled images, 64 x 64 pixels)
    """
    if image_size < 1:
        raise DataError(f"image_size={image_size} was given; expected a number of pixels, such as 224.")
    files = [packaged(*photo) for photo in PHOTOS]
    return Split(np.stack([decode(file, image_size) for file in files]), names=[file.stem for file in files])
