"""Find the heads of a network with several outputs, by its structure and not by layer names."""

from collections import Counter
from collections.abc import Iterable, Mapping

import keras

from tlkit.backbones.structure import calls, functional, has_weights, output_activation
from tlkit.errors import TlkitError
from tlkit.techniques.multi_task.tasks import Task


def end_of(network: keras.Model, output: keras.KerasTensor) -> tuple[keras.Layer, str]:
    """Return the last layer with weights before an output of a network, and the activation of the output.

    Args:
        network: a functional model.
        output: one of its symbolic outputs.

    Raises:
        TlkitError: no layer with weights computes this output.

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
        raise TlkitError(f"No layer of {network.name!r} with weights computes its output {output.name!r}.")
    call = made_by[id(tensor)]
    layer = call.operation
    if not isinstance(layer, keras.Model) or len(layer.outputs) == 1:
        return layer, output_activation(keras.Model(network.inputs, output))
    index = [id(each) for each in call.output_tensors].index(id(tensor))
    head, inside = end_of(layer, layer.outputs[index])
    after = "linear" if tensor is output else output_activation(keras.Model(tensor, output))
    return head, inside if after == "linear" else after


def head_variables(heads: Iterable[keras.Layer]) -> set[int]:
    """Return the ids of the variables that belong to exactly one head; all others are shared."""
    counts = Counter(id(variable) for head in heads for variable in head.variables)
    return {variable for variable, count in counts.items() if count == 1}


def check_outputs(network: keras.Model, tasks: Mapping[str, Task]) -> None:
    """Raise TlkitError unless a network has one output per task, of the width of the task."""
    output = functional(network).output
    outputs = output if isinstance(output, dict) else {}
    for name in {*tasks} ^ {*outputs}:
        raise TlkitError(
            f"Task {name!r} is {'no output of the network' if name in tasks else 'not among the tasks'}. "
            f"The network outputs {', '.join(outputs) or 'a single tensor'}; the tasks are "
            f"{', '.join(tasks)}. Build it with one output per task: keras.Model(inputs, {{task: output}})."
        )
    for name, task in tasks.items():
        shape = tuple(outputs[name].shape)
        if len(shape) != 2 or shape[1] != task.outputs:
            raise TlkitError(
                f"The output of the network for task {name!r} has shape {shape}; expected "
                f"(None, {task.outputs}). Build the head with task.head(name)."
            )
