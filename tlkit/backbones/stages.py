"""Divide a backbone into stages, the groups of layers that can be frozen.

Keras is imported where it is needed, as in `tlkit.backbones.building`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from tlkit.backbones.registry import BACKBONES
from tlkit.backbones.structure import calls, children, functional, has_weights, only_model, passages
from tlkit.errors import UnknownNameError

if TYPE_CHECKING:
    import keras

PREFIX = re.compile(r"[A-Za-z]+_?\d+(?=[_/.])")  # matches block2 in block2_conv1, and nothing in conv2d_3
NOMINAL = 256  # the height and width in pixels assumed for a network that takes images of any size

Stages = dict[str, "list[keras.Layer]"]


def stages(backbone: keras.Model) -> Stages:
    """Group the layers of a backbone into stages, the units that can be frozen, from input to output.

    The networks of `list_backbones()` have the stages of their papers. The stages of any other network follow
    from its structure, by the first of these rules that yields at least two stages:

    1. A network that consists of models has the stages of these models; a model without stages is one stage.
    2. A stage ends where the feature map becomes smaller: `stage1`, `stage2`, ... The layers after the last
       feature map are the last stage.
    3. Layers whose names have the same prefix are a stage: `block1_conv` and `block1_norm` are `block1`.
    4. Each layer with weights is a stage, named after the layer; a residual block stays whole. If a layer
       contains layers, as the encoder of a vision transformer does, each of these is a stage.

    Args:
        backbone: a functional or `Sequential` model from images to features.

    Returns:
        The layers of each stage, by its name. Every layer is in one stage, and a stage is a run of
        consecutive layers.

    Raises:
        TlkitError: the model is subclassed, or is not built.

    >>> from tlkit.backbones import load_backbone
    >>> list(stages(load_backbone("LeNet", weights=None)))
    ['conv1', 'conv2', 'dense']
    """
    network = functional(backbone)
    if inner := only_model(network):
        return _around(network, inner.operation)
    return _derived(network) or _by_layer(network)


def _derived(network: keras.Model) -> Stages:
    for rule in (_of_the_paper, _by_model, _by_size, _by_name):
        found = rule(network)
        if len(found) > 1:
            return found
    return {}


def _around(network: keras.Model, inner: keras.Model) -> Stages:
    """Return the stages of an inner model, if all other layers, such as a `Rescaling`, have no weights."""
    found = stages(inner)
    index = network.layers.index(inner)
    first, last = next(iter(found)), next(reversed(found))
    found[first] = network.layers[:index] + found[first]
    found[last] = found[last] + network.layers[index + 1 :]
    return found


def _of_the_paper(network: keras.Model) -> Stages:
    try:
        row = BACKBONES.find(network.name)
    except UnknownNameError:
        return {}
    # If the last layer of a stage names it, go from the output to the input.
    layers = network.layers[::-1] if row.stage_ends else network.layers
    grouped = _grouped(layers, [row.stage_of(layer.name) for layer in layers])
    if row.stage_ends:
        return {stage: members[::-1] for stage, members in reversed(grouped.items())}
    return grouped


def _by_model(network: keras.Model) -> Stages:
    """Return the stages of each inner model, and one stage for each other layer with weights.

    Several inner models are blocks. A block is one stage unless its feature maps become smaller.
    """
    import keras

    models = [layer for layer in network.layers if isinstance(layer, keras.Model) and has_weights(layer)]
    if not models:
        return {}
    found: Stages = {}
    pending: list[keras.Layer] = []  # layers without weights before the first stage, which they belong to
    for layer in network.layers:
        if not has_weights(layer):
            (found[next(reversed(found))] if found else pending).append(layer)
            continue
        divisible = layer in models and hasattr(layer, "inputs")
        inner = (stages(layer) if len(models) == 1 else _derived(functional(layer))) if divisible else {}
        parts = inner if len(inner) > 1 else {layer.name: [layer]}
        for name, layers in parts.items():
            found[name if name not in found else f"{layer.name}/{name}"] = [*pending, *layers]
            pending = []
    return found


def _by_size(network: keras.Model) -> Stages:
    found = [[layer for layer in network.layers if not layer.weights and layer.output is network.inputs[0]]]
    network = _with_known_size(network)
    nodes = calls(network)
    smallest, start = NOMINAL**4, 0
    for index, tensor in passages(network):
        if len(tensor.shape) == 3:
            return {}  # the number of tokens is constant
        size = tensor.shape[1] * tensor.shape[2] if len(tensor.shape) == 4 else 0
        if size < smallest and any(map(has_weights, found[-1])):
            found.append([])
        smallest = min(smallest, size)
        found[-1] += [
            each.operation for each in nodes[start : index + 1] if hasattr(each.operation, "weights")
        ]
        start = index + 1
    if not any(map(has_weights, found[-1])) and len(found) > 1:
        last = found.pop()  # layers without weights, such as the pooling at the end
        found[-1] += last
    return {f"stage{number}": layers for number, layers in enumerate(found, start=1)}


def _with_known_size(network: keras.Model) -> keras.Model:
    import keras

    entry = network.inputs[0]
    if None not in entry.shape[1:3]:
        return network
    shape = [NOMINAL if size is None else size for size in entry.shape[1:]]
    images = keras.tree.map_structure(lambda _: keras.Input(shape, dtype=entry.dtype), network.input)
    return keras.models.clone_model(network, input_tensors=images, clone_function=lambda layer: layer)


def _by_name(network: keras.Model) -> Stages:
    layers = _units(network)
    prefixes = [match[0] if (match := PREFIX.match(each.name)) else None for each in layers]
    runs = [name for name, following in pairwise([*filter(None, prefixes), None]) if name != following]
    return _grouped(layers, prefixes) if len(set(runs)) == len(runs) else {}


def _by_layer(network: keras.Model) -> Stages:
    layers, inside, nodes = _units(network), set(), calls(network)
    start = 0
    for index, _ in passages(network):
        weighted = [each.operation for each in nodes[start : index + 1] if has_weights(each.operation)]
        inside |= {id(layer) for layer in weighted[1:]}  # the other layers of a residual block
        start = index + 1
    starts = [has_weights(each) and id(each) not in inside for each in layers]
    return _grouped(layers, [each.name if new else None for each, new in zip(layers, starts, strict=True)])


def _units(layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers directly within one; a layer that only contains blocks is replaced by its blocks."""
    import keras

    units: list[keras.Layer] = []
    for each in children(layer):
        inner = children(each)
        own = len(each.weights) - len({id(weight) for part in inner for weight in part.weights})
        has_parts = not own and sum(map(has_weights, inner)) > 1
        # The parts of a layer such as multi-head attention are not blocks.
        has_blocks = isinstance(each, keras.Model) or any(
            any(map(has_weights, children(part))) for part in inner
        )
        units += _blocks(each) if has_parts and has_blocks else [each]
    return units


def _blocks(layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers within one: blocks, which stay whole, if a type repeats; otherwise smaller units."""
    inner = children(layer)
    kinds = [type(each) for each in inner if has_weights(each)]
    return inner if len(set(kinds)) < len(kinds) else _units(layer)


def _grouped(layers: list[keras.Layer], names: list[str | None]) -> Stages:
    """Put each layer into the stage of its name, or without a name into the stage of the previous layer."""
    grouped: Stages = {}
    current = next(filter(None, names), None)
    if current is None:
        return {}
    for layer, stage in zip(layers, names, strict=True):
        current = stage or current
        grouped.setdefault(current, []).append(layer)
    return grouped
