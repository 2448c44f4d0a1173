"""Check the inputs and labels of `MultiTask.fit` and `MultiTask.evaluate`."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tlkit.data import ImageFiles, Split
from tlkit.data.labelled import check_finite, fits, is_batches, unpacked
from tlkit.errors import DataError, UnknownNameError
from tlkit.techniques.multi_task.columns import encode_labels, labels_for
from tlkit.techniques.multi_task.tasks import Task

Labels = Mapping[str, Any]


def checked(
    network: keras.Model, tasks: Mapping[str, Task], x: Any, y: Labels | None, name: str
) -> tuple[Any, Labels | None]:
    """Return inputs and labels in the form that Keras takes: arrays, or batches of both.

    Args:
        network: inputs to `{task: predictions}`.
        tasks: the tasks by name.
        x: inputs, a split, or batches of `(inputs, {task: labels})`.
        y: labels by task; None for batches, or to take the labels of a split.
        name: what the caller calls these data, for error messages.

    Raises:
        UnknownNameError: there are labels for an unknown task.
        DataError: inputs or labels are missing or do not fit. Only the first of several batches is checked.
    """
    if isinstance(x, Split):
        x, y = x.images, y or labels_for(x, tasks)
    if is_batches(x):
        _check_inputs(network, _first_inputs(x, tasks, name), name)
        return x, y
    if y is None:
        if hasattr(x, "shape") or isinstance(x, tuple | list):
            raise DataError(f"{name} has no labels; expected inputs, {{task: labels}}.")
        return x, None
    _check_inputs(network, x, name)
    return x[:] if isinstance(x, ImageFiles) else x, _checked_labels(y, tasks, len(x))


def _check_inputs(network: keras.Model, inputs: Any, name: str) -> None:
    expected, shape = tuple(network.inputs[0].shape[1:]), tuple(np.shape(inputs)[1:])
    if not fits(shape, expected):
        raise DataError(
            f"The inputs of {name} have shape {shape}, but {network.name!r} takes {expected}. Load images "
            "with image_size=, or build the network for their size."
        )


def _checked_labels(labels: Labels, tasks: Mapping[str, Task], n: int) -> dict[str, np.ndarray]:
    """Return the encoded labels of `n` inputs; each task must have at least one."""
    encoded = _all_encoded(labels, tasks, n)
    for name, task in tasks.items():
        if not keras.ops.convert_to_numpy(task.known(encoded[name])).any():
            raise DataError(
                f"All labels of task {name!r} are missing. Add some, or build the network without this task."
            )
    return encoded


def _first_inputs(batches: Any, tasks: Mapping[str, Task], name: str) -> np.ndarray:
    """Return the inputs of the first batch, after checking its labels."""
    check_finite(batches, name)
    batch = batches[0] if isinstance(batches, keras.utils.PyDataset) else next(iter(batches), None)
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise DataError(f"{name} yields no batches with labels; expected (inputs, {{task: labels}}).")
    inputs, labels, _ = unpacked(batch)
    for task, values in labels.items() if isinstance(labels, Mapping) else ():
        if values.ndim == 0 or values.dtype.kind not in "iufb":
            raise DataError(
                f"Labels of type {values.dtype} and shape {values.shape} were given for task {task!r} in "
                f"{name}; expected batches of numbers: data.batch(32), and task.encode(values) for texts."
            )
    _all_encoded(labels, tasks, len(inputs))
    return inputs


def _all_encoded(labels: Any, tasks: Mapping[str, Task], n: int) -> dict[str, np.ndarray]:
    if not isinstance(labels, Mapping):
        raise DataError(
            f"Labels of type {type(labels).__name__} were given; expected labels by task: "
            f"{{{', '.join(f'{name!r}: ...' for name in tasks)}}}."
        )
    for name in labels:
        if name not in tasks:
            raise UnknownNameError("task", name, tasks)
    encoded = {}
    for name, task in tasks.items():
        if name not in labels:
            raise DataError(
                f"There are no labels for task {name!r}. Add them; a missing label is -1 (classes) or NaN."
            )
        encoded[name] = encode_labels(name, task, labels[name])
        if len(encoded[name]) != n:
            raise DataError(
                f"Task {name!r} has {len(encoded[name])} labels for {n} inputs; expected one per input."
            )
    return encoded
