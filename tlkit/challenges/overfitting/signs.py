"""Signs of overfitting: the generalisation gap, the distance from the start, and fitting random labels."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit import backbones
from tlkit.data import Split
from tlkit.errors import DataError, TlkitError
from tlkit.models import backbone_of, flat_layers, head_of


def generalisation_gap(history: Any, quantity: str = "accuracy") -> np.ndarray:
    """Return the generalisation gap after each epoch: how much better the model is on its training images.

    The gap is training minus validation for an accuracy, and validation minus training for a loss, so a value
    above 0 indicates overfitting. Keras measures the training values during the epoch and with dropout, so
    small negative gaps are common.

    Args:
        history: Keras's `History`, or its `history` dictionary, from training with validation data.
        quantity: name of the loss or metric, such as `"accuracy"` or `"loss"`.

    Returns:
        float `(epochs,)`.

    Raises:
        TlkitError: the history lacks the quantity or its validation values.

    >>> generalisation_gap({"loss": [1.0, 0.5], "val_loss": [1.0, 2.0]}, "loss").tolist()
    [0.0, 1.5]
    """
    values = getattr(history, "history", history)
    if missing := [name for name in (quantity, f"val_{quantity}") if name not in values]:
        raise TlkitError(
            f"The history has {', '.join(map(repr, values)) or 'no values'}, but not {missing[0]!r}. Train "
            f"with validation data, and with {quantity!r} as the loss or as a metric."
        )
    gap = np.subtract(values[quantity], values[f"val_{quantity}"])
    return -gap if quantity.endswith("loss") else gap


def distance_from_start(
    model: keras.Model, start: keras.Model | Sequence[np.ndarray], *, by: str = "stage"
) -> pd.DataFrame:
    """Return how far the weights of each stage have moved from their start, from the input to the head.

    The moving statistics of BatchNormalization are not counted.

    Args:
        model: a classifier made by `build_classifier` or `attach_head`.
        start: the same model before training, or its `get_weights()`.
        by: `"stage"` or `"layer"`.

    Returns:
        One row per stage or layer: `weights` (their number), `distance` `|w - w0|`, and `relative`
        `|w - w0| / |w0|`, where 0.01 is a change of one percent.

    Raises:
        TlkitError: the start belongs to another network, or `by` is unknown.

    >>> from tlkit.models import build_classifier
    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> distance_from_start(model, model.get_weights())["relative"].tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    if by not in ("stage", "layer"):
        raise TlkitError(f"by={by!r} was given; expected 'stage' or 'layer'.")
    values = start.get_weights() if isinstance(start, keras.Model) else list(start)
    if [tuple(weight.shape) for weight in model.weights] != [np.shape(each) for each in values]:
        raise TlkitError(
            f"The model has {len(model.weights)} weights and the start {len(values)}, or their shapes "
            "differ. Keep start = model.get_weights() before you train this model, and merge LoRA first."
        )
    start_of = {id(weight): value for weight, value in zip(model.weights, values, strict=True)}
    stages = backbones.stages(backbone_of(model)) | {"head": [head_of(model)]}
    groups = {
        stage: [flat for layer in layers for flat in flat_layers(layer)] for stage, layers in stages.items()
    }
    if by == "layer":
        groups = {layer.name: [layer] for layers in groups.values() for layer in layers}
    rows = []
    for name, layers in groups.items():
        learned = [weight for layer in layers for weight in _learned(layer)]
        if learned:
            now = np.concatenate([keras.ops.convert_to_numpy(weight).ravel() for weight in learned])
            then = np.concatenate([np.ravel(start_of[id(weight)]) for weight in learned])
            moved, size = np.linalg.norm(now - then), np.linalg.norm(then)
            rows.append((name, len(now), moved, moved / size if size else np.inf if moved else 0.0))
    columns = [by, "weights", "distance", "relative"]
    return pd.DataFrame(rows, columns=columns).set_index(by)


def _learned(layer: keras.Layer) -> list[keras.Variable]:
    statistics = [getattr(layer, name, None) for name in ("moving_mean", "moving_variance")]
    return [weight for weight in layer.weights if not any(weight is each for each in statistics)]


def shuffled_labels(split: Split, fraction: float = 1.0, *, seed: int = 0) -> Split:
    """Return a split in which the labels of a random fraction of the images are shuffled among those images.

    A network can fit such labels only by memorising them, and its accuracy on test images is at chance. Every
    class keeps its number of images. Some images keep their own label by chance.

    Zhang et al. 2017, "Understanding deep learning requires rethinking generalization".

    Args:
        split: labelled images.
        fraction: fraction of the images whose labels are shuffled, 0 to 1.
        seed: random seed for the choice and the order. With the same seed, a larger fraction includes the
            images of a smaller one.

    Raises:
        DataError: the fraction is out of range.
        NoLabelsError: the split is unlabelled.

    >>> split = Split(np.zeros((4, 8, 8, 3), "uint8"), [0, 1, 2, 3])
    >>> sorted(shuffled_labels(split).labels.tolist())
    [0, 1, 2, 3]
    """
    if not 0 <= fraction <= 1:
        raise DataError(
            f"fraction={fraction} was given; expected 0 to 1, such as 0.5 for half of the images."
        )
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(split))[: round(fraction * len(split))]
    labels = split.labels.copy()
    labels[chosen] = labels[random.permutation(chosen)]
    return Split(split.images, labels, split.names, split.attributes)
