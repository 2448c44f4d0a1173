"""A copy of a classifier with more outputs."""

from collections.abc import Callable
from typing import Any

import keras

from tlkit.errors import TlkitError
from tlkit.models import cut_last
from tlkit.techniques.training import compile_state_kept


def add_classes(classifier: keras.Model, classes: int) -> keras.Model:
    """Return a copy of a classifier with more outputs: what it knew is kept bit for bit.

    The copy shares nothing with the original, which can be its teacher. Among the old classes both say the
    same; the new outputs have fresh random weights.

    Args:
        classifier: any functional or `Sequential` classifier, or a head, whose last dense layer gives class
            probabilities or logits.
        classes: how many to add, at least 1; they come after the old ones.

    Raises:
        TlkitError: nothing to add, or the last layer gives neither class probabilities nor logits.

    >>> from tlkit.models import build_classifier
    >>> add_classes(build_classifier("LeNet", classes=5, weights=None), 5).output_shape
    (None, 10)
    """
    if classes < 1:
        raise TlkitError(f"{classes} classes were to be added; add at least 1.")
    _, last = cut_last(classifier)

    def widened(layer: keras.Layer) -> keras.Layer:
        wider = {"units": last.units + classes} if layer is last else {}
        return type(layer).from_config(layer.get_config() | wider)

    wide = _cloned(classifier, widened)
    for fresh, known in zip(wide.weights, classifier.weights, strict=True):
        values = keras.ops.convert_to_numpy(fresh).copy()
        values[tuple(map(slice, known.shape))] = keras.ops.convert_to_numpy(known)
        fresh.assign(values)
    return wide


def copied(model: keras.Model) -> keras.Model:
    """Return a model with the same weights that shares none of them."""
    copy = _cloned(model)
    copy.set_weights(model.get_weights())
    return copy


def _cloned(model: keras.Model, clone_function: Callable[[Any], Any] | None = None) -> keras.Model:
    """Return a copy with fresh weights; it is not compiled, since not every loss can be copied."""
    with compile_state_kept(model):
        model.compiled = False
        return keras.models.clone_model(model, clone_function=clone_function, recursive=True)
