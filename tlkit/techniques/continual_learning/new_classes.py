"""Copies of a classifier, with the same or more outputs."""

from collections.abc import Callable
from typing import Any

import keras

from tlkit.errors import TlkitError
from tlkit.models import cut_last
from tlkit.techniques.training import compile_state_kept


def add_classes(classifier: keras.Model, classes: int) -> keras.Model:
    """Return a copy of a classifier with outputs for new classes.

    The copy has the weights of the original, and random weights for the new outputs. Among the old classes,
    both models predict the same. They share no weights, so the original can be the teacher of the copy.

    Args:
        classifier: any functional or `Sequential` classifier, or a head, whose last dense layer outputs class
            probabilities or logits.
        classes: number of classes to add, at least 1; their outputs follow those of the old classes.

    Raises:
        TlkitError: `classes` is below 1, or the last layer outputs neither class probabilities nor logits.

    >>> from tlkit.models import build_classifier
    >>> add_classes(build_classifier("LeNet", classes=5, weights=None), 5).output_shape
    (None, 10)
    """
    if classes < 1:
        raise TlkitError(f"classes={classes} was given; add at least 1 class.")
    _, last = cut_last(classifier)

    def widened(layer: keras.Layer) -> keras.Layer:
        wider = {"units": last.units + classes} if layer is last else {}
        return type(layer).from_config(layer.get_config() | wider)

    wide = _cloned(classifier, widened)
    for new, old in zip(wide.weights, classifier.weights, strict=True):
        values = keras.ops.convert_to_numpy(new).copy()
        values[tuple(map(slice, old.shape))] = keras.ops.convert_to_numpy(old)
        new.assign(values)
    return wide


def copied(model: keras.Model) -> keras.Model:
    """Return a copy of a model: equal weights, but no shared ones."""
    copy = _cloned(model)
    copy.set_weights(model.get_weights())
    return copy


def _cloned(model: keras.Model, clone_function: Callable[[Any], Any] | None = None) -> keras.Model:
    """Return a copy with new random weights; it is not compiled, since some losses cannot be copied."""
    with compile_state_kept(model):
        model.compiled = False
        return keras.models.clone_model(model, clone_function=clone_function, recursive=True)
