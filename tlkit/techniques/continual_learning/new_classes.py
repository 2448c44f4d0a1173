"""A copy of a classifier with more outputs."""

import keras

from tlkit.errors import TlkitError
from tlkit.models import backbone_of, cut_last, head_of, join


def add_classes(classifier: keras.Model, classes: int) -> keras.Model:
    """Return a copy of a classifier with more outputs: what it knew is kept bit for bit.

    The copy shares nothing with the original, which can be its teacher. Among the old classes both say the
    same; the new outputs have fresh random weights.

    Args:
        classifier: a model of `build_classifier` or `join`, or a head, that ends with a softmax.
        classes: how many to add, at least 1; they come after the old ones.

    Raises:
        TlkitError: nothing to add, or the last layer gives no class probabilities.

    >>> from tlkit.models import build_classifier
    >>> add_classes(build_classifier("LeNet", classes=5, weights=None), 5).output_shape
    (None, 10)
    """
    if classes < 1:
        raise TlkitError(f"{classes} classes were to be added; add at least 1.")
    _, last = cut_last(classifier)
    if isinstance(classifier, keras.Sequential):
        return _widened(classifier, last, classes)
    augmentations = [layer for layer in classifier.layers if layer.name == "augmentation"]
    augmentation = (
        type(augmentations[0]).from_config(augmentations[0].get_config()) if augmentations else None
    )
    head = _widened(head_of(classifier), last, classes)
    return join(copied(backbone_of(classifier)), head, augmentation=augmentation)


def copied(model: keras.Model) -> keras.Model:
    """Return a model with the same weights that shares none of them."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _widened(head: keras.Sequential, last: keras.layers.Dense, classes: int) -> keras.Sequential:
    wide = type(last).from_config(last.get_config() | {"units": last.units + classes})
    below = [type(layer).from_config(layer.get_config()) for layer in head.layers[:-1]]
    network = keras.Sequential([keras.Input(head.input_shape[1:]), *below, wide], name=head.name)
    for layer, old in zip(below, head.layers[:-1], strict=True):
        layer.set_weights(old.get_weights())
    fresh, known = wide.get_weights(), last.get_weights()
    for weights, kept in zip(fresh, known, strict=True):
        weights[..., : last.units] = kept
    wide.set_weights(fresh)
    return network
