"""What every experiment returns: a result that gives its numbers and composes its report."""

import importlib
import json
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

import tlkit
from tlkit._internal.cache import atomic
from tlkit._internal.outputs import prepare, written_whole
from tlkit.reports.document import Document
from tlkit.reports.html import render

METRICS, REPORT = "metrics.json", "report.html"


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

    Each file is written beside its place first, and all are moved there together at the end. A full disk or
    an interruption leaves the files of an earlier run as they were.

    Args:
        result: what an experiment returned, such as `tlkit.train`.
        out: the folder; it is made if it is missing.
        command: what to type to repeat the experiment.
        overwrite: replace the files of an earlier run.
        resume: the folder may hold the state of an interrupted training.

    Returns:
        The folder.

    Raises:
        OutputError: the folder is a file, is not empty, or cannot be written to; or the disk is full.
    """
    out = Path(out)
    prepare(out, overwrite, resume)
    about, document, files = software(), result.report(out), dict(result.files())
    numbers = {"command": command, **about, "answer": document.answer, **result.metrics()}
    numbers["seconds"] = result.seconds
    html = render(
        document, command=command, versions=about["versions"], seconds=result.seconds, files=[*files, METRICS]
    )
    text = json.dumps(plain(numbers), indent=2, ensure_ascii=False, allow_nan=False)
    files[METRICS] = lambda path: path.write_text(text, "utf-8")
    files[REPORT] = lambda path: path.write_text(html, "utf-8")  # last: when it appears, the rest is there
    with written_whole(out):
        _write_together(out, files)
    return out


def _write_together(out: Path, files: Mapping[str, Callable[[Path], object]]) -> None:
    """Write all files to temporary places, and move them into `out` in the order of the mapping."""
    (name, writer), *others = list(files.items())[::-1]
    with atomic(out / name) as path:
        writer(path)
        if others:
            _write_together(out, dict(others[::-1]))


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
