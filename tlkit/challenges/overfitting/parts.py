"""A classifier put together again from its own layers, with something more between them."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

from tlkit.backbones.structure import call_on, chain, parts_of
from tlkit.errors import TlkitError
from tlkit.models import attach_head, backbone_of, head_of


def reassembled(
    model: keras.Model,
    *,
    backbone: Callable[[Any], Any] | None = None,
    features: Callable[[Any], Any] | None = None,
    head: Callable[[Any], Any] | None = None,
) -> tuple[Any, Any]:
    """Return inputs and outputs of the classifier's layers in a new chain, which shares their weights.

    Args:
        model: a classifier.
        backbone, head: stand in for these parts.
        features: acts on what the head is given.

    Raises:
        TlkitError: the model has no backbone; see `tlkit.models.backbone_of`.

    >>> from tlkit.models import build_classifier
    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> again = keras.Model(*reassembled(model))
    >>> again.weights[0] is model.weights[0]
    True
    """
    parts = parts_of(model)
    inputs = x = keras.Input(model.inputs[0].shape[1:], name="images")
    for layer in [*parts.augmentation, *chain(parts, parts.images, parts.entry)]:
        x = layer(x)
    x = call_on(parts.backbone, x) if backbone is None else backbone(x)
    for layer in chain(parts, parts.output, parts.features):
        x = layer(x)
    if features is not None:
        x = features(x)
    for layer in chain(parts, parts.features, parts.network.output) if head is None else [head]:
        x = layer(x)
    return inputs, x


def learner_for(model: keras.Model, learner: keras.Model) -> keras.Model:
    """Return the learner, which from now on tells that it teaches `model`: that is what is saved."""
    learner.taught = lambda: model  # a function, since Keras takes a model in an attribute for a layer
    return learner


def with_outputs(backbone: keras.Model, names: Iterable[str]) -> keras.Model:
    """Return the backbone with the outputs of these layers before its own; it shares all weights.

    `get_layer(name).output` is that of the first network in which the layer took part, which need not be this
    one.

    >>> from tlkit import backbones
    >>> with_outputs(backbones.load_backbone("LeNet", weights=None), ["pool2"]).output_shape
    [(None, 7, 7, 48), (None, 100)]
    """
    wanted = list(names)
    seen: dict[str, Any] = {}

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        seen[layer.name] = layer(*args, **kwargs)
        return seen[layer.name]

    again = keras.models.clone_model(backbone, clone_function=lambda layer: layer, call_function=call)
    outputs = [*(seen[name] for name in wanted), again.outputs[0]]
    return keras.Model(again.inputs[0], outputs, name=backbone.name)


def with_dropout(model: keras.Model, rate: float = 0.5) -> keras.Model:
    """Return a classifier that shares all weights and drops features in front of its last layer in training.

    Each feature is 0 with probability `rate`, the others are divided by `1 - rate`.

    Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".

    Args:
        model: a classifier made by `build_classifier`; the dropout of its head is replaced.
        rate: share of the features, from 0 up to but not 1.

    Raises:
        TlkitError: the rate is out of range, or the head is no `keras.Sequential`.

    >>> from tlkit.models import build_classifier
    >>> learner = with_dropout(build_classifier("LeNet", 10, weights=None), 0.5)
    >>> [(layer.name, layer.rate) for layer in learner.get_layer("head").layers[:-1]]
    [('dropout_of_features', 0.5)]
    """
    if not 0 <= rate < 1:
        raise TlkitError(f"rate={rate} was given; expected a share from 0 up to but not 1, such as 0.5.")
    head = head_of(model)
    if not isinstance(head, keras.Sequential):
        raise TlkitError(
            f"The head of {model.name!r} is a {type(head).__name__}; expected a keras.Sequential, as "
            "build_classifier(...) makes it."
        )
    *below, last = (layer for layer in head.layers if type(layer) is not keras.layers.Dropout)
    drop = keras.layers.Dropout(rate, name="dropout_of_features")
    other = keras.Sequential([keras.Input(head.input_shape[1:]), *below, drop, last], name=head.name)
    return learner_for(model, keras.Model(*reassembled(model, head=other), name=model.name))


def with_augmentation(model: keras.Model, augmentation: keras.Layer) -> keras.Model:
    """Return a classifier that shares all weights and sees randomly changed images in training.

    Args:
        model: a classifier made by `build_classifier` or `join`; its own augmentation is left out.
        augmentation: a layer that is off in prediction, such as `tlkit.augmentation()` or
            `keras.layers.RandAugment((0, 255))`.

    Raises:
        TlkitError: the layer acts in prediction too.

    >>> from tlkit.models import augmentation, build_classifier
    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> with_augmentation(model, augmentation(flip=False)).layers[1].name
    'augmentation'
    """
    return learner_for(model, attach_head(backbone_of(model), head_of(model), augmentation=augmentation))
