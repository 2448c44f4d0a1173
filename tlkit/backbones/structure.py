"""The parts of any Keras classifier, found by the structure of its graph and by no name.

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
    "Make it a functional model, in which it is one layer: images = keras.Input((height, width, 3)); "
    "model = keras.Model(images, model(images))."
)


@dataclass(frozen=True)
class Parts:
    """Where the parts of a classifier lie, from images to predictions.

    Attributes:
        network: the classifier as a functional model.
        augmentation: the random layers without weights that come first.
        images: the symbolic images behind the augmentation, `(n, height, width, channels)`.
        entry: the symbolic input of the backbone: `images`, or what layers such as `Rescaling` make of them.
        backbone: the model that turns images into features; it shares its layers with the classifier.
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
    """Return the model as a functional one with the same layers; a functional model is returned itself.

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
            f"{name} is a subclassed model ({type(model).__name__}), whose layers do not say how they are "
            f"connected. {HOW_TO_WRAP}"
        )
    if len(model.inputs) != 1:
        raise TlkitError(f"{name} has {len(model.inputs)} inputs; expected images alone.")
    return model


def check_backbone(backbone: keras.Model) -> keras.Model:
    """Return the backbone if it maps one batch of images to a feature map, tokens or a vector.

    Raises:
        TlkitError: it does not; the message says what it takes and gives.
    """
    functional(backbone)
    takes, gives = tuple(backbone.inputs[0].shape), [tuple(each.shape) for each in backbone.outputs]
    if len(takes) != 4 or len(gives) != 1 or len(gives[0]) not in (2, 3, 4) or gives[0][-1] is None:
        raise TlkitError(
            f"The backbone {backbone.name!r} maps {takes} to {', '.join(map(str, gives))}; expected images "
            "(n, height, width, channels) to a feature map (n, h, w, c), tokens (n, t, d) or features (n, d)."
        )
    return backbone


def calls(network: keras.Model) -> list[Any]:
    """Return the calls of the operations of a functional model, from input to output.

    Each has an `operation`, `input_tensors` and `output_tensors`; input layers are left out.
    """
    # Keras keeps the graph in this attribute alone; its exporters and plots read it, too.
    by_depth: dict[int, list[Any]] = network._nodes_by_depth
    return [call for depth in sorted(by_depth, reverse=True) for call in by_depth[depth] if not call.is_input]


def passages(network: keras.Model) -> Iterator[tuple[int, keras.KerasTensor]]:
    """Yield the tensors through which everything passes, each after the index of the call that makes it.

    The first is the input, with the index -1. Within a residual block there is none, since the shortcut goes
    around its layers.
    """
    nodes = calls(network)
    last_use = {id(each): turn for turn, call in enumerate(nodes) for each in call.input_tensors}
    last_use |= {id(each): len(nodes) for each in network.outputs}
    waiting = list(network.inputs)  # tensors that are still to be read
    yield -1, waiting[0]
    for turn, call in enumerate(nodes):
        made = [*waiting, *call.output_tensors]
        waiting = [each for each in made if last_use.get(id(each), -1) > turn]
        if len(waiting) == 1:
            yield turn, waiting[0]


def has_weights(operation: Any) -> bool:
    """Whether an operation of the graph is a layer with weights."""
    return bool(getattr(operation, "weights", None))


def only_model(network: keras.Model) -> Any | None:
    """Return the call of the one model within another that has weights; None where there is no such one."""
    weighted = [call for call in calls(network) if has_weights(call.operation)]
    inner = weighted[0].operation if len(weighted) == 1 else None
    return weighted[0] if hasattr(inner, "_nodes_by_depth") else None


def is_augmentation(operation: Any) -> bool:
    """Whether an operation is a layer with random state and without weights, such as `RandomFlip`."""
    return not has_weights(operation) and bool(getattr(operation, "variables", None))


def parts_of(model: keras.Model) -> Parts:
    """Find augmentation, backbone, features and head of a classifier.

    The backbone is the one model within the classifier that takes images, if no layer with weights comes
    before it. Without such a model, all layers below the head are the backbone. The head starts at the
    vector that enters it: behind the pooling (or flattening) of the backbone's output; of a flat classifier,
    behind the last pooling, or else at the last layer with weights.

    Args:
        model: functional or `Sequential`, from images to predictions.

    Raises:
        TlkitError: the model is not such a one, or no backbone is found.

    >>> import keras
    >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
    >>> found = parts_of(keras.Sequential([keras.Input((8, 8, 3)), *layers]))
    >>> [layer.name for layer in found.backbone.layers[1:]] == [layers[0].name, layers[1].name]
    True
    """
    import keras

    network = functional(model)
    nodes, places = calls(network), dict(passages(network))
    start = augmentation_end(nodes, places)
    body = _inner_backbone(nodes, places, start)
    # of a model with several outputs: where they come together again
    behind = None if body is None else min(turn for turn in places if turn >= body)
    cut = _flat_cut(nodes, places, start) if behind is None else _pooled_cut(behind, nodes, places)
    if cut is None or cut == len(nodes) - 1:
        raise TlkitError(
            f"Model {model.name!r} holds no backbone with a head behind it. Give a classifier of images: "
            "build_classifier(backbone, classes), or layers from images to class probabilities of your own."
        )
    images, features = places[start], places[cut]
    if body is None or behind is None:
        entry, backbone, output = images, keras.Model(images, features, name=model.name), features
    else:
        entry, backbone, output = places[body - 1], nodes[body].operation, places[behind]
    return Parts(
        network,
        [call.operation for call in nodes[: start + 1]],
        images,
        entry,
        backbone,
        output,
        [call.operation for call in nodes[(cut if behind is None else behind) + 1 : cut + 1]],
        features,
        [call.operation for call in nodes[cut + 1 :]],
    )


def augmentation_end(nodes: list[Any], places: dict[int, Any]) -> int:
    """Return the last of the calls of augmentation with which a network starts; -1 where there is none."""
    end = -1
    while end + 1 in places and is_augmentation(nodes[end + 1].operation):
        end += 1
    return end


def _inner_backbone(nodes: list[Any], places: dict[int, Any], start: int) -> int | None:
    """Return the call of the one model that takes images, if no layer with weights comes before it.

    Of several, such as the blocks that a network is made of, none is the backbone.
    """
    inner = [turn + 1 for turn in places if turn >= start and _takes_images(nodes[turn + 1 : turn + 2])]
    weighted = [turn for turn in inner if has_weights(nodes[turn].operation)]
    found = weighted or inner[-1:]
    if len(found) != 1 or any(_learns(call.operation) for call in nodes[: found[0]]):
        return None
    return found[0]


def _learns(operation: Any) -> bool:
    import keras

    return has_weights(operation) and not isinstance(operation, keras.layers.Normalization)


def _takes_images(nodes: list[Any]) -> bool:
    import keras

    return any(
        isinstance(call.operation, keras.Model) and len(call.input_tensors[0].shape) == 4 for call in nodes
    )


def _pooled_cut(behind: int, nodes: list[Any], places: dict[int, Any]) -> int:
    """Return the call whose output enters the head: the pooling behind the backbone, or the backbone."""
    turn = behind
    while len(places[turn].shape) > 2:
        turn += 1
        if turn not in places or has_weights(nodes[turn].operation) or is_augmentation(nodes[turn].operation):
            return behind  # a layer that learns, or dropout, comes before the vector: it is part of the head
    return turn


def _flat_cut(nodes: list[Any], places: dict[int, Any], start: int) -> int | None:
    weighted = [turn for turn, call in enumerate(nodes) if has_weights(call.operation)]
    if len(weighted) < 2 or len(places[start].shape) != 4:
        return None
    below = [turn for turn in places if start < turn < weighted[-1]]
    pooled = [turn for turn in below if _makes_a_vector(nodes[turn]) and turn > weighted[0]]
    return max(pooled or below, default=None)


def _makes_a_vector(call: Any) -> bool:
    ranks = len(call.input_tensors[0].shape), len(call.output_tensors[0].shape)
    return ranks[0] > 2 == ranks[1] and not has_weights(call.operation)


def pool(output: keras.KerasTensor, pooling: str = "avg") -> keras.KerasTensor:
    """Return features `(n, d)` of a backbone's symbolic output.

    Args:
        output: a feature map `(n, h, w, c)`, tokens `(n, t, d)` or features `(n, d)`, which stay as they are.
        pooling: `"avg"`, the mean over all places or tokens; `"token"`, the first token, which is the class
            token of a vision transformer that has one.

    Raises:
        TlkitError: `pooling` is neither, or a feature map has no tokens.
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
    """Return layers that lead from one tensor of a classifier to another, to call one after the other.

    Where operations lie between that are no layers, or that read several tensors, one model stands for all.
    """
    import keras

    if not hasattr(end, "shape"):  # several outputs, such as those of several tasks
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
    """Call a network of one input on a tensor, whether its input was given alone, in a list or by name."""
    import keras

    given = (
        x if isinstance(network, keras.Sequential) else keras.tree.map_structure(lambda _: x, network.input)
    )
    return keras.tree.flatten(network(given))[0]


def children(layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers directly below one, those that it keeps in lists too."""
    import keras

    is_model = isinstance(layer, keras.Model) and hasattr(layer, "layers")
    found = layer.layers if is_model else layer._flatten_layers(include_self=False, recursive=False)
    return list({id(each): each for each in found}.values())


def flat_layers(layer: keras.Layer) -> list[keras.Layer]:
    """Return all layers below that hold no others, each once; the layer itself if it holds none."""
    found = {id(leaf): leaf for each in children(layer) for leaf in flat_layers(each)}
    return list(found.values()) or [layer]


def output_activation(model: Any) -> str:
    """Return the name of the activation that makes a model's output: `"linear"` for logits.

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
