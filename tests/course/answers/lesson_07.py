import numpy as np
from keras import ops


def inverse(losses):
    return ops.stop_gradient(1 / losses)


def inside(losses):
    return 1 / ops.stop_gradient(losses)


def not_stopped(losses):
    return 1 / losses


def half_stopped(losses):
    return ops.stop_gradient(losses) / losses**2


def equal(losses):
    return ops.stop_gradient(ops.ones_like(losses))


def itself(losses):
    return ops.stop_gradient(losses)


def rooted(losses):
    return ops.stop_gradient(1 / ops.sqrt(losses))


def squared(losses):
    return ops.stop_gradient(1 / losses**2)


def normalised(losses):
    return ops.stop_gradient(1 / losses / ops.sum(1 / losses))


def halved(losses):
    return ops.stop_gradient(0.5 / losses)


def one_for_all(losses):
    return ops.stop_gradient(1 / ops.sum(losses))


def by_numpy(losses):
    return 1 / np.asarray(losses.numpy())


ANSWERS = {
    "07.1": {"right": (0.6 + 1.0) / 2 + 10 * 0.3, "wrong": [3.4, 1.1, 13.6, 1.9, "many"]},
    "07.2": {
        "right": inverse,
        "wrong": [
            not_stopped,
            half_stopped,
            equal,
            itself,
            rooted,
            squared,
            normalised,
            halved,
            one_for_all,
            by_numpy,
            inverse(np.ones(2, "float32")),
        ],
    },
    "07.3": {
        "right": [2, 2, 3, 1],
        "wrong": [
            [1, 3, 1, 3],
            [2, 2, 2, 2],
            [2, 2, 1, 3],
            [2, 2, 1.2, 0.4],
            [2, 2, 1.5, 1.5],
            [2, 2],
            [2, 2, 3, "1"],
        ],
    },
}
