"""Rebuild a classifier from its own layers, with additional layers between them."""

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
    """Call the layers of a classifier again, with some parts replaced, and return the inputs and outputs.

    The rebuilt classifier shares its weights with `model`.

    Args:
        model: a classifier.
        backbone, head: replacements for these parts.
        features: applied to the features before the head.

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
    """Record on the learner that it trains `model`, so that `model` is what is saved; return the learner."""
    # a function, because Keras tracks a model in an attribute as a layer
    learner.trained_model = lambda: model
    return learner


def with_outputs(backbone: keras.Model, names: Iterable[str]) -> keras.Model:
    """Return the backbone with the outputs of these layers, followed by its own output; weights are shared.

    `get_layer(name).output` is not enough: a layer that is part of several networks returns its output in the
    first one.

    >>> from tlkit import backbones
    >>> with_outputs(backbones.load_backbone("LeNet", weights=None), ["pool2"]).output_shape
    [(None, 7, 7, 48), (None, 100)]
    """
    wanted = list(names)
    output_of: dict[str, Any] = {}

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        output_of[layer.name] = layer(*args, **kwargs)
        return output_of[layer.name]

    rebuilt = keras.models.clone_model(backbone, clone_function=lambda layer: layer, call_function=call)
    outputs = [*(output_of[name] for name in wanted), rebuilt.outputs[0]]
    return keras.Model(rebuilt.inputs[0], outputs, name=backbone.name)


def with_dropout(model: keras.Model, rate: float = 0.5) -> keras.Model:
    """Return a classifier with dropout before its last layer; it shares all weights with `model`.

    During training, each feature is set to 0 with probability `rate`; the others are divided by `1 - rate`.

    Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".

    Args:
        model: a classifier made by `build_classifier`; dropout that its head already has is replaced.
        rate: fraction of the features to drop, from 0 to less than 1.

    Raises:
        TlkitError: the rate is out of range, or the head is not a `keras.Sequential`.

    >>> from tlkit.models import build_classifier
    >>> learner = with_dropout(build_classifier("LeNet", 10, weights=None), 0.5)
    >>> [(layer.name, layer.rate) for layer in learner.get_layer("head").layers[:-1]]
    [('dropout_of_features', 0.5)]
    """
    if not 0 <= rate < 1:
        raise TlkitError(f"rate={rate} was given; expected a fraction from 0 to less than 1, such as 0.5.")
    head = head_of(model)
    if not isinstance(head, keras.Sequential):
        raise TlkitError(
            f"The head of {model.name!r} is a {type(head).__name__}; expected a keras.Sequential, such as "
            "build_classifier(...) makes."
        )
    *below, last = (layer for layer in head.layers if type(layer) is not keras.layers.Dropout)
    drop = keras.layers.Dropout(rate, name="dropout_of_features")
    other = keras.Sequential([keras.Input(head.input_shape[1:]), *below, drop, last], name=head.name)
    return learner_for(model, keras.Model(*reassembled(model, head=other), name=model.name))


def with_augmentation(model: keras.Model, augmentation: keras.Layer) -> keras.Model:
    """Return a classifier that augments its images during training; it shares all weights with `model`.

    Args:
        model: a classifier made by `build_classifier` or `attach_head`; augmentation that it already has is
            replaced.
        augmentation: a layer that is active only during training, such as `tlkit.augmentation()` or
            `keras.layers.RandAugment((0, 255))`.

    Raises:
        TlkitError: the layer is also active during prediction.

    >>> from tlkit.models import augmentation, build_classifier
    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> with_augmentation(model, augmentation(flip=False)).layers[1].name
    'augmentation'
    """
    return learner_for(model, attach_head(backbone_of(model), head_of(model), augmentation=augmentation))
