import numpy as np


def power(x, p):
    values, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
    return (vectors * values**p) @ vectors.T


def coral(source, target):
    return (source - source.mean(axis=0)) @ power(source, -0.5) @ power(target, 0.5) + target.mean(axis=0)


def target_moved(source, target):
    return coral(target, source)


def unchanged(source, target):
    return source


def rows_of_the_target(source, target):
    rng = np.random.default_rng(0)
    return target[rng.integers(len(target), size=len(source))]


def without_means(source, target):
    return source @ power(source, -0.5) @ power(target, 0.5)


def mean_not_subtracted(source, target):
    return source @ power(source, -0.5) @ power(target, 0.5) + target.mean(axis=0)


def each_feature(source, target):
    scaled = (source - source.mean(axis=0)) / source.std(axis=0, ddof=1)
    return scaled * target.std(axis=0, ddof=1) + target.mean(axis=0)


def swapped(source, target):
    return (source - source.mean(axis=0)) @ power(target, 0.5) @ power(source, -0.5) + target.mean(axis=0)


def whitened_by_the_target(source, target):
    return (source - source.mean(axis=0)) @ power(target, -0.5) @ power(source, 0.5) + target.mean(axis=0)


def only_whitened(source, target):
    return (source - source.mean(axis=0)) @ power(source, -0.5) + target.mean(axis=0)


def not_a_root(source, target):
    return (source - source.mean(axis=0)) @ power(source, -1) @ power(target, 1) + target.mean(axis=0)


class Head:
    """A head whose probabilities of five images are in doubt until the class fractions are known."""

    def predict(self, features):
        return np.array([[0.6, 0.4], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3], [0.9, 0.1]])


FACTS = {
    "heads": [Head(), Head()],
    "features": np.zeros((5, 3)),
    "labels": np.array([0, 0, 1, 0, 1]),
    "known": np.array([0, 0, 0, 1]),
}
ANSWERS = {
    "04.1": {
        "right": ["label shift", "covariate shift", "new task"],
        "wrong": [
            ["covariate shift", "covariate shift", "new task"],
            ["label shift", "label shift", "new task"],
            ["label shift", "covariate shift", "covariate shift"],
            ["label shift", "covariate shift"],
            "label shift",
        ],
    },
    "04.2": {
        "right": coral,
        "wrong": [
            target_moved,
            unchanged,
            rows_of_the_target,
            without_means,
            mean_not_subtracted,
            each_feature,
            swapped,
            whitened_by_the_target,
            only_whitened,
            not_a_root,
            0.5,
        ],
    },
    "04.3": {"right": 0.75, "wrong": [0.8, 0.5, 75, "0.5"], "facts": FACTS},
}
