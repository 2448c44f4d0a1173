"""Naming new images with a trained model."""

import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tlkit import multi_task_prediction
from tlkit.data.decode import decode, ordered_map
from tlkit.data.layout import images_below
from tlkit.errors import DataError, TlkitError, TlkitWarning
from tlkit.quiet import import_keras

WINDOW = 256  # images in memory at a time


def predict(model: Path, images: Iterable[Path], *, top: int = 1) -> list[dict[str, Any]]:
    """Return the likeliest classes of images on disk.

    Args:
        model: a `model.keras`, or the folder that holds it; its class names are in the `metrics.json`
            beside it.
        images: image files, and folders that are searched for image files.
        top: number of classes for each image.

    Returns:
        For each image `{"image": path, "classes": [{"class": name, "probability": 0 to 1}, ...]}`,
        likeliest first; of a network with several tasks `{"image": path, "tasks": {...}}`, see
        `tlkit.multi_task_prediction.answer`. Files that cannot be read are left out with a warning.

    Raises:
        TlkitError: no model there, or not one of images.
        DataError: nothing to predict: no such file, no image in a folder, or none readable.
    """
    network, answer = _open(Path(model), top)
    size = network.input_shape[1]
    answers = []
    paths = list(_files(images))
    for start in range(0, len(paths), WINDOW):
        window = paths[start : start + WINDOW]
        readable, pixels = [], []
        for path, outcome in zip(window, ordered_map(partial(_read, size=size), window), strict=True):
            if isinstance(outcome, DataError):
                warnings.warn(f"left out, unreadable: {outcome}", TlkitWarning, stacklevel=2)
            else:
                readable.append(path)
                pixels.append(outcome)
        if pixels:
            predictions = network.predict(np.stack(pixels), verbose=0)
            answers += [{"image": str(path), **answer(predictions, row)} for row, path in enumerate(readable)]
    if not answers:
        raise DataError(f"None of the {len(paths)} images could be read. Check them in an image viewer.")
    return answers


def _read(path: Path, size: int) -> np.ndarray | DataError:
    try:
        return decode(path, size)
    except DataError as error:
        return error


def _open(model: Path, top: int) -> tuple[Any, Callable[[Any, int], dict[str, Any]]]:
    """Return the network, and what makes an answer of its predictions and the number of an image."""
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
        told = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = {}
    if many:
        asked, unnamed = multi_task_prediction.questions(network, told.get("tasks", {}))
        if unnamed:
            _warn(f"No class names of {', '.join(unnamed)} fit in {beside}")
        return network, lambda found, row: {"tasks": multi_task_prediction.answer(asked, found, row, top)}
    names = told.get("class_names", [])
    if len(names) != network.output_shape[-1]:
        _warn(f"No class names fit in {beside}")
        names = [f"class {i}" for i in range(network.output_shape[-1])]

    def likeliest(found: np.ndarray, row: int) -> dict[str, Any]:
        best = found[row].argsort()[::-1][:top]
        return {"classes": [{"class": names[i], "probability": float(found[row][i])} for i in best]}

    return network, likeliest


def _warn(message: str) -> None:
    warnings.warn(f"{message}; classes are shown by number.", TlkitWarning, stacklevel=4)


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
