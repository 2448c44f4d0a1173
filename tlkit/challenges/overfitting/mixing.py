"""Mixup and CutMix: images and labels of two examples become one."""

from collections.abc import Callable

import keras
import numpy as np

Mixing = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def mixup(alpha: float = 0.2, *, seed: int | None = None) -> Mixing:
    """Return a function that blends each example of a batch with another one: `m x_i + (1 - m) x_j`.

    The labels are blended alike; m is drawn from Beta(alpha, alpha). Keras's `MixUp` on numpy arrays.

    Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization".

    Args:
        alpha: above 0; a small one leaves most images nearly as they are.
        seed: of the draws; by default that of `keras.utils.set_random_seed`.

    Returns:
        For `Split.batches(..., mix=...)`, whose batches `fine_tune` and `fit` take: images `(n, h, w, 3)`
        and fractions of the classes `(n, classes)` to float32 arrays of the same shapes; rows of labels
        sum to 1.

    >>> images, labels = np.zeros((4, 8, 8, 3), "uint8"), np.eye(2, dtype="float32")[[0, 1, 0, 1]]
    >>> mixup()(images, labels)[1].sum(axis=1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    layer = keras.layers.MixUp(alpha, seed=seed)

    def mix(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mixed = layer({"images": images.astype("float32"), "labels": labels.astype("float32")})
        shown, shares = (keras.ops.convert_to_numpy(mixed[name]) for name in ("images", "labels"))
        return shown, shares

    return mix


def cutmix(factor: float = 1.0, *, seed: int | None = None) -> Mixing:
    """Return a function that pastes a rectangle of another example into each one of a batch.

    The labels are mixed by the shares of the area, counted in pixels. Keras's `CutMix` on numpy arrays.

    Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features".

    Args:
        factor: Keras's option, 0 to 1: a large one lets the size of the rectangle vary more.
        seed: of the draws; by default that of `keras.utils.set_random_seed`.

    Returns:
        As of `mixup`.

    >>> images, labels = np.zeros((4, 8, 8, 3), "uint8"), np.eye(2, dtype="float32")[[0, 1, 0, 1]]
    >>> tuple(cutmix()(images, labels)[0].shape)
    (4, 8, 8, 3)
    """
    layer = keras.layers.CutMix(factor, seed=seed)

    def mix(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Keras takes the area of the rectangle before it is rounded to pixels: of 8 pixels that is up to a
        # quarter of the label. A channel with the number of the image tells what was really pasted.
        rows = np.arange(len(images))
        number = np.broadcast_to(rows[:, None, None, None], (*images.shape[:3], 1))
        mixed = keras.ops.convert_to_numpy(layer(np.concatenate([images, number], axis=-1).astype("float32")))
        own = mixed[..., -1] == rows[:, None, None]
        share = own.mean(axis=(1, 2))[:, None]
        other = np.where(own, -1, mixed[..., -1]).max(axis=(1, 2)).astype(int)
        # of an image that kept all its pixels the share of the other one is 0
        return mixed[..., :-1], (share * labels + (1 - share) * labels[other]).astype("float32")

    return mix
