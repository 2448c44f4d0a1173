"""What a network with several tasks says of an image."""

from collections.abc import Mapping
from typing import Any

import numpy as np

KINDS = {"softmax": "classification", "sigmoid": "multi-label"}


def questions(network: Any, told: Mapping[str, Any]) -> tuple[dict[str, tuple[str, list[str]]], list[str]]:
    """Return the kind and the class names of each task of a network.

    Args:
        network: a Keras model whose output is a dictionary.
        told: "tasks" of the `metrics.json` beside it.

    Returns:
        (kind, names) by task, names empty for numbers; and the tasks whose names are not told.
    """
    found, unnamed = {}, []
    for task, output in network.output.items():
        about = told.get(task) or {}
        kind = about.get("kind") or KINDS.get(_activation(network, task), "regression")
        names = list(about.get("classes") or ())
        if kind == "regression":
            names = []
        elif len(names) != output.shape[-1]:
            unnamed.append(task)
            names = [f"class {i}" for i in range(output.shape[-1])]
        found[task] = kind, names
    return found, unnamed


def answer(
    asked: Mapping[str, tuple[str, list[str]]], predictions: Mapping[str, np.ndarray], row: int, top: int
) -> dict[str, Any]:
    """Return what is said of one image: `{task: {"classes": [...]} or {"value": number}}`.

    Of several labels those above 0.5, likeliest first; of classes the `top` likeliest.
    """
    answers: dict[str, Any] = {}
    for task, (kind, names) in asked.items():
        values = predictions[task][row]
        if kind == "regression":
            answers[task] = {"value": float(values[0]) if len(values) == 1 else values.tolist()}
            continue
        best = values.argsort()[::-1]
        best = best[values[best] > 0.5] if kind == "multi-label" else best[:top]
        classes = [{"class": names[i], "probability": float(values[i])} for i in best]
        answers[task] = {"classes": classes}
    return answers


def in_words(answers: Mapping[str, Any]) -> str:
    """Write the answers about one image in a line.

    >>> in_words({"kind": {"classes": [{"class": "cat", "probability": 0.9}]}, "age": {"value": 3.0}})
    'kind: cat 90.0%; age: 3'
    """
    said = []
    for task, given in answers.items():
        if "classes" in given:
            text = ", ".join(f"{each['class']} {each['probability']:.1%}" for each in given["classes"])
        else:
            text = ", ".join(f"{value:.4g}" for value in np.ravel(given["value"]))
        said.append(f"{task}: {text or 'none'}")
    return "; ".join(said)


def _activation(network: Any, task: str) -> str:
    from tlkit.techniques.multi_task.writing import layer_name

    try:
        return network.get_layer("head").get_layer(layer_name(task)).activation.__name__
    except (ValueError, AttributeError):  # a network of somebody else's, or a head of several layers
        return ""
