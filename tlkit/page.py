"""The HTML page of a report: pictures, figures and tables of a run, everything in one file."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from tlkit import plots
from tlkit.adaptation import Adaptation
from tlkit.data import Split
from tlkit.errors import TlkitError
from tlkit.explain import grad_cam
from tlkit.page_parts import SHOWN, environment, figure, frozen, percent, thumbnail
from tlkit.run import Run

ACCURACIES = {
    "source_only": "source only",
    "last": "adapted, last epoch",
    "selected": "adapted, chosen without labels",
    "oracle": "best epoch (nobody knows it in life)",
    "ceiling": "trained on target labels",
}


def render(run: Run, numbers: dict[str, Any]) -> str:
    """Return the page of a run.

    Args:
        run: a trained run; of its images only the few that are shown are read.
        numbers: what `tlkit.report.metrics` returned for it.
    """
    judged = numbers["interval"] and numbers["interval"]["split"]
    adaptation = _adaptation(run) if isinstance(run, Adaptation) else None
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            m=numbers,
            adaptation=adaptation,
            reached=run.accuracy(judged) if judged else None,
            card=run.data.card,
            judged=judged,
            comparison=_comparison(numbers) if numbers["runs"] else None,
            samples=_samples(run.data.train, run.data.class_names),
            curves=_curves(run) if run.history else None,
            answers=_answers(run, judged) if judged else None,
            frozen=None if run.frozen.empty else frozen(run.frozen),
            frozen_table=run.frozen,
        )
    )


def _comparison(numbers: dict[str, Any]) -> dict[str, Any]:
    """Name each run by what tells it from the others, and draw their accuracies."""
    runs = [numbers, *numbers["runs"]]
    keys = ("technique", *(key for key in ("backbone", "seed") if len({run[key] for run in runs}) > 1))
    rows = {", ".join(str(run[key]) for key in keys): run for run in runs}
    judged = {name: run for name, run in rows.items() if run["interval"]}
    values = {name: [run["accuracy"][run["interval"]["split"]]] for name, run in judged.items()}
    intervals = {name: (run["interval"]["low"], run["interval"]["high"]) for name, run in judged.items()}
    described = "; ".join(f"{name} {percent(value)} %" for name, (value,) in values.items())
    drawn = figure(
        lambda ax: plots.compare(values, ax, intervals=intervals),
        (6.4, 0.8 + 0.55 * len(values)),
        f"Accuracy of each way to train: {described}.",
    )
    return {"figure": drawn, "rows": rows}


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
        figures["accuracies"] = figure(
            lambda ax: plots.compare(reached, ax, quantity="accuracy on the target"),
            (6.4, height),
            f"Accuracy on the target: {said}.",
        )
        names = run.data.class_names
        before, after = run.before.argmax(axis=1), run.probabilities["test"].argmax(axis=1)
        figures["gains"] = figure(
            lambda ax: plots.class_gains(found.labels, before, after, names, ax),
            (6.4, 1.0 + 0.26 * len(names)),
            "What each class gained or lost by adapting.",
        )
    for when, features in run.features.items():
        figures[when] = figure(
            partial(plots.domains, *features, run.source_labels, None),
            (8, 3.6),
            f"Features of both domains {when} adapting, by t-SNE.",
            columns=2,
        )
    if run.history.get("adaptation", {}).get("discriminator_accuracy"):
        figures["discriminator"] = figure(
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
    return figure(lambda axes: plots.learning_curves(run.history, axes), (8, 3.2), alt, columns=2)


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
            picture | {"heat": thumbnail(plots.overlay(image, places))}
            for picture, image, places in zip(shown(looked_at), pixels, heat, strict=True)
        ]
    except TlkitError:  # a backbone without feature maps has no places to point at
        heatmaps = []
    side = min(9, 2.6 + 0.3 * len(names))
    confusion = figure(
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
        {"true": class_names[label], "file": file, **thumbnail(pixels)}
        for label, file, pixels in zip(
            split.labels[indices], split.names[indices], split.images[indices], strict=True
        )
    ]
