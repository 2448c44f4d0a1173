"""Mixup and CutMix: combine two images and their labels into one training example."""

from collections.abc import Callable

import keras
import numpy as np

Mixing = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def mixup(alpha: float = 0.2, *, seed: int | None = None) -> Mixing:
    """Return a function that blends each example of a batch with another one: `m x_i + (1 - m) x_j`.

    The labels are blended with the same m, which is drawn from Beta(alpha, alpha). The function applies
    Keras's `MixUp` to NumPy arrays.

    Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization".

    Args:
        alpha: above 0; with a small value most images change little.
        seed: random seed for the random numbers; by default the seed of `keras.utils.set_random_seed`.

    Returns:
        A function for `Split.batches(..., mix=...)`, whose batches `fine_tune` and `fit` accept. It takes
        images `(n, height, width, 3)` and labels `(n, classes)`, and returns float32 arrays of the same
        shapes. Each row of labels sums to 1.

    >>> images, labels = np.zeros((4, 8, 8, 3), "uint8"), np.eye(2, dtype="float32")[[0, 1, 0, 1]]
    >>> mixup()(images, labels)[1].sum(axis=1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    layer = keras.layers.MixUp(alpha, seed=seed)

    def mix(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mixed = layer({"images": images.astype("float32"), "labels": labels.astype("float32")})
        return keras.ops.convert_to_numpy(mixed["images"]), keras.ops.convert_to_numpy(mixed["labels"])

    return mix


def cutmix(factor: float = 1.0, *, seed: int | None = None) -> Mixing:
    """Return a function that pastes a rectangle of another image into each image of a batch.

    Each label is mixed in proportion to the area of each image, in pixels. The function applies Keras's
    `CutMix` to NumPy arrays.

    Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features".

    Args:
        factor: option of Keras's `CutMix`, 0 to 1; with a larger value the size of the rectangle varies more.
        seed: random seed for the random numbers; by default the seed of `keras.utils.set_random_seed`.

    Returns:
        A function as for `mixup`.

    >>> images, labels = np.zeros((4, 8, 8, 3), "uint8"), np.eye(2, dtype="float32")[[0, 1, 0, 1]]
    >>> tuple(cutmix()(images, labels)[0].shape)
    (4, 8, 8, 3)
    """
    layer = keras.layers.CutMix(factor, seed=seed)

    def mix(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Keras mixes labels by the area of the rectangle before rounding to pixels, which is wrong by up to a
        # quarter for images of 8 pixels. A channel with the index of the image gives the exact area.
        rows = np.arange(len(images))
        index = np.broadcast_to(rows[:, None, None, None], (*images.shape[:3], 1))
        mixed = keras.ops.convert_to_numpy(layer(np.concatenate([images, index], axis=-1).astype("float32")))
        own = mixed[..., -1] == rows[:, None, None]
        fraction = own.mean(axis=(1, 2))[:, None]
        other = np.where(own, -1, mixed[..., -1]).max(axis=(1, 2)).astype(int)
        # an image without a pasted rectangle has `other` = -1, and the weight of that label is 0
        return mixed[..., :-1], (fraction * labels + (1 - fraction) * labels[other]).astype("float32")

    return mix
