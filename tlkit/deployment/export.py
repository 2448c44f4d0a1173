"""Export a model for other programs: write it, run it on images, and keep it if it agrees with Keras."""

import contextlib
import io
import json
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal.outputs import claimed, together
from tlkit.backbones.engines import openvino_module
from tlkit.data import Dataset, is_folder, load
from tlkit.data.decode import decode
from tlkit.data.layout import images_below
from tlkit.deployment.formats import FORMATS, Format
from tlkit.deployment.saved_run import SavedRun, open_run
from tlkit.errors import DataError, TlkitError
from tlkit.models import without_augmentation
from tlkit.techniques.multi_task.writing import layer_name

LARGEST_DIFFERENCE = 1e-3  # of a probability
COMPARED = 64  # images


def export(
    run: SavedRun | str | Path,
    out: Path | None = None,
    *,
    formats: Sequence[str] = ("litert", "openvino"),
    images: np.ndarray | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the model of a run in other formats, with its class names and `export.json`.

    Augmentation is left out, as it acts in training only. Each file is run on images, and its probabilities
    are compared with those of Keras. A format is kept if no probability differs by more than 1e-3, even if
    other formats fail.

    Args:
        run: the folder that `tlkit train` or `tlkit train-tasks` wrote, or what `tlkit.open_run` returned.
        out: the folder; by default `exported` in that of the run.
        formats: names of `FORMATS`.
        images: RGB `(n, size, size, 3)`, values 0 to 255, to compare on; by default of the run's data.
        overwrite: replace earlier files.

    Returns:
        What `export.json` holds: the input, the class names, the files that were kept (each with its
        format, bytes, largest difference and, for several tasks, the name and the difference of the output of
        each task), and the formats that failed (each with the reason).

    Raises:
        UnknownNameError: a format that is none of `FORMATS`.
        DataError: the run's images are not here.
        TlkitError: every format failed; nothing is kept.
        OutputError: see `tlkit._internal.outputs.claimed`.
    """
    run = run if isinstance(run, SavedRun) else open_run(run)
    chosen = [FORMATS.find(name) for name in dict.fromkeys(formats)]
    if not chosen:
        raise TlkitError(f"No format was given; known are {', '.join(FORMATS.names)}.")
    out = run.folder / "exported" if out is None else Path(out)
    with claimed(out, overwrite):
        return _export_into(out, run, chosen, images)


def _export_into(
    out: Path, run: SavedRun, chosen: Sequence[Format], images: np.ndarray | None
) -> dict[str, Any]:
    """Write the files into a reserved folder; see `export`."""
    size = run.image_size
    pixels = np.asarray(images_of_run(run, size) if images is None else images, "float32")
    expected = run.model.predict(pixels, verbose=0)
    description: dict[str, Any] = {
        "input": {"shape": [None, size, size, 3], "dtype": "float32", "range": [0, 255], "channels": "RGB"},
        **_outputs(run),
        "files": [],
        "failed": [],
    }
    model = without_augmentation(run.model)
    with together(out) as folder:
        parts = folder.parent / "parts"
        parts.mkdir()
        for each in chosen:
            try:
                description["files"].append(_written(model, each, parts / each.name, pixels, expected))
            except TlkitError as error:
                description["failed"].append({"format": each.name, "reason": str(error)})
        if not description["files"]:
            raise _nothing_exported(description["failed"])
        for exported in description["files"]:
            for file in (parts / exported["format"]).iterdir():
                file.replace(folder / file.name)
        _write_labels(run, folder)
        text = json.dumps(description, indent=2, ensure_ascii=False)
        (folder / "export.json").write_text(text, "utf-8", errors="backslashreplace")
    return description


def _outputs(run: SavedRun) -> dict[str, Any]:
    """Return what `export.json` says about the outputs: the classes, or the kind and classes of each task."""
    if not run.tasks:
        return {
            "output": "a probability for each class, in the order of class_names",
            "class_names": run.class_names,
        }
    return {
        "output": "one for each task: a probability for each class, in the order of classes, or a number",
        "tasks": {
            task: {part: about[part] for part in ("kind", "classes")} for task, about in run.tasks.items()
        },
    }


def _write_labels(run: SavedRun, folder: Path) -> None:
    """Write the class names, one a line: `labels.txt`, or for several tasks `labels-TASK.txt`."""
    classes = {f"labels-{layer_name(task)}.txt": about["classes"] for task, about in run.tasks.items()}
    for file, names in (classes or {"labels.txt": run.class_names}).items():
        if names:
            lines = "".join(name.replace("\n", " ") + "\n" for name in names)
            (folder / file).write_text(lines, "utf-8", errors="backslashreplace")


def images_of_run(run: SavedRun, size: int) -> np.ndarray:
    """Return images of the run's test split, or of another split where there is none.

    Raises:
        DataError: the data are not where they were; images of other files can be given.
    """
    name = run.numbers.get("data") or ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the training has said it
            if is_folder(name) and run.tasks:
                return _readable(images_below(Path(name)), size)
            try:
                data: Dataset = load(name, image_size=size, seed=run.numbers.get("seed", 0))
            except TlkitError:
                if not is_folder(name):
                    raise
                return _readable(images_below(Path(name)), size)  # its labels came from a table
    except TlkitError as error:
        raise DataError(
            f"The images of this run are not here: {error} Name some to compare on: --images FOLDER."
        ) from error
    return np.asarray((data.test or data.train).images[:COMPARED])


def _readable(files: Sequence[Path], size: int) -> np.ndarray:
    """Read the first image files, without those that are damaged."""
    found: list[np.ndarray] = []
    for file in files:
        with contextlib.suppress(DataError):
            found.append(decode(file, size))
        if len(found) == COMPARED:
            break
    if not found:
        raise DataError("None of the files in the folder can be read as an image.")
    return np.stack(found)


def read_images(paths: Sequence[Path], size: int) -> np.ndarray:
    """Read the first image files and those of folders, uint8 `(n, size, size, 3)`.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    if missing := [path for path in paths if not path.exists()]:
        raise DataError(f"There is no file or folder at {missing[0]}. Check the spelling of --images.")
    files = [file for path in paths for file in (images_below(path) if path.is_dir() else [path])]
    if not files:
        raise DataError("There is no image to compare on. Name image files, or a folder that holds some.")
    return np.stack([decode(file, size) for file in files[:COMPARED]])


def _written(
    model: keras.Model, chosen: Format, folder: Path, images: np.ndarray, expected: Any
) -> dict[str, Any]:
    """Write one format into a new folder, run it, and return how it compares with Keras.

    Raises:
        TlkitError: it cannot be written or run, or it differs; the message is the reason alone.
    """
    folder.mkdir()
    path = folder / chosen.file
    try:
        _export(model, path, chosen.name)
        given = chosen.run(path, images)
    except Exception as error:  # exporters raise nearly every type
        reason = textwrap.shorten(str(error), 300, placeholder=" …").rstrip(".")
        raise TlkitError(reason or type(error).__name__) from error
    outputs = {task: _compared(task, values, given) for task, values in _by_task(expected).items()}
    if len({each["name"] for each in outputs.values()}) < len(outputs):
        raise TlkitError("two tasks answer alike on these images, so their outputs cannot be told apart")
    difference = max(each["difference"] for each in outputs.values())
    return {
        "file": chosen.file,
        "format": chosen.name,
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
        "images": len(images),
        "difference": difference,
        "same_answers": all(each["same_answers"] for each in outputs.values()),
        **({"outputs": outputs} if isinstance(expected, dict) else {}),
    }


def _by_task(outputs: np.ndarray | dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return outputs if isinstance(outputs, dict) else {"": outputs}


def _compared(task: str, expected: np.ndarray, given: np.ndarray | dict[str, np.ndarray]) -> dict[str, Any]:
    """Find the output of a file that belongs to a task, and compare it with that of Keras.

    Formats do not keep the names of the tasks, so an output is found by its values.

    Returns:
        Its name in the file, the largest difference, and whether all answers are the same.

    Raises:
        TlkitError: no output agrees with that of Keras; the message is the reason alone.
    """
    scale = max(1.0, float(np.abs(expected).max()))  # numbers are compared relative to their size
    differences = {
        name: float(np.abs(values - expected).max()) / scale if values.shape == expected.shape else np.inf
        for name, values in _by_task(given).items()
    }
    name = min(differences, key=lambda each: (not differences[each] <= np.inf, differences[each]))
    if not differences[name] <= LARGEST_DIFFERENCE:
        of, what = (f" of {task!r}", "outputs") if task else ("", "probabilities")
        raise TlkitError(
            f"its {what}{of} differ from those of Keras by up to {differences[name]:.2g}; at most "
            f"{LARGEST_DIFFERENCE:g} is allowed"
        )
    same = bool((_by_task(given)[name].argmax(axis=1) == expected.argmax(axis=1)).all())
    return {"name": name, "difference": differences[name], "same_answers": same}


def _nothing_exported(failed: list[dict[str, str]]) -> TlkitError:
    reasons = " ".join(f"{each['format']}: {each['reason']}." for each in failed)
    backend = keras.backend.backend()
    other = "" if backend == "tensorflow" else f", or export with TensorFlow (Keras runs on {backend} here)"
    return TlkitError(
        f"The model could not be exported, and no file was kept. {reasons} Choose another --format or train "
        f"another --backbone{other}."
    )


def _export(model: keras.Model, path: Path, kind: str) -> None:
    openvino_module()  # as it has to be set up before Keras exports with it
    with contextlib.redirect_stdout(io.StringIO()):  # a line for each weight
        model.export(str(path), format=kind, verbose=False)
