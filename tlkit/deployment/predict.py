"""Predict the classes of new images with a trained model."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tlkit._internal.cache import from_json
from tlkit._internal.outputs import settle
from tlkit.data.decode import decode, ordered_map
from tlkit.data.layout import images_below
from tlkit.deployment.networks import (
    check_answers,
    class_answer,
    kind_of,
    names_or_none,
    open_network,
    output_kinds,
    task_answer,
)
from tlkit.deployment.saved_run import check_model, unreadable
from tlkit.errors import DataError, TlkitWarning

WINDOW = 256  # images in memory at a time


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
        `tlkit.deployment.networks.task_answer`. Files that cannot be read are left out with a warning.

    Raises:
        TlkitError: no model there, not one of RGB images, or its answers are no probabilities.
        DataError: nothing to predict: no such file, no image in a folder, or none readable.
    """
    network, run, answer = _open(Path(model), top)
    size = network.inputs[0].shape[1]
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
    settle(path.parent)
    beside = path.parent / "metrics.json"
    known = _known(beside)
    check_model(path, known)
    network = open_network(path)
    if isinstance(network.output, dict):
        tasks = known.get("tasks")
        kinds, unnamed = output_kinds(network, tasks if isinstance(tasks, dict) else {})
        if unnamed:
            _warn(f"{beside} has no class names that fit {', '.join(unnamed)}")

        def all_tasks(images: np.ndarray) -> dict[str, np.ndarray]:
            found = network.predict(images, verbose=0)
            for task, (kind, _) in kinds.items():
                check_answers(found[task], f"{path}, task {task!r},", kind)
            return found

        return network, all_tasks, lambda found, row: {"tasks": task_answer(kinds, found, row, top)}
    names = names_or_none(known.get("class_names")) or []
    if len(names) != network.output_shape[-1]:
        _warn(f"{beside} has no class names that fit")
        names = [f"class {i}" for i in range(network.output_shape[-1])]

    from tlkit.techniques.views import predicted

    kind, mirrored = kind_of(network), bool(known.get("mirrored_views"))

    def one_task(images: np.ndarray) -> np.ndarray:
        found = predicted(network, images, mirrored=mirrored)
        check_answers(found, str(path), kind)
        return found

    return network, one_task, lambda found, row: {"classes": class_answer(names, found[row], top)}


def _known(path: Path) -> dict[str, Any]:
    """Return what a `metrics.json` says; nothing if there is none.

    Raises:
        TlkitError: it is damaged, so the class names in it may be wrong.
    """
    try:
        known = from_json(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from error
    return known if isinstance(known, dict) else {}


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
