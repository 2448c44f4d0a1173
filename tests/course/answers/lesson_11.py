import numpy as np


def one_hot(labels):
    return np.eye(labels.max() + 1)[labels]


def conditional(theta, labels):
    return one_hot(labels).T @ theta / theta.sum(axis=0)


def of_the_label(theta, labels):
    joint = one_hot(labels).T @ theta
    return joint / joint.sum(axis=1, keepdims=True)


def joint(theta, labels):
    return one_hot(labels).T @ theta / len(theta)


def sums(theta, labels):
    return one_hot(labels).T @ theta


def swapped(theta, labels):
    return conditional(theta, labels).T


def most_probable(theta, labels):
    named = one_hot(labels).T @ np.eye(theta.shape[1])[theta.argmax(axis=1)]
    return named / np.maximum(named.sum(axis=0), 1)


def of_balanced_classes(theta, labels):
    rows = of_the_label(theta, labels)
    return rows / rows.sum(axis=0)


def squared(theta, labels):
    return conditional(theta**2, labels)


CORRECT = np.random.default_rng(0).random((7, 200)) < 0.7
DRAWS = [np.random.default_rng(k).permutation(200)[:40] for k in range(50)]


def winner_on(rows):
    return CORRECT[CORRECT[:, rows].mean(axis=1).argmax()]


ON = np.mean([winner_on(rows)[rows].mean() for rows in DRAWS])
OTHERS = np.mean([np.delete(winner_on(rows), rows).mean() for rows in DRAWS])
ALL = np.mean([winner_on(rows).mean() for rows in DRAWS])
BEST = np.mean([np.delete(CORRECT, rows, axis=1).mean(axis=1).max() for rows in DRAWS])

ANSWERS = {
    "11.1": {"right": 1 / 24, "wrong": [0.05, 1 / 12, 1 / 4, 1 / 6, 1 / 16, 0.01, 24, "none"]},
    "11.2": {
        "right": conditional,
        "wrong": [
            swapped,
            most_probable,
            joint,
            of_the_label,
            sums,
            of_balanced_classes,
            squared,
            0.5,
        ],
    },
    "11.3": {
        "right": ON - OTHERS,
        "wrong": [OTHERS - ON, ON, OTHERS, ON - ALL, ON - BEST, 0.0, 5.0, "high"],
        "facts": {"correct": CORRECT, "draws": DRAWS},
    },
}
