"""Export a model for other programs: write it, run it on images, and keep it if it agrees with Keras."""

import contextlib
import io
import json
import tempfile
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal.outputs import prepare, written_whole
from tlkit.backbones.engines import openvino_module
from tlkit.data import Dataset, load
from tlkit.data.decode import decode
from tlkit.data.layout import images_below
from tlkit.deployment.formats import FORMATS, Format
from tlkit.deployment.saved_run import SavedRun, open_run
from tlkit.errors import DataError, TlkitError
from tlkit.models import without_augmentation

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
    """Write the model of a run in other formats, with `labels.txt` and `export.json`.

    Augmentation is left out, as it acts in training only. Each file is run on images, and its probabilities
    are compared with those of Keras. A format is kept if no probability differs by more than 1e-3, even if
    other formats fail.

    Args:
        run: the folder that `tlkit train` wrote, or what `tlkit.open_run` returned.
        out: the folder; by default `exported` in that of the run.
        formats: names of `FORMATS`.
        images: RGB `(n, size, size, 3)`, values 0 to 255, to compare on; by default of the run's data.
        overwrite: replace earlier files.

    Returns:
        What `export.json` holds: the input, the class names, the files that were kept (each with its
        format, bytes, and largest difference), and the formats that failed (each with the reason).

    Raises:
        UnknownNameError: a format that is none of `FORMATS`.
        DataError: the run's images are not here.
        TlkitError: every format failed; nothing is kept.
        OutputError: see `tlkit._internal.outputs.prepare`.
    """
    run = run if isinstance(run, SavedRun) else open_run(run)
    chosen = [FORMATS.find(name) for name in dict.fromkeys(formats)]
    if not chosen:
        raise TlkitError(f"No format was given; known are {', '.join(FORMATS.names)}.")
    out = run.folder / "exported" if out is None else Path(out)
    prepare(out, overwrite)
    size = int(run.model.input_shape[1])
    pixels = np.asarray(images_of_run(run, size) if images is None else images, "float32")
    expected = run.model.predict(pixels, verbose=0)
    description: dict[str, Any] = {
        "input": {"shape": [None, size, size, 3], "dtype": "float32", "range": [0, 255], "channels": "RGB"},
        "output": "a probability for each class, in the order of class_names",
        "class_names": run.class_names,
        "files": [],
        "failed": [],
    }
    model = without_augmentation(run.model)
    with written_whole(out), tempfile.TemporaryDirectory(dir=out, prefix=".writing-") as writing:
        folder = Path(writing)
        for each in chosen:
            try:
                description["files"].append(_written(model, each, folder / each.name, pixels, expected))
            except TlkitError as error:
                description["failed"].append({"format": each.name, "reason": str(error)})
        if not description["files"]:
            raise _nothing_exported(description["failed"])
        labels, file = folder / "labels.txt", folder / "export.json"
        labels.write_text("".join(name.replace("\n", " ") + "\n" for name in run.class_names), "utf-8")
        file.write_text(json.dumps(description, indent=2, ensure_ascii=False), "utf-8")
        kept = [file for each in description["files"] for file in (folder / each["format"]).iterdir()]
        for each_file in (*kept, labels, file):
            each_file.replace(out / each_file.name)
    return description


def images_of_run(run: SavedRun, size: int) -> np.ndarray:
    """Return images of the run's test split, or of another split where there is none.

    Raises:
        DataError: the data are not where they were; images of other files can be given.
    """
    name = run.numbers["data"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the training has said it
            data: Dataset = load(name, image_size=size, seed=run.numbers["seed"])
    except TlkitError as error:
        raise DataError(
            f"The images of this run are not here: {error} Name some to compare on: --images FOLDER."
        ) from error
    return np.asarray((data.test or data.train).images[:COMPARED])


def read_images(paths: Sequence[Path], size: int) -> np.ndarray:
    """Read the first image files and those of folders, uint8 `(n, size, size, 3)`.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    files = [file for path in paths for file in (images_below(path) if path.is_dir() else [path])]
    if not files:
        raise DataError("There is no image to compare on. Name image files, or a folder that holds some.")
    return np.stack([decode(file, size) for file in files[:COMPARED]])


def _written(
    model: keras.Model, chosen: Format, folder: Path, images: np.ndarray, expected: np.ndarray
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
    difference = float(np.abs(given - expected).max()) if given.shape == expected.shape else np.inf
    if not difference <= LARGEST_DIFFERENCE:
        raise TlkitError(
            f"its probabilities differ from those of Keras by up to {difference:.2g}; at most "
            f"{LARGEST_DIFFERENCE:g} is allowed"
        )
    return {
        "file": chosen.file,
        "format": chosen.name,
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
        "images": len(images),
        "difference": difference,
        "same_answers": bool((given.argmax(axis=1) == expected.argmax(axis=1)).all()),
    }


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
