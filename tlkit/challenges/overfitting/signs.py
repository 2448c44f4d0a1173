"""Signs of overfitting: what is lost on the way from training images to others, and from the start."""

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
    """Return by epoch how much better the training images are known than the validation images.

    Training minus validation for an accuracy, the other way round for a loss, so that above 0 is overfitting.
    Keras takes the training values while the epoch runs and with dropout on: small gaps below 0 are common.

    Args:
        history: Keras's `History` or its `history` dictionary, of a training with validation data.
        quantity: its name there, such as `"accuracy"` or `"loss"`.

    Returns:
        float `(epochs,)`.

    Raises:
        TlkitError: the history lacks the quantity or its validation.

    >>> generalisation_gap({"loss": [1.0, 0.5], "val_loss": [1.0, 2.0]}, "loss").tolist()
    [0.0, 1.5]
    """
    values = getattr(history, "history", history)
    if missing := [name for name in (quantity, f"val_{quantity}") if name not in values]:
        raise TlkitError(
            f"The history has {', '.join(map(repr, values)) or 'nothing'}, but not {missing[0]!r}. Train "
            f"with validation data, and with {quantity!r} as the loss or among the metrics."
        )
    gap = np.subtract(values[quantity], values[f"val_{quantity}"])
    return -gap if quantity.endswith("loss") else gap


def distance_from_start(
    model: keras.Model, start: keras.Model | Sequence[np.ndarray], *, by: str = "stage"
) -> pd.DataFrame:
    """Return how far the weights of each stage have moved: a row a stage, from the input to the head.

    Columns: `weights` (how many), `distance` `|w - w0|` and `relative` `|w - w0| / |w0|`; 0.01 is a change of
    one percent. The moving statistics of BatchNormalization do not count.

    Args:
        model: a classifier made by `build_classifier` or `join`.
        start: the same model before the training, or its `get_weights()`.
        by: `"stage"` or `"layer"`.

    Raises:
        TlkitError: the start is of another network, or `by` is unknown.

    >>> from tlkit.models import build_classifier
    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> distance_from_start(model, model.get_weights())["relative"].tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    if by not in ("stage", "layer"):
        raise TlkitError(f"by={by!r} was given; expected 'stage' or 'layer'.")
    given = start.get_weights() if isinstance(start, keras.Model) else list(start)
    if [tuple(weight.shape) for weight in model.weights] != [np.shape(each) for each in given]:
        raise TlkitError(
            f"The model has {len(model.weights)} weights, the start {len(given)}, or of other shapes. Keep "
            "start = model.get_weights() before the training of this model; merge LoRA first."
        )
    start_of = {id(weight): value for weight, value in zip(model.weights, given, strict=True)}
    stages = backbones.stages(backbone_of(model)) | {"head": [head_of(model)]}
    groups = {
        stage: [leaf for layer in layers for leaf in flat_layers(layer)] for stage, layers in stages.items()
    }
    if by == "layer":
        groups = {leaf.name: [leaf] for members in groups.values() for leaf in members}
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


def shuffled_labels(split: Split, share: float = 1.0, *, seed: int = 0) -> Split:
    """Return the split with the labels of a random share of its images dealt out among them anew.

    The extreme of overfitting: a network that learns such labels has learned them by heart, and its accuracy
    on test images is chance. Every class keeps its number of images. By chance some keep their own label.

    Zhang et al. 2017, "Understanding deep learning requires rethinking generalization".

    Args:
        split: labelled images.
        share: of the images, 0 to 1.
        seed: of the choice and the order; `share=0.5` changes no image that `share=1` leaves out.

    Raises:
        DataError: the share is out of range.
        NoLabelsError: the split is unlabelled.

    >>> split = Split(np.zeros((4, 8, 8, 3), "uint8"), [0, 1, 2, 3])
    >>> sorted(shuffled_labels(split).labels.tolist())
    [0, 1, 2, 3]
    """
    if not 0 <= share <= 1:
        raise DataError(f"share={share} was given; expected 0 to 1, such as 0.5 for half of the images.")
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(split))[: round(share * len(split))]
    labels = split.labels.copy()
    labels[chosen] = labels[random.permutation(chosen)]
    return Split(split.images, labels, split.names, split.attributes)
