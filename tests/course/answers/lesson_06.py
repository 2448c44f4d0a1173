import numpy as np
from keras import ops

from tlkit.techniques.domain_adaptation import Alignment


def reverse(x, strength):
    return -strength * x + ops.stop_gradient((1 + strength) * x)


def negative(x, strength):
    return -strength * x


def identity(x, strength):
    return x


def everything_stopped(x, strength):
    return ops.stop_gradient(x)


def no_stop(x, strength):
    return -strength * x + (1 + strength) * x


def no_strength(x, strength):
    return -x + ops.stop_gradient(2 * x)


def strength_squared(x, strength):
    return -(strength**2) * x + ops.stop_gradient((1 + strength**2) * x)


class MeanDifference(Alignment):
    power, keep, axis = 2, True, 0

    def loss(self, source, target, strength):
        apart = ops.abs(ops.mean(source.features, axis=self.axis) - ops.mean(target.features, axis=self.axis))
        return (strength if self.keep else 1.0) * ops.sum(apart**self.power)


class Absolute(MeanDifference):
    power = 1


class Unweighted(MeanDifference):
    keep = False


class AllAxes(MeanDifference):
    axis = None


class Constant(MeanDifference):
    def loss(self, source, target, strength):
        return 0 * strength


class Rows(MeanDifference):
    def loss(self, source, target, strength):
        n = min(len(source.features), len(target.features))
        return strength * ops.sum(ops.square(source.features[:n] - target.features[:n]))


class MeanOverFeatures(MeanDifference):
    def loss(self, source, target, strength):
        return super().loss(source, target, strength) / source.features.shape[-1]


class SquaredAfterTheSum(MeanDifference):
    def loss(self, source, target, strength):
        apart = ops.mean(source.features, axis=0) - ops.mean(target.features, axis=0)
        return strength * ops.square(ops.sum(apart))


class OneSideStopped(MeanDifference):
    def loss(self, source, target, strength):
        apart = ops.stop_gradient(ops.mean(source.features, axis=0)) - ops.mean(target.features, axis=0)
        return strength * ops.sum(apart**2)


class WithNumPy(MeanDifference):
    def loss(self, source, target, strength):
        one, other = (np.mean(np.asarray(each.features), axis=0) for each in (source, target))
        return strength * np.sum((one - other) ** 2)


class NoAlignment:
    def loss(self, source, target, strength):
        apart = ops.mean(source.features, axis=0) - ops.mean(target.features, axis=0)
        return strength * ops.sum(apart**2)


ANSWERS = {
    "06.1": {
        "right": ["source error", "distance", "best classifier"],
        "wrong": [
            ["distance", "source error", "best classifier"],
            ["source error", "best classifier", "best classifier"],
            ["source error", "distance", "distance"],
            "distance",
        ],
    },
    "06.2": {
        "right": reverse,
        "wrong": [negative, identity, everything_stopped, no_stop, no_strength, strength_squared],
    },
    "06.3": {
        "right": MeanDifference,
        "wrong": [
            Absolute,
            Unweighted,
            AllAxes,
            Constant,
            Rows,
            MeanOverFeatures,
            SquaredAfterTheSum,
            OneSideStopped,
            WithNumPy,
            NoAlignment,
            MeanDifference(),
            int,
        ],
    },
}
