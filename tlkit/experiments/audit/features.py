"""Compute the features of all images of an audit with a frozen backbone."""

from pathlib import Path

import keras
import numpy as np
from PIL import Image

from tlkit._internal.seeds import set_seed
from tlkit.backbones import BACKBONES, load_backbone
from tlkit.data import ImageFiles
from tlkit.data.decode import square
from tlkit.data.folder import read_files
from tlkit.errors import DataError, TlkitError
from tlkit.experiments.audit.inventory import Inventory
from tlkit.techniques.feature_extraction import extract


def network_for(
    backbone: str | keras.Model, *, weights: str | None, image_size: int | None, seed: int
) -> keras.Model:
    """Return the frozen network of an audit, for images of one size.

    Args:
        backbone: a name of `tlkit.list_backbones()`, or a model from raw images to features.
        weights: `"imagenet"`, None (random) or a weights file, for a name.
        image_size: height and width in pixels, for a name; by default the size of the backbone, such as 224.
            Smaller images are enlarged to it, because their features are then better.
        seed: of random weights.

    Raises:
        UnknownNameError, WeightsError, TlkitError: as `tlkit.load_backbone`.
        TlkitError: the input of a model is not square images of one size.

    >>> network_for("LeNet", weights=None, image_size=None, seed=0).input_shape
    (None, 28, 28, 3)
    """
    if isinstance(backbone, str):
        row = BACKBONES.find(backbone)
        set_seed(seed)
        return load_backbone(row.name, weights=weights, image_size=image_size or row.default_size)
    shape = tuple(backbone.input_shape)
    if len(shape) != 4 or None in shape[1:] or shape[1] != shape[2]:
        raise TlkitError(
            f"The backbone {backbone.name!r} takes images of shape {shape[1:]}; expected square images of "
            "one size, such as (224, 224, 3). Build it with that input shape."
        )
    return backbone


def read_at(there: Inventory, image_size: int, *, progress: bool = False) -> np.ndarray | ImageFiles:
    """Return the images of an inventory for a network of this image size, uint8 RGB, values 0 to 255.

    Files are decoded at the size; up to 0.5 GB stay in memory. Images that are in memory already are
    returned as they are.

    Raises:
        DataError: a file cannot be read any more.
    """
    if not isinstance(there.pixels, ImageFiles):
        return there.pixels
    files = [Path(path) for path in there.pixels.paths]
    images, _, kept, skipped = read_files(Path(), files, image_size, None, progress)
    if len(kept) < len(files):
        raise DataError(f"A file has changed during the audit: {skipped[0]}. Run the audit again.")
    return images


def features_of(
    network: keras.Model, images: np.ndarray | ImageFiles, splits: np.ndarray, *, progress: bool = False
) -> np.ndarray:
    """Return the features of all images, float32 `(n, d)`.

    Each split is extracted on its own, so that `tlkit train` with the same network, image size and precision
    finds the features in the disk cache.

    Args:
        network: of `network_for`.
        images: of `read_at`; images in memory of another size are resized.
        splits: the split of each image, strings `(n,)`.
        progress: show progress bars.

    Raises:
        TlkitError: a feature is not a finite number.
    """
    size = network.input_shape[1]
    found: dict[int, np.ndarray] = {}
    for split in dict.fromkeys(splits):
        rows = np.flatnonzero(splits == split)
        part = images.take(rows) if isinstance(images, ImageFiles) else images[rows]
        resized = part if part.shape[1] == size else Resized(part, size)
        found |= dict(zip(rows, extract(network, resized, progress=progress), strict=True))
    features = np.stack([found[row] for row in range(len(splits))])
    if not np.isfinite(features).all():
        raise TlkitError(
            f"Some features of {network.name!r} are infinite or not a number; expected finite numbers. Check "
            "its weights, or use another backbone."
        )
    return features


class Resized:
    """Square images in memory that act as an array of another size, and are resized on access.

    Args:
        images: uint8 RGB `(n, height, height, 3)`, values 0 to 255.
        image_size: height and width in pixels.

    >>> Resized(np.zeros((4, 28, 28, 3), "uint8"), 56)[:2].shape
    (2, 56, 56, 3)
    """

    dtype = np.dtype("uint8")

    def __init__(self, images: np.ndarray | ImageFiles, image_size: int) -> None:
        self.images, self.shape = images, (len(images), image_size, image_size, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice) -> np.ndarray:
        if isinstance(index, slice):
            return np.stack([square(Image.fromarray(each), self.shape[1]) for each in self.images[index]])
        return square(Image.fromarray(self.images[index]), self.shape[1])
