import numpy as np


def surgery(a, b):
    along = min(0.0, a @ b)
    return a - along / (b @ b) * b + b - along / (a @ a) * a


def always(a, b):
    return a - (a @ b) / (b @ b) * b + b - (a @ b) / (a @ a) * a


def one_side(a, b):
    return a - min(0.0, a @ b) / (b @ b) * b + b


class InverseLoss:
    def weigh(self, losses, products=None):
        return 1 / losses


class Equal(InverseLoss):
    def weigh(self, losses, products=None):
        return np.ones_like(losses)


class Shares(InverseLoss):
    def weigh(self, losses, products=None):
        return 1 / losses / np.sum(1 / losses)


class Itself(InverseLoss):
    def weigh(self, losses, products=None):
        return losses


class Rooted(InverseLoss):
    def weigh(self, losses, products=None):
        return 1 / np.sqrt(losses)


ANSWERS = {
    "07.1": {"right": 257 * 24, "wrong": [256 * 24, 1281 * 24, 24, "many"], "facts": {"shared": 256}},
    "07.2": {
        "right": surgery,
        "wrong": [always, lambda a, b: a + b, one_side, lambda a: a, surgery(np.ones(2), np.ones(2))],
    },
    "07.3": {"right": InverseLoss, "wrong": [Equal, Itself, Rooted, InverseLoss(), int]},
}
