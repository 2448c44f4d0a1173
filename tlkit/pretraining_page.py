"""The report of a pretraining: its numbers and its page."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from tlkit import plots
from tlkit.feature_quality import judged_split
from tlkit.intervals import wilson
from tlkit.page_parts import environment, figure, percent
from tlkit.pretraining import Pretraining
from tlkit.techniques.self_supervised import find

QUERIES, NEIGHBOURS = 5, 7
MEASURES = ("knn_accuracy", "effective_rank", "spread", "alignment", "uniformity")


def pretraining_numbers(run: Pretraining) -> dict[str, Any]:
    """Return what a pretraining reached as plain Python values; what does not exist is None.

    `loss` is that of the last epoch; the measures of the features are those after it, and `before` has the
    same ones before the first. `interval` is the 95 % interval of `knn_accuracy`.
    """
    after = {name: run.after.get(name) for name in MEASURES}
    part, interval = judged_split(run.judge), None
    if part is not None and run.judge is not None:
        pictures = len(run.judge.splits[part])
        low, high = wilson(round(run.after["knn_accuracy"] * pictures), pictures)
        interval = {"split": part, "pictures": pictures, "level": 0.95, "low": low, "high": high}
    return {
        "method": run.method,
        "judge": None if run.judge is None else run.judge.card.name,
        "batch_size": run.batch_size,
        "epochs": len(run.history.get("loss", ())),
        "loss": run.history["loss"][-1] if run.history.get("loss") else None,
        **after,
        "before": {name: run.before.get(name) for name in MEASURES},
        "interval": interval,
        "history": run.history,
    }


def render(run: Pretraining, numbers: dict[str, Any], backbone: Path) -> str:
    """Return the page of a pretraining.

    Args:
        run: a finished one; of its images only the few that are shown are read.
        numbers: what `tlkit.report.metrics` returned for it.
        backbone: where the backbone is written.
    """
    return (
        environment()
        .get_template("pretraining_report.html.jinja")
        .render(
            m=numbers,
            card=run.data.card,
            judged=None,  # no classifier that could have been chosen on its own test
            frozen=None,
            method=find(run.method),
            accuracies=_accuracies(numbers) if numbers["interval"] else None,
            neighbours={when: _neighbours(run, when) for when in run.features},
            shown=_shown(run),
            curves=_curves(run) if run.history else None,
            onward=onward(run, backbone),
        )
    )


def onward(run: Pretraining, backbone: Path) -> str:
    """Return the command that trains a classifier on the backbone."""
    labelled = "path/of/labelled" if run.judge is None else run.judge.card.name
    words = ["tlkit", "train", labelled, "--weights", str(backbone), "--backbone", run.backbone]
    words += ["--image-size", str(run.data.image_size), "--technique", "fine-tuning", "--out"]
    return shlex.join([*words, str(backbone.parent / "classifier")])


def _accuracies(numbers: dict[str, Any]) -> dict[str, str]:
    pictures = numbers["interval"]["pictures"]
    values = {f"{when} pretraining": of["knn_accuracy"] for when, of in _sides(numbers).items()}
    intervals = {name: wilson(round(value * pictures), pictures) for name, value in values.items()}
    said = "; ".join(f"{name} {percent(value)} %" for name, value in values.items())
    return figure(
        lambda ax: plots.compare(
            {name: [value] for name, value in values.items()},
            ax,
            intervals=intervals,
            quantity="accuracy of 5 nearest neighbours",
        ),
        (6.4, 1.9),
        f"Accuracy of the nearest neighbours: {said}.",
    )


def _sides(numbers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"before": numbers["before"], "after": numbers}


def _neighbours(run: Pretraining, when: str) -> dict[str, str]:
    images, features = run.data.train.subset(run.looked_at), run.features[when]
    queries = np.unique(np.linspace(0, len(images) - 1, QUERIES + 2).astype(int)[1:-1])
    columns = min(NEIGHBOURS, len(images) - 1) + 1
    return figure(
        lambda axes: plots.neighbours(images, features, queries, count=NEIGHBOURS, axes=axes),
        (1.1 * columns, 1.1 * len(queries) + 0.3),
        f"{len(queries)} images, each with its nearest ones to its right, {when} pretraining.",
        columns=columns,
        rows=len(queries),
    )


def _shown(run: Pretraining) -> dict[str, str]:
    columns, rows = len(run.shown["image"]), len(run.shown)
    return figure(
        lambda axes: plots.image_rows(run.shown, axes),
        (1.1 * columns + 0.7, 1.15 * rows),
        f"{columns} images; below each of them: {', '.join(list(run.shown)[1:])}.",
        columns=columns,
        rows=rows,
    )


def _curves(run: Pretraining) -> dict[str, str]:
    last = {name: values[-1] for name, values in run.history.items()}
    alt = (
        f"After {len(run.history['loss'])} epochs: loss {last['loss']:.3g}, spread {last['spread']:.2f}, "
        f"effective rank {last['effective_rank']:.1f}."
    )
    return figure(lambda axes: plots.pretraining_curves(run.history, axes), (9, 2.7), alt, columns=3)
