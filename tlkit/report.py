"""A run on paper: the model, its numbers, and one HTML page that needs nothing else to be read."""

import importlib
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import precision_recall_fscore_support

import tlkit
from tlkit import multi_task_page, page, pretraining_page
from tlkit.adaptation import Adaptation
from tlkit.cache import atomic
from tlkit.intervals import wilson
from tlkit.multi_task_run import MultiTaskRun
from tlkit.outputs import prepare, written_whole
from tlkit.pretraining import Pretraining
from tlkit.run import Run

SPLITS = ("train", "validation", "test")


def write(
    run: Run | MultiTaskRun | Pretraining,
    out: Path,
    *,
    command: str,
    others: Sequence[Run] = (),
    overwrite: bool = False,
) -> Path:
    """Write `model.keras`, `metrics.json` and `report.html` into a folder; `backbone.keras` of a pretraining.

    All three are written beside their places first and moved there together at the end: a full disk
    or an interruption leaves the files of an earlier run as they were.

    Args:
        run: a trained run with its answers on all splits, or a pretraining.
        out: the folder; see `prepare`.
        command: what to type to get the same again.
        others: runs on the same data to compare with; for a run of one task.
        overwrite: replace the files of an earlier run.

    Returns:
        The folder.

    Raises:
        OutputError: see `prepare`; or the disk is full.
    """
    prepare(out, overwrite)
    out, name = Path(out), "model.keras"
    numbers = metrics(run, command, others)
    if isinstance(run, MultiTaskRun):
        html = multi_task_page.render(run, numbers)
    elif isinstance(run, Pretraining):
        name = "backbone.keras"
        html = pretraining_page.render(run, numbers, out / name)
    else:
        html = page.render(run, numbers)
    # left in reverse order: the report appears last, when what it tells of is there
    with (
        written_whole(out),
        atomic(out / "report.html") as report,
        atomic(out / "metrics.json") as figures,
        atomic(out / name) as model,
    ):
        run.model.save(model)
        figures.write_text(json.dumps(numbers, indent=2, ensure_ascii=False, allow_nan=False), "utf-8")
        report.write_text(html, "utf-8")
    return out


def metrics(
    run: Run | MultiTaskRun | Pretraining, command: str, others: Sequence[Run] = ()
) -> dict[str, Any]:
    """Return the numbers of a run as plain Python values; what does not exist is None.

    `accuracy`, precision, recall and F1 are shares from 0 to 1. `interval` is the 95 % interval of the
    accuracy that is reported, that of the test split where there is one; see `wilson`. Of several tasks
    each has its own, see `tlkit.multi_task_page.task_numbers`; of a pretraining see
    `tlkit.pretraining_page.pretraining_numbers`.
    """
    if isinstance(run, Pretraining):
        return _about(run, command) | pretraining_page.pretraining_numbers(run)
    if isinstance(run, MultiTaskRun):
        return _about(run, command) | multi_task_page.task_numbers(run)
    numbers = {
        **_about(run, command),
        **_summary(run),
        "classes": len(run.data.class_names),
        "class_names": list(run.data.class_names),
        "per_class": _per_class(run),
        "runs": [_summary(other) for other in others if other is not run],
    }
    if isinstance(run, Adaptation):
        numbers |= {
            "method": run.method,
            "target": run.target,
            "select": run.select,
            "accuracy": run.accuracies,
            "accuracy_by_split": numbers["accuracy"],
            "target_accuracy": run.target_accuracy,
            "a_distance": run.a_distance,
        }
    return numbers


def _about(run: Run | MultiTaskRun | Pretraining, command: str) -> dict[str, Any]:
    """Return what is said of any run: what was typed, on which data, by which versions, how long it took."""
    data = run.data
    return {
        "command": command,
        "technique": run.technique,
        "backbone": run.backbone,
        "seed": run.seed,
        "data": data.card.name,
        "image_size": data.image_size,
        "splits": {name: len(data.splits[name]) if name in data.splits else None for name in SPLITS},
        "skipped": {"count": len(data.skipped), "files": list(data.skipped)},
        "duplicates": {"count": len(data.duplicates), "pairs": [list(pair) for pair in data.duplicates]},
        **software(),
        "seconds": {part: run.seconds.get(part) for part in ("features", "training", "total")},
        "interrupted": run.interrupted,
    }


def software() -> dict[str, Any]:
    """Return the versions that made a result, and the backend that Keras computes with."""
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


def _judged(run: Run) -> str | None:
    """Return the split that the report is about: test, else validation, else train.

    Of an adaptation only the target, which is its test split: the source says nothing about it.
    """
    splits = ("test",) if isinstance(run, Adaptation) else reversed(SPLITS)
    return next((name for name in splits if _scored(run, name)), None)


def _scored(run: Run, name: str) -> bool:
    split = run.data.splits.get(name)
    return name in run.probabilities and split is not None and split.labelled and len(split) > 0


def _summary(run: Run) -> dict[str, Any]:
    return {
        "technique": run.technique,
        "backbone": run.backbone,
        "seed": run.seed,
        "accuracy": {name: run.accuracy(name) if _scored(run, name) else None for name in SPLITS},
        "interval": _interval(run),
        "seconds": {part: run.seconds.get(part) for part in ("features", "training", "total")},
    }


def _interval(run: Run) -> dict[str, Any] | None:
    name = _judged(run)
    if name is None:
        return None
    pictures = len(run.data.splits[name])
    right = round(run.accuracy(name) * pictures)
    low, high = wilson(right, pictures)
    return {"split": name, "pictures": pictures, "level": 0.95, "low": low, "high": high}


def _per_class(run: Run) -> list[dict[str, Any]]:
    name, names = _judged(run), run.data.class_names
    if name is None:
        return []
    columns = precision_recall_fscore_support(
        run.data.splits[name].labels,
        run.probabilities[name].argmax(axis=1),
        labels=range(len(names)),
        zero_division=np.nan,
    )
    return [
        {
            "name": each,
            **{
                key: None if np.isnan(value) else float(value)
                for key, value in zip(("precision", "recall", "f1"), shares, strict=True)
            },
            "support": int(support),
        }
        for each, *shares, support in zip(names, *columns, strict=True)
    ]
