"""Open a model from a file for new images: check that it takes images and answers with probabilities."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal.keras_import import import_keras
from tlkit._internal.model_files import load_model, reason_of
from tlkit._internal.outputs import unfinished
from tlkit._internal.sizes import MAX_IMAGE_SIZE
from tlkit.errors import TlkitError, TlkitWarning

KINDS = {"softmax": "classification", "sigmoid": "multi-label"}  # by the activation of an output
TOLERANCE = 0.01  # of a sum of probabilities, as half precision rounds


def how_to_train(folder: Path) -> str:
    """Return what to do about a folder that contains no run."""
    if unfinished(folder):
        return "The folder contains a training that was stopped: run its command again with --resume."
    return f"Train one: tlkit train DATA --out {folder}"


def open_network(path: Path) -> Any:
    """Open a model of RGB images.

    If its only output consists of logits, a softmax is added, and a warning says so.

    Args:
        path: a `.keras` file.

    Returns:
        A `keras.Model` from `(n, size, size, 3)`, values 0 to 255, to outputs `(n, outputs)`: one array, or a
        dictionary of arrays for several tasks.

    Warns:
        TlkitWarning: a softmax was added.

    Raises:
        TlkitError: there is no file, it cannot be opened safely, or it is a model of another kind.
    """
    if not path.is_file():
        raise TlkitError(f"There is no model at {path}. {how_to_train(path.parent)}")
    try:
        network = load_model(path)
    except Exception as error:  # Keras, h5py and zipfile raise many types on a foreign or damaged file
        raise TlkitError(
            f"{path} is not an image classifier that can be opened: it cannot be opened by Keras: "
            f"{reason_of(error)}. Copy the file again, or train again."
        ) from error
    _check_input(network, path)
    keras = import_keras()
    if isinstance(network, keras.Sequential):  # which has no `output` after it is opened
        network = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    return _with_probabilities(network, path)


def _check_input(network: Any, path: Path) -> None:
    inputs = list(getattr(network, "inputs", None) or ())
    if len(inputs) != 1:
        raise _other_model(path, f"it has {len(inputs)} inputs, expected one: images")
    shape = tuple(inputs[0].shape)
    if len(shape) != 4 or None in shape[1:] or shape[1] != shape[2]:
        raise _other_model(path, f"it takes {shape}, expected square images (None, size, size, 3)")
    if shape[3] != 3:
        colours = "grey-scale images" if shape[3] == 1 else f"images of {shape[3]} channels"
        raise _other_model(path, f"it takes {colours} {shape}, expected RGB images (None, size, size, 3)")
    if shape[1] > MAX_IMAGE_SIZE:
        raise _other_model(path, f"it takes images of {shape[1]} pixels; the limit is {MAX_IMAGE_SIZE}")


def _with_probabilities(network: Any, path: Path) -> Any:
    """Check the outputs, and add a softmax if the only output consists of logits."""
    output = network.output
    if not isinstance(output, dict) and len(network.outputs) != 1:
        raise _other_model(
            path, f"it has {len(network.outputs)} outputs without names, expected one, or a dictionary"
        )
    outputs = output if isinstance(output, dict) else {"its output": network.outputs[0]}
    for name, each in outputs.items():
        if len(each.shape) != 2 or each.shape[-1] is None:
            raise _other_model(path, f"{name} has the shape {tuple(each.shape)}, expected (None, classes)")
    if isinstance(output, dict):
        return network
    output = network.outputs[0]
    if output.shape[-1] == 1:
        raise _other_model(path, "it has one output, a number; expected one output for each class")
    if activation_of(output) != "linear":
        return network
    warnings.warn(
        f"The outputs of {path} have no activation, so they were taken as logits, and a softmax was added.",
        TlkitWarning,
        stacklevel=4,
    )
    keras = import_keras()
    softmax = keras.layers.Softmax(dtype="float32", name="softmax_of_logits")
    return keras.Model(network.inputs[0], softmax(output), name=network.name)


def _other_model(path: Path, difference: str) -> TlkitError:
    return TlkitError(
        f"{path} is not an image classifier of the kind that tlkit train writes: {difference}. Train one: "
        "tlkit train DATA --out FOLDER."
    )


def activation_of(output: Any) -> str:
    """Return the name of the activation that made a symbolic output, such as "softmax"; "" if unknown.

    Args:
        output: a `keras.KerasTensor`, one of `model.outputs`.
    """
    operation, place = output._keras_history.operation, output._keras_history.tensor_index
    while getattr(operation, "outputs", None) and hasattr(operation, "layers"):  # an inner model
        inner = operation.outputs[place]._keras_history
        operation, place = inner.operation, inner.tensor_index
    if type(operation).__name__ == "Softmax":
        return "softmax"
    return getattr(getattr(operation, "activation", None), "__name__", "")


def output_kinds(
    network: Any, known: Mapping[str, Any]
) -> tuple[dict[str, tuple[str, list[str]]], list[str]]:
    """Return the kind and the class names of each task of a network.

    Args:
        network: a Keras model whose output is a dictionary.
        known: "tasks" of the `metrics.json` beside it.

    Returns:
        (kind, names) by task, names empty for numbers; and the tasks whose names are unknown.
    """
    found, unnamed = {}, []
    for task, output in network.output.items():
        about = known.get(task)
        about = about if isinstance(about, dict) else {}
        kind = about.get("kind")
        if kind not in (*KINDS.values(), "regression"):
            kind = KINDS.get(activation_of(output), "regression")
        names = names_or_none(about.get("classes")) or []
        if kind == "regression":
            names = []
        elif len(names) != output.shape[-1]:
            unnamed.append(task)
            names = [f"class {i}" for i in range(output.shape[-1])]
        found[task] = kind, names
    return found, unnamed


def names_or_none(value: Any) -> list[str] | None:
    """Return class names from a JSON file as they are; None if they are no list of different texts."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return None
    return value if len(set(value)) == len(value) else None


