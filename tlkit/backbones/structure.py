"""Find the parts of any Keras classifier by the structure of its graph, not by names.

Keras is imported where it is needed, as in `tlkit.backbones.building`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlkit.errors import TlkitError

if TYPE_CHECKING:
    import keras

HOW_TO_WRAP = (
    "Wrap it in a functional model, in which it is one layer: images = keras.Input((height, width, 3)); "
    "model = keras.Model(images, model(images))."
)


@dataclass(frozen=True)
class Parts:
    """The parts of a classifier, from images to predictions.

    Attributes:
        network: the classifier as a functional model.
        augmentation: the random layers without weights at the start.
        images: the symbolic images after the augmentation, `(n, height, width, channels)`.
        entry: the symbolic input of the backbone: `images`, or the output of layers such as `Rescaling`.
        backbone: the model from images to features; it shares its layers with the classifier.
        output: the symbolic output of the backbone within the classifier.
        pooling: the operations between the backbone and the features.
        features: the symbolic input of the head, usually `(n, d)`.
        head: the operations from the features to the predictions.
    """

    network: keras.Model
    augmentation: list[keras.Layer]
    images: keras.KerasTensor
    entry: keras.KerasTensor
    backbone: keras.Model
    output: keras.KerasTensor
    pooling: list[Any]
    features: keras.KerasTensor
    head: list[Any]


def functional(model: keras.Model) -> keras.Model:
    """Return the model as a functional model with the same layers, or itself if it is functional.

    Raises:
        TlkitError: the model is subclassed, is not built, or has several inputs.
    """
    import keras

    name = repr(getattr(model, "name", model))
    if not isinstance(model, keras.Model):
        raise TlkitError(f"{name} is {type(model).__name__}; expected a keras.Model.")
    if isinstance(model, keras.Sequential):
        if not model.built or not model.layers:
            raise TlkitError(
                f"The Sequential model {name} has no input shape, so its layers are not connected yet. Start "
                "it with keras.Input((height, width, 3)), or build a classifier with build_classifier(...)."
            )
        model = keras.Model(model.inputs, model.outputs[0], name=model.name)
    if not hasattr(model, "_nodes_by_depth"):
        raise TlkitError(
            f"{name} is a subclassed model ({type(model).__name__}), so the connections of its layers are "
            f"unknown. {HOW_TO_WRAP}"
        )
    if len(model.inputs) != 1:
        raise TlkitError(f"{name} has {len(model.inputs)} inputs; expected images alone.")
    return model


def check_backbone(backbone: keras.Model) -> keras.Model:
    """Return the backbone if it maps one batch of images to a feature map, tokens or features.

    Raises:
        TlkitError: the model has other inputs or outputs; the message states their shapes.
    """
    functional(backbone)
    images, outputs = tuple(backbone.inputs[0].shape), [tuple(each.shape) for each in backbone.outputs]
    if len(images) != 4 or len(outputs) != 1 or len(outputs[0]) not in (2, 3, 4) or outputs[0][-1] is None:
        raise TlkitError(
            f"The backbone {backbone.name!r} maps {images} to {', '.join(map(str, outputs))}; expected "
            "images (n, height, width, channels) to a feature map (n, h, w, c), tokens (n, t, d) or features "
            "(n, d)."
        )
    return backbone


def calls(network: keras.Model) -> list[Any]:
    """Return the calls of the operations of a functional model, from input to output.

    Each has an `operation`, `input_tensors` and `output_tensors`; input layers are left out.
    """
    # Keras has no public access to the graph; its own exporters and plots read this attribute, too.
    by_depth: dict[int, list[Any]] = network._nodes_by_depth
    return [call for depth in sorted(by_depth, reverse=True) for call in by_depth[depth] if not call.is_input]


def passages(network: keras.Model) -> Iterator[tuple[int, keras.KerasTensor]]:
    """Yield the tensors at which a network can be cut in two, each after the index of the call that makes it.

    All later operations depend on such a tensor alone. The first is the input, with the index -1. There is
    none within a residual block, since the shortcut goes around its layers.
    """
    nodes = calls(network)
    last_use = {id(each): index for index, call in enumerate(nodes) for each in call.input_tensors}
    last_use |= {id(each): len(nodes) for each in network.outputs}
    unread = list(network.inputs)  # tensors that a later operation reads
    yield -1, unread[0]
    for index, call in enumerate(nodes):
        tensors = [*unread, *call.output_tensors]
        unread = [each for each in tensors if last_use.get(id(each), -1) > index]
        if len(unread) == 1:
            yield index, unread[0]


def has_weights(operation: Any) -> bool:
    """Return whether an operation of the graph is a layer with weights."""
    return bool(getattr(operation, "weights", None))


def only_model(network: keras.Model) -> Any | None:
    """Return the call of the inner model that contains all weights of the network; None if there is none."""
    weighted = [call for call in calls(network) if has_weights(call.operation)]
    inner = weighted[0].operation if len(weighted) == 1 else None
    return weighted[0] if hasattr(inner, "_nodes_by_depth") else None


def is_augmentation(operation: Any) -> bool:
    """Return whether an operation is a layer with random state and no weights, such as `RandomFlip`."""
    return not has_weights(operation) and bool(getattr(operation, "variables", None))


def parts_of(model: keras.Model) -> Parts:
    """Find the augmentation, backbone, features and head of a classifier.

    The backbone is the only inner model that takes images, if no layer with weights comes before it. Without
    such a model, all layers below the head are the backbone. The head starts after the pooling (or
    flattening) of the backbone's output. In a flat classifier it starts after the last pooling, or else at
    the last layer with weights.

    Args:
        model: a functional or `Sequential` model from images to predictions.

    Raises:
        TlkitError: the model is not of this kind, or no backbone is found.

    >>> import keras
    >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
    >>> found = parts_of(keras.Sequential([keras.Input((8, 8, 3)), *layers]))
    >>> [layer.name for layer in found.backbone.layers[1:]] == [layers[0].name, layers[1].name]
    True
    """
    import keras

    network = functional(model)
    nodes, tensors = calls(network), dict(passages(network))
    start = augmentation_end(nodes, tensors)
    inner = _inner_backbone(nodes, tensors, start)
    # If the inner model has several outputs, its output is the tensor at which they come together.
    end = None if inner is None else min(index for index in tensors if index >= inner)
    cut = _flat_cut(nodes, tensors, start) if end is None else _pooled_cut(end, nodes, tensors)
    if cut is None or cut == len(nodes) - 1:
        raise TlkitError(
            f"Model {model.name!r} has no backbone with a head on top. Give a classifier of images: "
            "build_classifier(backbone, classes), or your own layers from images to class probabilities."
        )
    images, features = tensors[start], tensors[cut]
    if inner is None or end is None:
        entry, backbone, output = images, keras.Model(images, features, name=model.name), features
    else:
        entry, backbone, output = tensors[inner - 1], nodes[inner].operation, tensors[end]
    return Parts(
        network,
        [call.operation for call in nodes[: start + 1]],
        images,
        entry,
        backbone,
        output,
        [call.operation for call in nodes[(cut if end is None else end) + 1 : cut + 1]],
        features,
        [call.operation for call in nodes[cut + 1 :]],
    )


def augmentation_end(nodes: list[Any], tensors: dict[int, Any]) -> int:
    """Return the index of the last augmentation call at the start of a network; -1 if there is none."""
    end = -1
    while end + 1 in tensors and is_augmentation(nodes[end + 1].operation):
        end += 1
    return end


def _inner_backbone(nodes: list[Any], tensors: dict[int, Any], start: int) -> int | None:
    """Return the index of the call of the only inner model of images, if no trained layer comes before it.

    If there are several, such as the blocks of a network, none of them is the backbone.
    """
    inner = [index + 1 for index in tensors if index >= start and _takes_images(nodes[index + 1 : index + 2])]
    weighted = [index for index in inner if has_weights(nodes[index].operation)]
    found = weighted or inner[-1:]
    if len(found) != 1 or any(_is_trained(call.operation) for call in nodes[: found[0]]):
        return None
    return found[0]


def _is_trained(operation: Any) -> bool:
    import keras

    return has_weights(operation) and not isinstance(operation, keras.layers.Normalization)


def _takes_images(nodes: list[Any]) -> bool:
    import keras

    return any(
        isinstance(call.operation, keras.Model) and len(call.input_tensors[0].shape) == 4 for call in nodes
    )


def _pooled_cut(end: int, nodes: list[Any], tensors: dict[int, Any]) -> int:
    """Return the index of the call that makes the features: the pooling, or else the backbone."""
    index = end
    while len(tensors[index].shape) > 2:
        index += 1
        if index not in tensors:
            return end
        operation = nodes[index].operation
        if has_weights(operation) or is_augmentation(operation):
            return end  # a layer with weights, or dropout, before the pooling is part of the head
    return index


def _flat_cut(nodes: list[Any], tensors: dict[int, Any], start: int) -> int | None:
    """Return the index of the call that makes the features of a flat classifier; None if there is none."""
    weighted = [index for index, call in enumerate(nodes) if has_weights(call.operation)]
    if len(weighted) < 2 or len(tensors[start].shape) != 4:
        return None
    below = [index for index in tensors if start < index < weighted[-1]]
    pooled = [index for index in below if _is_pooling(nodes[index]) and index > weighted[0]]
    return max(pooled or below, default=None)


def _is_pooling(call: Any) -> bool:
    ranks = len(call.input_tensors[0].shape), len(call.output_tensors[0].shape)
    return ranks[0] > 2 == ranks[1] and not has_weights(call.operation)


def pool(output: keras.KerasTensor, pooling: str = "avg") -> keras.KerasTensor:
    """Pool the symbolic output of a backbone to features `(n, d)`.

    Args:
        output: a feature map `(n, h, w, c)`, tokens `(n, t, d)` or features `(n, d)`, which are unchanged.
        pooling: `"avg"`, the mean over all positions or tokens; `"token"`, the first token, which is the
            class token of a vision transformer that has one.

    Raises:
        TlkitError: `pooling` is neither, or it is `"token"` for a feature map.
    """
    import keras

    rank = len(output.shape)
    if pooling not in ("avg", "token") or (pooling == "token" and rank == 4):
        raise TlkitError(
            f"pooling={pooling!r} was given for an output of shape {tuple(output.shape)}; expected 'avg', or "
            "for tokens (n, t, d) also 'token', the first one."
        )
    if rank == 2:
        return output
    if pooling == "token":
        return output[:, 0]
    kind = keras.layers.GlobalAveragePooling2D if rank == 4 else keras.layers.GlobalAveragePooling1D
    return kind(name="pooling")(output)


def chain(parts: Parts, start: keras.KerasTensor, end: Any) -> list[keras.Layer]:
    """Return the layers between two tensors of a classifier, to be called one after the other.

    If an operation in between is not a layer, or reads several tensors, the result is one model.
    """
    import keras

    if not hasattr(end, "shape"):  # several outputs, one per task
        if start is parts.features and len(parts.head) == 1 and isinstance(parts.head[0], keras.Layer):
            return [parts.head[0]]
        if start is parts.features:
            return [keras.Model(start, end)]
        return chain(parts, start, parts.features) + chain(parts, parts.features, end)
    nodes = calls(parts.network)
    by_output = {id(each): call for call in nodes for each in call.output_tensors}
    layers: list[keras.Layer] = []
    tensor = end
    while tensor is not start:
        call = by_output[id(tensor)]
        if not isinstance(call.operation, keras.Layer) or len(call.input_tensors) != 1:
            return [keras.Model(start, end)]
        layers.insert(0, call.operation)
        tensor = call.input_tensors[0]
    return layers


def call_on(network: keras.Model, x: keras.KerasTensor) -> keras.KerasTensor:
    """Call a network with one input on a tensor, even if the network takes a list or a dictionary."""
    import keras

    if isinstance(network, keras.Sequential):
        inputs = x
    else:
        inputs = keras.tree.map_structure(lambda _: x, network.input)
    return keras.tree.flatten(network(inputs))[0]


def children(layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers directly within a layer, including those in its lists."""
    import keras

    is_model = isinstance(layer, keras.Model) and hasattr(layer, "layers")
    found = layer.layers if is_model else layer._flatten_layers(include_self=False, recursive=False)
    return list({id(each): each for each in found}.values())


def flat_layers(layer: keras.Layer) -> list[keras.Layer]:
    """Return all layers within a layer that contain no others, each once; or the layer itself."""
    found = {id(inner): inner for each in children(layer) for inner in flat_layers(each)}
    return list(found.values()) or [layer]


def output_activation(model: Any) -> str:
    """Return the name of the activation of a model's output: `"linear"` for logits.

    >>> import keras
    >>> output_activation(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "softmax")]))
    'softmax'
    """
    import keras

    network = functional(model)
    by_output = {id(each): call for call in calls(network) for each in call.output_tensors}
    tensor = network.outputs[0]
    while id(tensor) in by_output:
        call = by_output[id(tensor)]
        operation = call.operation
        if isinstance(operation, keras.Model):
            return output_activation(operation)
        activation = getattr(operation, "activation", None)
        if activation is not None and activation is not keras.activations.linear:
            return getattr(activation, "__name__", type(activation).__name__).lower()
        if type(operation).__name__.lower() in ("softmax", "sigmoid"):
            return type(operation).__name__.lower()
        if has_weights(operation):
            return "linear"
        tensor = call.input_tensors[0]
    return "linear"
