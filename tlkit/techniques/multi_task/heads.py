"""Where the heads of a network with several outputs lie, found by its structure and by no name."""

from collections import Counter
from collections.abc import Iterable

import keras

from tlkit.backbones.structure import calls, has_weights, output_activation
from tlkit.errors import TlkitError


def end_of(network: keras.Model, output: keras.KerasTensor) -> tuple[keras.Layer, str]:
    """Return the last layer with weights before an output of a network, and the activation of that output.

    Args:
        network: a functional model.
        output: one of its symbolic outputs.

    Raises:
        TlkitError: no layer with weights makes this output.

    >>> features = keras.Input((4,))
    >>> network = keras.Model(features, {"kind": keras.layers.Dense(3, name="last")(features)})
    >>> layer, activation = end_of(network, network.output["kind"])
    >>> layer.name, activation
    ('last', 'linear')
    """
    made_by = {id(each): call for call in calls(network) for each in call.output_tensors}
    tensor = output
    while id(tensor) in made_by and not has_weights(made_by[id(tensor)].operation):
        tensor = made_by[id(tensor)].input_tensors[0]
    if id(tensor) not in made_by:
        raise TlkitError(f"No layer of {network.name!r} with weights makes its output {output.name!r}.")
    call = made_by[id(tensor)]
    layer = call.operation
    if not isinstance(layer, keras.Model) or len(layer.outputs) == 1:
        return layer, output_activation(keras.Model(network.inputs, output))
    place = [id(each) for each in call.output_tensors].index(id(tensor))
    head, inside = end_of(layer, layer.outputs[place])
    behind = "linear" if tensor is output else output_activation(keras.Model(tensor, output))
    return head, inside if behind == "linear" else behind


def of_one_alone(heads: Iterable[keras.Layer]) -> set[int]:
    """Return the ids of the variables that belong to one head and to no other."""
    found = Counter(id(variable) for head in heads for variable in head.variables)
    return {variable for variable, count in found.items() if count == 1}
