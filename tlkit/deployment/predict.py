"""Predict the classes of new images with a trained model."""

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tlkit._internal.keras_import import import_keras
from tlkit.data.decode import decode, ordered_map
from tlkit.data.layout import images_below
from tlkit.errors import DataError, TlkitError, TlkitWarning

WINDOW = 256  # images in memory at a time
KINDS = {"softmax": "classification", "sigmoid": "multi-label"}


def predict(
    model: Path, images: Iterable[Path], *, top: int = 1, progress: bool = False
) -> list[dict[str, Any]]:
    """Return the most likely classes of images on disk.

    Args:
        model: a `model.keras`, or the folder that holds it; its class names are in the `metrics.json`
            beside it.
        images: image files, and folders that are searched for image files.
        top: number of classes for each image.
        progress: show a progress bar.

    Returns:
        For each image `{"image": path, "classes": [{"class": name, "probability": 0 to 1}, ...]}`,
        most likely first; for a network with several tasks `{"image": path, "tasks": {...}}`, see
        `task_answer`. Files that cannot be read are left out with a warning.

    Raises:
        TlkitError: no model there, or not one of images.
        DataError: nothing to predict: no such file, no image in a folder, or none readable.
    """
    network, run, answer = _open(Path(model), top)
    size = network.input_shape[1]
    answers = []
    paths = list(_files(images))
    bar = tqdm(total=len(paths), desc="predicting", unit="image", disable=not progress)
    for start in range(0, len(paths), WINDOW):
        window = paths[start : start + WINDOW]
        readable, pixels = [], []
        for path, outcome in zip(window, ordered_map(partial(_read, size=size), window), strict=True):
            if isinstance(outcome, DataError):
                warnings.warn(f"An unreadable file was left out: {outcome}", TlkitWarning, stacklevel=2)
            else:
                readable.append(path)
                pixels.append(outcome)
        if pixels:
            predictions = run(np.stack(pixels))
            answers += [{"image": str(path), **answer(predictions, row)} for row, path in enumerate(readable)]
        bar.update(len(window))
    bar.close()
    if not answers:
        raise DataError(f"None of the {len(paths)} images could be read. Check them in an image viewer.")
    return answers


def _read(path: Path, size: int) -> np.ndarray | DataError:
    try:
        return decode(path, size)
    except DataError as error:
        return error


def _open(
    model: Path, top: int
) -> tuple[Any, Callable[[np.ndarray], Any], Callable[[Any, int], dict[str, Any]]]:
    """Return the network, its predictions as a function of images, and an answer as a function of a row."""
    path = model / "model.keras" if model.is_dir() else model
    if not path.is_file():
        raise TlkitError(f"There is no model at {path}. Train one: tlkit train DATA --out {path.parent}")
    try:
        network = import_keras().saving.load_model(path, compile=False)
        many = isinstance(network.output, dict)
        outputs = list(network.output.values()) if many else [network.output]
        if len(network.input_shape) != 4 or any(len(output.shape) != 2 for output in outputs):
            raise ValueError(f"it maps {network.input_shape} to {network.output_shape}")
    except Exception as error:  # Keras raises many types on a foreign or damaged file
        reason = str(error).splitlines()[0]
        raise TlkitError(f"{path} is not an image classifier saved by Keras: {reason}") from error
    beside = path.parent / "metrics.json"
    try:
        known = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if many:
        kinds, unnamed = output_kinds(network, known.get("tasks", {}))
        if unnamed:
            _warn(f"{beside} has no class names that fit {', '.join(unnamed)}")
        run = partial(network.predict, verbose=0)
        return network, run, lambda found, row: {"tasks": task_answer(kinds, found, row, top)}
    names = known.get("class_names", [])
    if len(names) != network.output_shape[-1]:
        _warn(f"{beside} has no class names that fit")
        names = [f"class {i}" for i in range(network.output_shape[-1])]

    def most_likely(found: np.ndarray, row: int) -> dict[str, Any]:
        best = found[row].argsort()[::-1][:top]
        return {"classes": [{"class": names[i], "probability": float(found[row][i])} for i in best]}

    from tlkit.techniques.views import predicted

    return network, partial(predicted, network, mirrored=bool(known.get("mirrored_views"))), most_likely


def _warn(message: str) -> None:
    warnings.warn(f"{message}; classes are shown by their numbers.", TlkitWarning, stacklevel=4)


def _files(images: Iterable[Path]) -> Iterator[Path]:
    for path in map(Path, images):
        if path.is_dir():
            found = images_below(path)
            if not found:
                raise DataError(
                    f"There is no image in {path}. Give image files, or a folder that holds some."
                )
            yield from found
        elif path.exists():
            yield path
        else:
            raise DataError(f"There is no file at {path}. Give image files, or a folder that holds some.")


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
        about = known.get(task) or {}
        kind = about.get("kind") or KINDS.get(_activation(network, task), "regression")
        names = list(about.get("classes") or ())
        if kind == "regression":
            names = []
        elif len(names) != output.shape[-1]:
            unnamed.append(task)
            names = [f"class {i}" for i in range(output.shape[-1])]
        found[task] = kind, names
    return found, unnamed


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
            continue
        best = values.argsort()[::-1]
        best = best[values[best] > 0.5] if kind == "multi-label" else best[:top]
        classes = [{"class": names[i], "probability": float(values[i])} for i in best]
        answers[task] = {"classes": classes}
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


def _activation(network: Any, task: str) -> str:
    from tlkit.techniques.multi_task.writing import layer_name

    try:
        return network.get_layer("head").get_layer(layer_name(task)).activation.__name__
    except (ValueError, AttributeError):  # another network, or a head of several layers
        return ""
