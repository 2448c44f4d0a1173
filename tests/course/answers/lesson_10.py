import numpy as np


def to_unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def distances(few, labels, new):
    classes = np.unique(labels)
    means = np.stack([few[labels == each].mean(axis=0) for each in classes])
    return classes, np.linalg.norm(new[:, None] - means, axis=2)


def nearest_mean(few, labels, new):
    classes, apart = distances(to_unit(few), labels, to_unit(new))
    return classes[apart.argmin(axis=1)]


def positions(few, labels, new):
    return distances(to_unit(few), labels, to_unit(new))[1].argmin(axis=1)


def farthest(few, labels, new):
    classes, apart = distances(to_unit(few), labels, to_unit(new))
    return classes[apart.argmax(axis=1)]


def not_scaled(few, labels, new):
    classes, apart = distances(few, labels, new)
    return classes[apart.argmin(axis=1)]


def new_not_scaled(few, labels, new):
    return not_scaled(to_unit(few), labels, new)


def few_not_scaled(few, labels, new):
    return not_scaled(few, labels, to_unit(new))


def product(few, labels, new):
    classes = np.unique(labels)
    means = np.stack([to_unit(few)[labels == each].mean(axis=0) for each in classes])
    return classes[(to_unit(new) @ means.T).argmax(axis=1)]


def cosine(few, labels, new):
    classes = np.unique(labels)
    means = to_unit(np.stack([to_unit(few)[labels == each].mean(axis=0) for each in classes]))
    return classes[(to_unit(new) @ means.T).argmax(axis=1)]


def neighbour(few, labels, new):
    return labels[np.linalg.norm(to_unit(new)[:, None] - to_unit(few), axis=2).argmin(axis=1)]


def all_distances(few, labels, new):
    return distances(to_unit(few), labels, to_unit(new))[1]


def constant(few, labels, new):
    return np.full(len(new), labels[0])


def projects(size):
    """Optimism by draw: best of 13, fixed in advance, leave-one-out, shuffled (best and average)."""
    draws = [[0.1, 0.02, 0.03, 0.08, 0.0], [0.07, 0.0, 0.01, 0.09, 0.02], [0.07, 0.01, 0.0, 0.1, 0.01]]
    return np.array(draws) * (1 if size == 40 else 0.5)


ANSWERS = {
    "10.1": {
        "right": [0.5, 0.2],
        "wrong": [[2, 0.2], [0.25, 0.2], [0.707, 0.2], [0.9, 0.2], [0.5, 0], [0.5, 0.8], [0.5, 1], 0.5],
    },
    "10.2": {
        "right": nearest_mean,
        "wrong": [
            positions,
            farthest,
            not_scaled,
            new_not_scaled,
            few_not_scaled,
            product,
            cosine,
            neighbour,
            all_distances,
            constant,
            0.5,
        ],
    },
    "10.3": {
        "right": 0.04,
        "wrong": [0.08, 0.005, 0.045, 0.035, 0.3, "less"],  # the last numbers: shuffled, median, another
        "facts": {"projects": projects},
    },
}
