"""The HTML page of a report: pictures, figures and tables of a run, everything in one file."""

import base64
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import confusion_matrix

from tlkit import plots
from tlkit.adaptation import Adaptation
from tlkit.data import Split
from tlkit.errors import TlkitError
from tlkit.explain import grad_cam
from tlkit.run import Run

SHOWN = 12
ACCURACIES = {
    "source_only": "source only",
    "last": "adapted, last epoch",
    "selected": "adapted, chosen without labels",
    "oracle": "best epoch (nobody knows it in life)",
    "ceiling": "trained on target labels",
}
THUMBNAIL = 128  # pixels; dozens of larger ones would make the page slow to open


def render(run: Run, numbers: dict[str, Any]) -> str:
    """Return the page of a run.

    Args:
        run: a trained run; of its images only the few that are shown are read.
        numbers: what `tlkit.report.metrics` returned for it.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, duration=duration)
    judged = numbers["interval"] and numbers["interval"]["split"]
    adaptation = _adaptation(run) if isinstance(run, Adaptation) else None
    return environment.get_template("report.html.jinja").render(
        m=numbers,
        adaptation=adaptation,
        reached=run.accuracy(judged) if judged else None,
        card=run.data.card,
        judged=judged,
        comparison=_comparison(numbers) if numbers["runs"] else None,
        samples=_samples(run.data.train, run.data.class_names),
        curves=_curves(run) if run.history else None,
        answers=_answers(run, judged) if judged else None,
        frozen=None if run.frozen.empty else _frozen(run.frozen),
        frozen_table=run.frozen,
    )


def percent(share: float) -> str:
    """Round to whole percent, but never up to 100 or down to 0.

    >>> percent(0.864), percent(0.999), percent(1.0)
    ('86', '99.9', '100')
    """
    return f"{100 * share:.0f}" if 0.005 <= share < 0.995 else f"{100 * share:.4g}"


def duration(seconds: float | None) -> str:
    """Write a time in seconds or minutes; a dash where it was not measured."""
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def _comparison(numbers: dict[str, Any]) -> dict[str, Any]:
    """Name each run by what tells it from the others, and draw their accuracies."""
    runs = [numbers, *numbers["runs"]]
    keys = ("technique", *(key for key in ("backbone", "seed") if len({run[key] for run in runs}) > 1))
    rows = {", ".join(str(run[key]) for key in keys): run for run in runs}
    judged = {name: run for name, run in rows.items() if run["interval"]}
    values = {name: [run["accuracy"][run["interval"]["split"]]] for name, run in judged.items()}
    intervals = {name: (run["interval"]["low"], run["interval"]["high"]) for name, run in judged.items()}
    described = "; ".join(f"{name} {percent(value)} %" for name, (value,) in values.items())
    figure = _figure(
        lambda ax: plots.compare(values, ax, intervals=intervals),
        (6.4, 0.8 + 0.55 * len(values)),
        f"Accuracy of each way to train: {described}.",
    )
    return {"figure": figure, "rows": rows}


def _adaptation(run: Adaptation) -> dict[str, Any]:
    """Show what adapting changed: accuracies, features before and after, the discriminator, classes."""
    found = run.data.splits["test"]
    reached = {
        name: [run.accuracies[key]] for key, name in ACCURACIES.items() if run.accuracies.get(key) is not None
    }
    said = "; ".join(f"{name} {percent(value)} %" for name, (value,) in reached.items() if value is not None)
    height = 0.8 + 0.55 * len(reached)
    figures: dict[str, Any] = {"accuracies": None, "discriminator": None, "gains": None}
    if reached:
        figures["accuracies"] = _figure(
            lambda ax: plots.compare(reached, ax, quantity="accuracy on the target"),
            (6.4, height),
            f"Accuracy on the target: {said}.",
        )
        names = run.data.class_names
        before, after = run.before.argmax(axis=1), run.probabilities["test"].argmax(axis=1)
        figures["gains"] = _figure(
            lambda ax: plots.class_gains(found.labels, before, after, names, ax),
            (6.4, 1.0 + 0.26 * len(names)),
            "What each class gained or lost by adapting.",
        )
    for when, features in run.features.items():
        figures[when] = _figure(
            partial(plots.domains, *features, run.source_labels, None),
            (8, 3.6),
            f"Features of both domains {when} adapting, by t-SNE.",
            columns=2,
        )
    if run.history.get("adaptation", {}).get("discriminator_accuracy"):
        figures["discriminator"] = _figure(
            lambda ax: plots.discriminator(run.history["adaptation"], ax), (5, 3), "Discriminator accuracy."
        )
    return figures


def _samples(split: Split, class_names: Sequence[str]) -> list[dict[str, Any]]:
    turn = pd.Series(split.labels).groupby(split.labels).cumcount()  # one of every class, then a second
    chosen = np.lexsort((split.labels, turn))[:SHOWN]
    return _pictures(split, chosen[np.argsort(split.labels[chosen], kind="stable")], class_names)


def _curves(run: Run) -> dict[str, str]:
    last = list(run.history.values())[-1]
    ends = {"training": last.get("accuracy"), "validation": last.get("val_accuracy")}
    said = " and ".join(f"{name} {percent(values[-1])} %" for name, values in ends.items() if values)
    epochs = sum(len(phase.get("loss", ())) for phase in run.history.values())
    alt = f"Accuracy and loss over {epochs} epochs. Accuracy at the end: {said or 'not measured'}."
    return _figure(lambda axes: plots.learning_curves(run.history, axes), (8, 3.2), alt, columns=2)


def _frozen(table: pd.DataFrame) -> dict[str, str]:
    states = "; ".join(f"{stage} {state}" for stage, state in table["state"].items())
    return _figure(lambda ax: plots.frozen(table, ax), (8, 2.2), f"The stages of the network: {states}.")


def _answers(run: Run, judged: str) -> dict[str, Any]:
    """Show what was taken for what: the confusion matrix, the worst mistakes, and where it looked."""
    split, probabilities, names = run.data.splits[judged], run.probabilities[judged], run.data.class_names
    labels, predicted, confidence = split.labels, probabilities.argmax(axis=1), probabilities.max(axis=1)
    by_confidence = np.argsort(-confidence, kind="stable")
    is_right = (predicted == labels)[by_confidence]
    wrong, right = by_confidence[~is_right], by_confidence[is_right]

    def shown(indices: np.ndarray) -> list[dict[str, Any]]:
        return [
            picture | {"predicted": names[predicted[index]], "confidence": confidence[index]}
            for index, picture in zip(indices, _pictures(split, indices, names), strict=True)
        ]

    looked_at = np.concatenate([wrong[:4], right[:2]])
    pixels = split.images[looked_at]
    try:
        heat = grad_cam(run.model, pixels, predicted[looked_at])
        heatmaps = [
            picture | {"heat": _thumbnail(plots.overlay(image, places))}
            for picture, image, places in zip(shown(looked_at), pixels, heat, strict=True)
        ]
    except TlkitError:  # a backbone without feature maps has no places to point at
        heatmaps = []
    side = min(9, 2.6 + 0.3 * len(names))
    confusion = _figure(
        lambda ax: plots.confusion(labels, predicted, names, ax),
        (side, side),
        f"Confusion matrix of {len(names)} classes: {len(right)} of {len(labels)} right.",
    )
    return {
        "confusion": confusion,
        "most_confused": _most_confused(labels, predicted, names),
        "mistakes": shown(wrong[:SHOWN]),
        "wrong": len(wrong),
        "heatmaps": heatmaps,
    }


def _most_confused(labels: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> str:
    counts = confusion_matrix(labels, predicted, labels=range(len(names)))
    of_class = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    if np.sum(counts == counts.max()) > 1:  # a tie, or no mistake at all
        return ""
    true, taken = np.unravel_index(counts.argmax(), counts.shape)
    return f"Most often {names[true]} was taken for {names[taken]}: {counts.max()} of {of_class[true]}."


def _pictures(split: Split, indices: np.ndarray, class_names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"true": class_names[label], "file": file, **_thumbnail(pixels)}
        for label, file, pixels in zip(
            split.labels[indices], split.names[indices], split.images[indices], strict=True
        )
    ]


def _thumbnail(pixels: np.ndarray) -> dict[str, Any]:
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    png = io.BytesIO()
    image.save(png, "PNG")
    return {"src": _inlined(png), "few_pixels": image.width < THUMBNAIL / 2}


def _figure(
    draw: Callable[[Any], object], size: tuple[float, float], alt: str, *, columns: int = 1
) -> dict[str, str]:
    # not from pyplot: a Figure of its own touches no screen and no other figure
    figure = Figure(figsize=size, layout="constrained")
    draw(figure.subplots(1, columns))
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120)
    return {"src": _inlined(png), "alt": alt}


def _inlined(png: io.BytesIO) -> str:
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
