from keras import ops


class MeanDifference:
    power, keep, axis = 2, True, 0

    def loss(self, source, target, strength):
        apart = ops.abs(ops.mean(source.features, axis=self.axis) - ops.mean(target.features, axis=self.axis))
        return (strength if self.keep else 1.0) * ops.sum(apart**self.power)


class Absolute(MeanDifference):
    power = 1


class Unweighted(MeanDifference):
    keep = False


class Constant(MeanDifference):
    def loss(self, source, target, strength):
        return 0 * strength


class Offset(MeanDifference):
    def loss(self, source, target, strength):
        return super().loss(source, target, strength) + 1


ANSWERS = {
    "06.1": {"right": -1.5, "wrong": [1.5, -0.5, -3, [1, 2]]},
    "06.2": {
        "right": MeanDifference,
        "wrong": [Absolute, Unweighted, Constant, Offset, MeanDifference(), int],
    },
    "06.3": {
        "right": 1000,
        "wrong": [2, -1, "large"],
        "facts": {"train": lambda weight: 0.5 if weight > 100 else 0.4, "before": 0.4},
    },
}
