"""Naming new images with a trained model."""

import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.data.decode import decode
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
        likeliest first. Files that cannot be read are left out with a warning.

    Raises:
        TlkitError: no model there, or not one of images.
        DataError: nothing to predict: no such file, no image in a folder, or none readable.
    """
    network, names = _open(Path(model))
    size = network.input_shape[1]
    answers = []
    paths = list(_files(images))
    for start in range(0, len(paths), WINDOW):
        readable, pixels = [], []
        for path in paths[start : start + WINDOW]:
            try:
                pixels.append(decode(path, size))
                readable.append(path)
            except DataError as error:
                warnings.warn(f"left out, unreadable: {error}", TlkitWarning, stacklevel=2)
        if readable:
            probabilities = network.predict(np.stack(pixels), verbose=0)
            for path, row in zip(readable, probabilities, strict=True):
                best = row.argsort()[::-1][:top]
                classes = [{"class": names[i], "probability": float(row[i])} for i in best]
                answers.append({"image": str(path), "classes": classes})
    if not answers:
        raise DataError(f"None of the {len(paths)} images could be read. Check them in an image viewer.")
    return answers


def _open(model: Path) -> tuple[Any, list[str]]:
    path = model / "model.keras" if model.is_dir() else model
    if not path.is_file():
        raise TlkitError(f"There is no model at {path}. Train one: tlkit train DATA --out {path.parent}")
    try:
        network = import_keras().saving.load_model(path, compile=False)
        classes = network.output_shape[-1]
        if len(network.input_shape) != 4 or len(network.output_shape) != 2:
            raise ValueError(f"it maps {network.input_shape} to {network.output_shape}")
    except Exception as error:  # Keras raises many types on a foreign or damaged file
        reason = str(error).splitlines()[0]
        raise TlkitError(f"{path} is not an image classifier saved by Keras: {reason}") from error
    beside = path.parent / "metrics.json"
    try:
        names = json.loads(beside.read_text(encoding="utf-8"))["class_names"]
    except (OSError, ValueError, KeyError):
        names = []
    if len(names) != classes:
        warnings.warn(
            f"No class names fit in {beside}; classes are shown by number.", TlkitWarning, stacklevel=3
        )
        names = [f"class {i}" for i in range(classes)]
    return network, names


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
