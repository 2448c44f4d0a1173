"""What every experiment returns: a result that gives its numbers and composes its report."""

import importlib
import platform
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

import tlkit
from tlkit._internal.cache import CHECKSUMS, METRICS, checksums_of, file_checksum, to_json
from tlkit._internal.outputs import claimed, together
from tlkit.errors import OutputError, TlkitWarning
from tlkit.reports.document import Document
from tlkit.reports.html import render

REPORT = "report.html"
MADE_FROM_RUN = ("MODEL_CARD.md", "exported")  # by `tlkit card` and `tlkit export`


class Result(ABC):
    """The result of an experiment.

    Attributes:
        seconds: how long its parts took, by name; `total` is the whole.
    """

    seconds: dict[str, float]

    @abstractmethod
    def metrics(self) -> dict[str, Any]:
        """Return every number of the result, by name; what does not exist is None."""

    @abstractmethod
    def report(self, folder: Path = Path()) -> Document:
        """Return the report.

        Args:
            folder: where `write_report` puts the files, for the commands that the report suggests.
        """

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return what else is written, such as the model: file names, and functions that write the files."""
        return {}


def write_report(
    result: Result,
    out: str | Path,
    *,
    command: str = "",
    overwrite: bool = False,
    resume: bool = False,
) -> Path:
    """Write `report.html`, `metrics.json` and the files of a result, such as `model.keras`, into a folder.

    The folder changes as a whole or not at all: a full disk, a kill or Ctrl-C leaves the files of an earlier
    run as they were. `metrics.json` contains the checksums of the other files and of itself. Files of an
    earlier run that this one does not replace are removed, unless they have changed since; others stay.

    Args:
        result: what an experiment returned, such as `tlkit.train`.
        out: the folder; it is made if it is missing.
        command: what to type to repeat the experiment.
        overwrite: replace the files of an earlier run.
        resume: the folder may hold the state of an interrupted training.

    Returns:
        The folder.

    Warns:
        TlkitWarning: the folder has a card or exported files of an earlier run.

    Raises:
        OutputError: the folder is a file, is not empty, cannot be written to, or is in use by another
            process; or the disk is full. Or the report could not be made; the other files are then written.
    """
    out = Path(out)
    with claimed(out, overwrite, resume), together(out, replaces=checksums_of(out)) as folder:
        failure = _write_files(result, folder, out, command)
    if stale := [name for name in MADE_FROM_RUN if (out / name).exists()]:
        warnings.warn(
            f"{' and '.join(stale)} in {out} belong to an earlier run. Make them again (tlkit card, tlkit "
            "export), or delete them.",
            TlkitWarning,
            stacklevel=2,
        )
    if failure is not None:
        raise OutputError(
            f"The report could not be made ({type(failure).__name__}: {failure}). All other files were "
            f"written to {out}, and tlkit predict works. Please report this fault."
        ) from failure
    return out


def _write_files(result: Result, folder: Path, out: Path, command: str) -> Exception | None:
    """Write the files of a result into a folder; return the error if its numbers or report cannot be made.

    The model comes first, so that it is there whatever else fails.
    """
    about, failure = software(), None
    numbers: dict[str, Any] = {"command": command, **about, "seconds": result.seconds}
    files = dict(result.files())
    for name, writer in files.items():
        writer(folder / name)
    try:
        numbers = numbers | result.metrics() | {"seconds": result.seconds}
        document = result.report(out)
        numbers["answer"] = document.answer
        names = [*files, METRICS]
        shown = {"versions": about["versions"], "seconds": result.seconds, "files": names}
        _write_text(folder / REPORT, render(document, command=command, **shown))
    except Exception as error:  # a figure, a template or a class name may fail in any way
        failure = error
    numbers[CHECKSUMS] = {path.name: file_checksum(path) for path in sorted(folder.iterdir())}
    _write_text(folder / METRICS, to_json(plain(numbers)))
    return failure


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, "utf-8", errors="backslashreplace")  # a file name may have bytes that are not UTF-8


def software() -> dict[str, Any]:
    """Return the versions that made a result, and the backend of Keras."""
    backend = keras.backend.backend()
    return {
        "version": tlkit.__version__,
        "versions": {
            "python": platform.python_version(),
            "tlkit": tlkit.__version__,
            "keras": keras.__version__,
            backend: importlib.import_module(backend).__version__,
            "numpy": np.__version__,
        },
        "backend": backend,
    }


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: tables as lists of rows, and None for NaN and infinity.

    >>> plain({"a": np.float32(0.5), "b": [np.nan, np.int64(3)]})
    {'a': 0.5, 'b': [None, 3]}
    """
    if isinstance(value, pd.DataFrame):
        return plain(value.to_dict("records"))
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
