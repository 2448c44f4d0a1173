"""A run on paper: the model, its numbers, and one HTML page that needs nothing else to be read."""

import base64
import importlib
import io
import json
import platform
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

import tlkit
from tlkit import plots
from tlkit.cache import atomic
from tlkit.errors import OutputError, TlkitError
from tlkit.explain import grad_cam
from tlkit.run import Run

SPLITS = ("train", "validation", "test")
THUMBNAIL = 128  # pixels; dozens of larger ones would make the page slow to open
SHOWN = 12


def prepare(out: Path, overwrite: bool = False) -> None:
    """Make the folder of the results, or refuse; call it before training, so that no work is lost.

    Nothing is deleted: with `overwrite` the files of an earlier run are replaced by `write`, one by one.

    Raises:
        OutputError: `out` is a file, has content that would be overwritten, or cannot be written to.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file, expected a folder for the results. Choose another --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        occupied = any(out.iterdir())
        with tempfile.TemporaryFile(dir=out):  # permissions alone do not tell a read-only file system
            pass
    except OSError as error:
        raise OutputError(
            f"Results cannot be written to {out}: {error.strerror}. Choose another --out."
        ) from error
    if occupied and not overwrite:
        raise OutputError(f"{out} is not empty. Pass --overwrite to replace its results, or another --out.")


def write(run: Run, out: Path, *, command: str, others: Sequence[Run] = (), overwrite: bool = False) -> Path:
    """Write `model.keras`, `metrics.json` and `report.html` into a folder.

    All three are written beside their places first and moved there together at the end: a full disk
    or an interruption leaves the files of an earlier run as they were.

    Args:
        run: a trained run with the probabilities of its splits.
        out: the folder; see `prepare`.
        command: what to type to get the same again.
        others: runs on the same data to compare with.
        overwrite: replace the files of an earlier run.

    Returns:
        The path of `report.html`.

    Raises:
        OutputError: see `prepare`; or the disk is full.
    """
    prepare(out, overwrite)
    out = Path(out)
    numbers = metrics(run, command, others)
    page = render(run, numbers)
    path = out / "report.html"
    try:
        # left in reverse order: the report appears last, when what it tells of is there
        with (
            atomic(path) as report,
            atomic(out / "metrics.json") as figures,
            atomic(out / "model.keras") as model,
        ):
            run.model.save(model)
            figures.write_text(json.dumps(numbers, indent=2, ensure_ascii=False, allow_nan=False), "utf-8")
            report.write_text(page, "utf-8")
    except OSError as error:
        raise OutputError(
            f"The results could not be written to {out}: {error.strerror or error}. Files of an earlier run "
            "there are whole. Make room, or choose another --out, and run again."
        ) from error
    return path


def metrics(run: Run, command: str, others: Sequence[Run] = ()) -> dict[str, Any]:
    """Return the numbers of a run as plain Python values; what does not exist is None.

    `accuracy`, precision, recall and F1 are shares from 0 to 1. `interval` is the 95 % interval of the
    accuracy that is reported, that of the test split where there is one: Wilson 1927, "Probable
    Inference, the Law of Succession, and Statistical Inference".
    """
    data = run.data
    backend = keras.backend.backend()
    return {
        "version": tlkit.__version__,
        "command": command,
        **_summary(run),
        "data": data.card.name,
        "classes": len(data.class_names),
        "class_names": list(data.class_names),
        "image_size": data.image_size,
        "splits": {name: len(data.splits[name]) if name in data.splits else None for name in SPLITS},
        "per_class": _per_class(run),
        "skipped": {"count": len(data.skipped), "files": list(data.skipped)},
        "duplicates": {"count": len(data.duplicates), "pairs": [list(pair) for pair in data.duplicates]},
        "versions": {
            "python": platform.python_version(),
            "tlkit": tlkit.__version__,
            "keras": keras.__version__,
            backend: importlib.import_module(backend).__version__,
            "numpy": np.__version__,
        },
        "backend": backend,
        "runs": [_summary(other) for other in others],
    }


def render(run: Run, numbers: dict[str, Any]) -> str:
    """Return the HTML page of a run, everything inlined; `numbers` are its `metrics`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=_percent, duration=_duration, share=_share)
    view = {
        "m": numbers,
        "card": run.data.card,
        "judged": _judged(run),
        **_compared(run, numbers),
        **_learned(run),
        **_mistaken(run),
        "samples": _samples(run),
    }
    return environment.get_template("report.html.jinja").render(view)


def _judged(run: Run) -> str | None:
    """Return the split that the report is about: test, else validation, else train."""
    return next((name for name in reversed(SPLITS) if _scored(run, name)), None)


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
    low, high = binomtest(right, pictures).proportion_ci(confidence_level=0.95, method="wilson")
    return {"split": name, "pictures": pictures, "level": 0.95, "low": float(low), "high": float(high)}


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


