"""01 Feature extraction."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import accuracy, by_name, function, whole_number

SHAPES = ((3, 4, 4, 5), (2, 3, 6, 7), (5, 7, 2, 4))  # of feature maps (n, h, w, c)


def pooling(pool: Callable[[np.ndarray], Any]) -> str:
    """Return the first property of global average pooling that a function lacks, `""` if it lacks none."""
    for seed, shape in enumerate(SHAPES):
        maps = np.random.default_rng(seed).normal(1, 2, shape)
        n, h, w, c = shape
        features = np.asarray(pool(maps.copy()), "float64")
        if features.shape == (c,):
            return "images"
        if features.shape == (n, h, w):
            return "channels"
        if features.shape != (n, c):
            return "shape"
        if np.allclose(np.asarray(pool(np.concatenate([maps, maps], axis=1))), 2 * features):
            return "sum"
        smallest = maps == maps.min(axis=(1, 2), keepdims=True)
        lowered = np.where(smallest, maps.min() - 5, maps)  # at a position that is the largest in no channel
        if np.allclose(np.asarray(pool(lowered)), features):
            return "position"
        if not np.allclose(features, maps.mean(axis=(1, 2)), atol=1e-5):
            return "values"
    return ""


def copies(leaky: np.ndarray, test: np.ndarray) -> int:
    """Return how many rows of `test` have a copy in `leaky`."""
    nearest = [np.abs(leaky - row).max(axis=1).min() for row in test]
    return int(np.sum(np.array(nearest) < 1e-4))


EXERCISES = [
    Exercise(
        "01.1",
        takes=function("maps"),
        hint="Which axes of (n, h, w, c) does the equation sum over? NumPy takes several axes as a tuple.",
        shows="One line makes a vector of a feature map. It keeps what is in the image and drops where.",
        measure=pooling,
        mistakes=[
            Mistake(
                "the average is over the images as well",
                "All images together got one vector. Each image needs its own.",
                lambda lacking: lacking == "images",
            ),
            Mistake(
                "the average is over the channels",
                "The channels are gone and the positions are still there. It should be the other way round.",
                lambda lacking: lacking == "channels",
            ),
            Mistake(
                "another shape, such as a flattened map",
                "The result should have shape (n, c): one number for each image and channel.",
                lambda lacking: lacking == "shape",
            ),
            Mistake(
                "the sum is not divided",
                "A map that is repeated below itself should keep its features. Yours grow.",
                lambda lacking: lacking == "sum",
            ),
            Mistake(
                "only one position counts: the largest value, or the first one",
                "Another value at one position leaves your features as they were. Every position counts.",
                lambda lacking: lacking == "position",
            ),
            Mistake(
                "values of several channels or images are mixed, as by reshape",
                "The shape is right, but the values are not. Is each the mean of one channel of one image?",
                lambda lacking: lacking == "values",
            ),
        ],
    ),
    Exercise(
        "01.2",
        takes=whole_number(),
        hint="For each test row, the distance to its nearest row of leaky. A copy has distance (almost) 0.",
        shows="A leak raises the score and leaves the model as it was. Look for copies before you believe a "
        "score.",
        measure=lambda answer, leaky, test: (answer, copies(leaky, test)),
        mistakes=[
            Mistake(
                "near neighbours are taken for copies",
                "Not that many: a near neighbour is not a copy. A copy has distance (almost) 0.",
                lambda found, leaky, test: found[0] > found[1],
            ),
            Mistake(
                "exact equality of rounded floats is asked for, or copies are counted only once each",
                "Some are missing. Count test images, and allow a small tolerance.",
                lambda found, leaky, test: found[0] < found[1],
            ),
        ],
    ),
    Exercise(
        "01.3",
        takes=by_name(("pixels", "features"), accuracy()),
        hint="Four parts: the data, two networks, features of both splits, nearest(new, known)[:, 0]. "
        "Begin with "
        "pixels: keras.Sequential with keras.Input((32, 32, 3)).",
        shows="Pixels win here. Centred digits of one class overlap, and digits differ from photographs.",
        mistakes=[
            Mistake(
                "rows of train are looked up in the labels of test",
                "One of them is near chance. In which split do you look up the labels?",
                lambda answer: min(answer.values()) < 0.4,
            ),
            Mistake(
                "the two views are swapped, or pixels are shrunk first",
                "Check which is which: 32 x 32 pixels as they are, and the features of a backbone for 32 "
                "pixels.",
                lambda answer: answer["features"] >= answer["pixels"],
            ),
            Mistake(
                "fewer pixels or another distance",
                "The pixels reach more. Take all 32 x 32 of them, and the cosine distance.",
                lambda answer: answer["pixels"] < 0.95,
            ),
        ],
    ),
]
