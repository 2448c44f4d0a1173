"""Solve the head: the regularised logistic regression on the features of a frozen backbone.

A head that is trained step by step depends on its learning rate and its number of steps. As a convex
problem, the same head has one solution and a single setting: C, the inverse of the strength of the
regularisation. Cross-validation chooses C, so all labels can be used for training.

Kornblith, Shlens & Le 2019, "Do Better ImageNet Models Transfer Better?".
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tlkit.data.labelled import both, check_labels
from tlkit.errors import TlkitError
from tlkit.models import cut_last, feature_network, freeze, head_of
from tlkit.techniques.feature_extraction import Features, labelled_features
from tlkit.techniques.logistic_regression import CS, FOLDS, LEAST_SCALE, SolvedHead, solve


def solve_head(
    model: keras.Model,
    train: Any,
    validation_data: Any = None,
    *,
    class_weight: Any = None,
    Cs: Sequence[float] = CS,
    folds: int = FOLDS,
    least_scale: float = LEAST_SCALE,
    engine: str = "auto",
    precision: str = "auto",
    progress: bool = False,
) -> SolvedHead:
    """Set the head of a classifier to a logistic regression on the features of its frozen backbone.

    The head is the solution of a multinomial logistic regression with squared (L2) regularisation on
    standardised features. Cross-validation chooses the C with the lowest log loss. The head then learns
    from all labels, including those of `validation_data`. The scaling becomes part of the kernel and
    the bias, so `model` remains a plain Keras model. The result is deterministic.

    For another loss, several labels per image or a head with hidden layers, use `train_head`.

    Args:
        model: a classifier of `build_classifier`, or any functional or `Sequential` classifier whose head is
            a single `Dense` layer that outputs class probabilities, logits, or the single logit of the second
            of two classes. Its backbone becomes frozen; to fine-tune it, call `unfreeze` afterwards.
        train, validation_data: labelled images: a split, arrays `(images, labels)` or `(images, labels,
            sample_weights)`, or batches of these (`tf.data.Dataset`, `PyDataset`, PyTorch `DataLoader`).
        class_weight: None, `"balanced"`, which gives all classes the same total weight, or the weight of each
            class by its index.
        Cs: candidate values of C, as in scikit-learn: smaller values regularise more. After two values
            without a lower log loss, larger ones are not tried.
        folds: number of cross-validation folds, at least 2; never more than the labels of the largest class.
        least_scale: lower limit of the standard deviation by which a feature is divided, as a multiple of the
            median standard deviation; at least 0. In few training images, a feature after a ReLU is often
            nearly always 0. Divided by its tiny standard deviation, it would get a huge weight and dominate
            the prediction for any image in which it is active. 0 is scikit-learn's `StandardScaler`.
        engine, precision: see `tlkit.extract`.
        progress: show progress bars.

    Returns:
        The solution. `held_out` holds the rows of `train`, then those of `validation_data`.

    Raises:
        DataError: the images or labels do not fit the model, Keras does not accept data of their type, all
            labels belong to one class, or features are not finite.
        TlkitError: the model contains no backbone, the head has other layers with weights or no bias, an
            image has several labels, or `Cs`, `folds`, `least_scale` or `class_weight` are out of
            range.

    >>> from tlkit.models import build_classifier
    >>> model = build_classifier("LeNet", classes=2, weights=None)
    >>> images = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 3), dtype="uint8")
    >>> solved = solve_head(model, (images, np.arange(20) % 2))
    >>> solved.held_out.shape
    (20, 2)
    """
    data, held_out = both(model, train, validation_data)
    freeze(model)
    network = feature_network(model)
    inference = {"engine": engine, "precision": precision, "progress": progress}
    known = [labelled_features(network, each, **inference) for each in (data, held_out) if each is not None]
    return solve_on_features(
        model,
        known,
        class_weight=class_weight,
        Cs=Cs,
        folds=folds,
        least_scale=least_scale,
        progress=progress,
    )


def solve_on_features(model: keras.Model, data: Sequence[Features], **options: Any) -> SolvedHead:
    """Set the head of a classifier to the solution on features that are already extracted.

    Args:
        model: see `solve_head`. Which layers are trainable does not change.
        data: features with their labels, such as those of the training and of the validation images.
        options: of `solve`.

    Returns:
        The solution. `held_out` holds the rows of all `data`, in order.
    """
    below, last = cut_last(head_of(model))
    if below.weights or not last.use_bias:
        what = "no bias" if not below.weights else "layers with weights below its last layer"
        raise TlkitError(
            f"The head of {model.name!r} has {what}, so it cannot be solved. Use a head of a single Dense "
            "layer with a bias, or train_head."
        )
    for each in data:
        check_labels(each.labels, last.units, "the data")
    values = np.concatenate([each.values for each in data]) if len(data) > 1 else data[0].values
    if any(not isinstance(each, keras.layers.InputLayer | keras.layers.Dropout) for each in below.layers):
        values = below.predict(values, verbose=0)  # such as a layer that scales the features to length 1
    labels = np.concatenate([indices(each.labels) for each in data])
    weights = None
    if any(each.weights is not None for each in data):
        weights = np.concatenate(
            [np.ones(len(each.labels)) if each.weights is None else each.weights for each in data]
        )
    solved = solve(values, labels, max(last.units, 2), sample_weight=weights, **options)
    kernel, bias = solved.kernel, solved.bias
    if last.units == 1:  # the logit of the second of two classes
        kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
    last.kernel.assign(kernel)
    last.bias.assign(bias)
    return solved


def indices(labels: np.ndarray) -> np.ndarray:
    """Return class indices `(n,)` of labels that are indices or one-hot."""
    if labels.ndim == 1 or labels.shape[-1] == 1:
        return labels.ravel().astype(int)
    if not np.array_equal(labels.max(axis=-1), np.ones(len(labels))) or not np.all(labels.sum(axis=-1) == 1):
        raise TlkitError(
            "Some images have several labels or soft labels, so the head cannot be solved. Use train_head, "
            "which takes any loss."
        )
    return labels.argmax(axis=-1)