def _compared(run: Run, numbers: dict[str, Any]) -> dict[str, Any]:
    """Name each run by what tells it from the others, and draw their accuracies."""
    runs = [numbers, *numbers["runs"]]
    keys = [key for key in ("technique", "backbone", "seed") if len({each[key] for each in runs}) > 1] or [
        "technique"
    ]
    compared = [(", ".join(str(each[key]) for key in keys), each) for each in runs]
    drawn = {name: each for name, each in compared if each["interval"]}
    if len(runs) == 1 or not drawn:
        return {"comparison": None, "compared": compared}
    values = {name: [each["accuracy"][each["interval"]["split"]]] for name, each in drawn.items()}
    intervals = {name: (each["interval"]["low"], each["interval"]["high"]) for name, each in drawn.items()}
    described = "; ".join(f"{name} {_percent(value)} %" for name, (value,) in values.items())
    figure = _figure(
        lambda ax: plots.compare(values, ax, intervals=intervals),
        (8, 0.8 + 0.55 * len(values)),
        f"Accuracy of each way to train: {described}.",
    )
    return {"comparison": figure, "compared": compared}


def _learned(run: Run) -> dict[str, Any]:
    curves = frozen = None
    if run.history:
        last = list(run.history.values())[-1]
        ends = {"training": last.get("accuracy"), "validation": last.get("val_accuracy")}
        said = " and ".join(f"{name} {_percent(values[-1])} %" for name, values in ends.items() if values)
        epochs = sum(len(phase.get("loss", ())) for phase in run.history.values())
        alt = f"Accuracy and loss over {epochs} epochs. Accuracy at the end: {said or 'not measured'}."
        curves = _figure(lambda axes: plots.learning_curves(run.history, axes), (9, 3.2), alt, columns=2)
    if not run.frozen.empty:
        states = "; ".join(f"{stage} {state}" for stage, state in run.frozen["state"].items())
        frozen = _figure(
            lambda ax: plots.frozen(run.frozen, ax), (9, 2.2), f"The stages of the network: {states}."
        )
    return {"curves": curves, "frozen": frozen, "frozen_table": run.frozen}


def _samples(run: Run) -> list[dict[str, Any]]:
    """Take training pictures evenly from the classes."""
    train = run.data.train
    order = np.argsort(train.labels, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(SHOWN, len(order))).astype(int)]
    names = [run.data.class_names[label] for label in train.labels[chosen]]
    return [
        _picture(pixels, true, file)
        for pixels, true, file in zip(train.images[chosen], names, train.names[chosen], strict=True)
    ]


def _mistaken(run: Run) -> dict[str, Any]:
    """Show what was taken for what: the confusion matrix, the worst mistakes, and where it looked."""
    judged, names = _judged(run), run.data.class_names
    if judged is None:
        return {"confusion": None, "mistakes": [], "heatmaps": []}
    split, probabilities = run.data.splits[judged], run.probabilities[judged]
    labels, predicted, confidence = split.labels, probabilities.argmax(axis=1), probabilities.max(axis=1)
    by_confidence = np.argsort(-confidence, kind="stable")
    is_right = (predicted == labels)[by_confidence]
    wrong, right = by_confidence[~is_right], by_confidence[is_right]

    def shown(indices: np.ndarray) -> list[dict[str, Any]]:
        return [
            _picture(pixels, names[labels[index]], split.names[index])
            | {"predicted": names[predicted[index]], "confidence": float(confidence[index])}
            for index, pixels in zip(indices, split.images[indices], strict=True)
        ]

    looked_at = np.concatenate([wrong[:4], right[:2]])
    heatmaps = shown(looked_at)
    try:
        pixels = split.images[looked_at]
        for sample, image, heat in zip(
            heatmaps, pixels, grad_cam(run.model, pixels, predicted[looked_at]), strict=True
        ):
            sample["heat"] = _picture(plots.overlay(image, heat), sample["true"], sample["file"]) | {
                "alt": f"Grad-CAM for the answer {sample['predicted']} on {sample['file']}"
            }
    except TlkitError:  # a backbone without feature maps has no places to point at
        heatmaps = []
    side = min(9, 3.4 + 0.3 * len(names))
    figure = _figure(
        lambda ax: plots.confusion(labels, predicted, names, ax),
        (side, side),
        f"Confusion matrix of {len(names)} classes: {len(right)} of {len(labels)} right.",
    )
    return {
        "confusion": figure,
        "confused": _most_confused(labels, predicted, names),
        "mistakes": shown(wrong[:SHOWN]),
        "wrong_count": len(wrong),
        "heatmaps": heatmaps,
    }


def _most_confused(labels: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> str:
    counts = confusion_matrix(labels, predicted, labels=range(len(names)))
    np.fill_diagonal(counts, 0)
    true, taken = np.unravel_index(counts.argmax(), counts.shape)
    if not counts.any():
        return ""
    return (
        f"Most often: {names[true]} taken for {names[taken]}, {counts[true, taken]} of {sum(labels == true)}."
    )


def _figure(
    draw: Callable[[Any], object], size: tuple[float, float], alt: str, *, columns: int = 1
) -> dict[str, str]:
    figure = Figure(figsize=size, layout="constrained")
    draw(figure.subplots(1, columns))
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120)
    return {"src": _inlined(png), "alt": alt}


def _picture(pixels: np.ndarray, true: str, file: str) -> dict[str, Any]:
    image = Image.fromarray(pixels)
    small = image.width < THUMBNAIL / 2
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    png = io.BytesIO()
    image.save(png, "PNG")
    return {"src": _inlined(png), "alt": f"A picture of class {true}: {file}", "small": small} | {
        "true": true,
        "file": file,
    }


def _inlined(png: io.BytesIO) -> str:
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


def _percent(share: float) -> str:
    """Round to whole percent, but never up to 100 or down to 0."""
    return f"{100 * share:.0f}" if 0.005 <= share < 0.995 else f"{100 * share:.4g}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
