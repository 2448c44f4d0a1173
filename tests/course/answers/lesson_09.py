import keras
import numpy as np


def l2_sp(w, start, alpha):
    return alpha / 2 * keras.ops.sum((w - start) ** 2)


def l2_sp_written_otherwise(w, start, alpha):
    return 0.5 * alpha * keras.ops.sum(keras.ops.square(start - w))


def weight_decay(w, start, alpha):
    return alpha / 2 * keras.ops.sum(w**2)


def per_weight(w, start, alpha):
    return alpha / 2 * (w - start) ** 2


def absolute(w, start, alpha):
    return alpha / 2 * keras.ops.sum(keras.ops.abs(w - start))


def norm(w, start, alpha):
    return alpha / 2 * keras.ops.sqrt(keras.ops.sum((w - start) ** 2))


def signed(w, start, alpha):
    return alpha / 2 * keras.ops.sum(w - start)


def mean(w, start, alpha):
    return alpha / 2 * keras.ops.mean((w - start) ** 2)


def without_half(w, start, alpha):
    return alpha * keras.ops.sum((w - start) ** 2)


def without_alpha(w, start, alpha):
    return keras.ops.sum((w - start) ** 2) / 2


def alpha_squared(w, start, alpha):
    return (alpha * keras.ops.sum(w - start)) ** 2 / 2


def alpha_inside(w, start, alpha):
    return keras.ops.sum((alpha * (w - start)) ** 2) / 2


def one_row(w, start, alpha):
    return alpha / 2 * keras.ops.sum((w - start)[0] ** 2)


def in_numpy(w, start, alpha):
    return alpha / 2 * np.sum((np.array(w) - np.array(start)) ** 2)


def stopped(w, start, alpha):
    return keras.ops.stop_gradient(l2_sp(w, start, alpha))


def difference_stopped(w, start, alpha):
    distance = w - start
    return alpha / 2 * keras.ops.sum(distance * keras.ops.stop_gradient(distance))


def probabilities(n, seed):
    p = np.random.default_rng(seed).uniform(0.9, 0.98, (2, n))  # of the first class: two epochs
    return np.stack([p, 1 - p], axis=-1)[:, None].repeat(2, axis=1)  # (epochs, seeds, images, classes)


KNOWN, CHOSEN, TEST = probabilities(8, 0) ** 2, probabilities(6, 1), probabilities(10, 2)
KNOWN /= KNOWN.sum(axis=-1, keepdims=True)
FACTS = {
    "run": [KNOWN, CHOSEN, TEST],
    "labels": np.array([0, 0, 0, 0, 1, 1]),
    "test_labels": np.repeat([0, 1], [8, 2]),
}

ANSWERS = {
    "09.1": {
        "right": [3, 6],
        "wrong": [[5, 7], [6, 6], [3, 7], [2, 5], [3, 3], [3, 4], [4, 6], [1, 1], [3], 3],
    },
    "09.2": {
        "right": l2_sp,
        "wrong": [
            weight_decay,
            per_weight,
            absolute,
            norm,
            signed,
            mean,
            without_half,
            without_alpha,
            alpha_squared,
            alpha_inside,
            one_row,
            in_numpy,
            stopped,
            difference_stopped,
            0.5,
        ],
    },
    "09.3": {"right": 0.645, "wrong": [0.94, 0.77, 1.0, 0.82, 0.5, 67, "0.5"], "facts": FACTS},
}
