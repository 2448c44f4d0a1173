"""05 Unsupervised transfer."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import by_name, function, number, one_of

TYPES = ("inductive", "transductive", "unsupervised")


def gradients(loss: Callable[..., Any], arrays: list[np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """Return a loss and its gradient for each of some arrays, by the backend of Keras."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        inputs = [tf.constant(each) for each in arrays]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = tf.convert_to_tensor(loss(*inputs))
        found = tape.gradient(value, inputs, unconnected_gradients="zero")
    elif backend == "jax":
        import jax

        value, found = jax.value_and_grad(loss, argnums=tuple(range(len(arrays))))(*arrays)
    else:
        import torch

        inputs = [torch.tensor(each, requires_grad=True) for each in arrays]
        value = loss(*inputs)
        found = torch.autograd.grad(value, inputs, allow_unused=True)
        found = [torch.zeros_like(x) if each is None else each for x, each in zip(inputs, found, strict=True)]
    return float(keras.ops.convert_to_numpy(value)), [
        np.asarray(keras.ops.convert_to_numpy(each)) for each in found
    ]


def simsiam(p1: Any, p2: Any, z1: Any, z2: Any) -> Any:
    """Return the loss of Chen & He 2021: predictions `p` and embeddings `z` of two views, `(n, d)` each."""
    from keras import ops

    def cosine(a: Any, b: Any) -> Any:
        return ops.mean(ops.sum(ops.normalize(a, axis=-1) * ops.normalize(b, axis=-1), axis=-1))

    return -(cosine(p1, ops.stop_gradient(z2)) + cosine(p2, ops.stop_gradient(z1))) / 2


def at_random_points(loss: Callable[..., Any]) -> list[dict[str, Any]]:
    """Return values and gradients of a loss, and those of `simsiam`, at three random points."""
    found = []
    for seed in range(3):
        arrays = list(np.random.default_rng(seed).normal(size=(4, 6, 5)).astype("float32"))
        value, gradient = gradients(loss, arrays)
        right_value, right_gradient = gradients(simsiam, arrays)
        found.append(
            {
                "value": value,
                "predictions": np.stack(gradient[:2]),
                "embeddings": np.abs(np.stack(gradient[2:])).max(),
                "right value": right_value,
                "right predictions": np.stack(right_gradient[:2]),
            }
        )
    return found


def close(found: list[dict[str, Any]], name: str, factor: float = 1.0) -> bool:
    """Return whether a value or gradient is that of `simsiam`, times a factor, at every point."""
    return all(np.allclose(each[name], factor * each[f"right {name}"], atol=1e-4) for each in found)


EXERCISES = [
    Exercise(
        "05.1",
        takes=by_name("abcd", one_of(*TYPES)),
        hint="Ask two things of each case: is the task the same, and which labels exist in source and "
        "target?",
        shows="Labels and task decide: some target labels, or the same task with labels in the source "
        "only, or "
        "none at all.",
        mistakes=[
            Mistake(
                "self-taught learning is taken for unsupervised",
                "(a): the source has no labels. Has the target some?",
                lambda answer: answer["a"] != "inductive",
            ),
            Mistake(
                "clusters of new images are taken for inductive transfer",
                "(b): is there a label anywhere, and what is the task of the target?",
                lambda answer: answer["b"] != "unsupervised",
            ),
            Mistake(
                "a change of domain is overlooked",
                "(c): source and target have one task. Which of the two has the labels?",
                lambda answer: answer["c"] != "transductive",
            ),
            Mistake(
                "the labels of the target are overlooked",
                "(d): which labels does the new head learn from?",
                lambda answer: answer["d"] != "inductive",
            ),
        ],
    ),
    Exercise(
        "05.2",
        takes=function("p1", "p2", "z1", "z2"),
        hint="cosine(p1, ...) compares a prediction with the embedding of the other view. Which argument "
        "must not get a gradient?",
        shows="With and without stop_gradient, the loss has the same value. Only the gradient differs.",
        measure=at_random_points,
        mistakes=[
            Mistake(
                "stop_gradient is missing",
                "A gradient flows into the embeddings z1 and z2, so the network can collapse.",
                lambda found: any(each["embeddings"] > 1e-6 for each in found),
            ),
            Mistake(
                "stop_gradient is applied to the predictions",
                "No gradient flows into the predictions p1 and p2, so nothing would learn.",
                lambda found: any(np.abs(each["predictions"]).max() < 1e-6 for each in found),
            ),
            Mistake(
                "the sign is wrong",
                "Training minimises the loss. Your loss grows when a prediction becomes better.",
                lambda found: close(found, "value", -1.0),
            ),
            Mistake(
                "each prediction is compared with the embedding of its own view, or the mean is forgotten",
                "The value differs from the equation: check which view each prediction is compared with, and "
                "the mean of the two terms.",
                lambda found: not close(found, "value"),
            ),
            Mistake(
                "one term has no gradient",
                "The value is right, but one of the two predictions has the wrong gradient.",
                lambda found: not close(found, "predictions"),
            ),
        ],
    ),
    Exercise(
        "05.3",
        takes=number(0, 1, "an NMI"),
        hint="images.mean(axis=-1, keepdims=True) is grey. np.repeat(..., 3, axis=-1) gives three channels.",
        shows="Without colour, the borrowed features still find groups that agree with the classes.",
        mistakes=[
            Mistake(
                "the images still have colour",
                "That is the NMI of the coloured images. Extract the features of the grey ones.",
                lambda answer, coloured, untrained: abs(answer - coloured) < 1e-9,
            ),
            Mistake(
                "the weights are random, or images and classes are in different orders",
                "That is no more than random weights reach. Has network its borrowed weights again, and is "
                "the order that of truth?",
                lambda answer, coloured, untrained: answer <= untrained,
            ),
            Mistake(
                "something else is scored",
                "That is more than in colour. Cluster the features of the grey images, and compare with "
                "truth.",
                lambda answer, coloured, untrained: answer > coloured + 0.05,
            ),
        ],
    ),
]