def check_answers(predictions: np.ndarray, what: str, kind: str = "classification") -> None:
    """Raise TlkitError if predictions cannot be what they are shown as.

    Args:
        predictions: float `(n, outputs)`.
        what: made them, for the error, such as the path of the model.
        kind: of the task: classification (probabilities that sum to 1), multi-label (each from 0 to 1), or
            regression (finite numbers).
    """
    values = np.asarray(predictions, "float64")
    if not np.isfinite(values).all():
        raise TlkitError(
            f"{what} answers with NaN or infinity for some images. Its weights are damaged: train again."
        )
    if kind == "regression" or not values.size:
        return
    low, high = values.min(), values.max()
    total = values.sum(axis=1)
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        found = f"its outputs lie between {low:.4g} and {high:.4g}"
    elif kind == "classification" and np.abs(total - 1).max() > TOLERANCE:
        found = f"its outputs sum to between {total.min():.4g} and {total.max():.4g} for an image"
    else:
        return
    raise TlkitError(
        f"{what} does not answer with probabilities: {found}. Expected values from 0 to 1"
        f"{' that sum to 1' if kind == 'classification' else ''}. Add the activation, such as "
        "keras.Sequential([model, keras.layers.Softmax()]), and save the model again."
    )


def kind_of(network: Any) -> str:
    """Return the kind of a network with one output: multi-label if a sigmoid made it."""
    return "multi-label" if activation_of(network.outputs[0]) == "sigmoid" else "classification"


def class_answer(names: Sequence[str], values: np.ndarray, top: int) -> list[dict[str, Any]]:
    """Return the `top` most likely classes of one image, `[{"class": name, "probability": 0 to 1}, ...]`."""
    best = values.argsort()[::-1][:top]
    return [{"class": names[i], "probability": float(values[i])} for i in best]


def task_answer(
    kinds: Mapping[str, tuple[str, list[str]]], predictions: Mapping[str, np.ndarray], row: int, top: int
) -> dict[str, Any]:
    """Return the predictions for one image: `{task: {"classes": [...]} or {"value": number}}`.

    For several labels those above 0.5, most likely first; for classes the `top` most likely ones.
    """
    answers: dict[str, Any] = {}
    for task, (kind, names) in kinds.items():
        values = predictions[task][row]
        if kind == "regression":
            answers[task] = {"value": float(values[0]) if len(values) == 1 else values.tolist()}
        elif kind == "multi-label":
            answers[task] = {"classes": class_answer(names, values, int((values > 0.5).sum()))}
        else:
            answers[task] = {"classes": class_answer(names, values, top)}
    return answers


def in_words(answers: Mapping[str, Any]) -> str:
    """Write the predictions for one image in a line.

    >>> in_words({"kind": {"classes": [{"class": "cat", "probability": 0.9}]}, "age": {"value": 3.0}})
    'kind: cat 90.0%; age: 3'
    """
    lines = []
    for task, found in answers.items():
        if "classes" in found:
            text = ", ".join(f"{each['class']} {each['probability']:.1%}" for each in found["classes"])
        else:
            text = ", ".join(f"{value:.4g}" for value in np.ravel(found["value"]))
        lines.append(f"{task}: {text or 'none'}")
    return "; ".join(lines)
