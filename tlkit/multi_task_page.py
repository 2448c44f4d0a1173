"""The report of a run with several tasks: its numbers and its page."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit import plots
from tlkit.data import Split
from tlkit.intervals import wilson
from tlkit.multi_task_run import MultiTaskRun
from tlkit.page_parts import SHOWN, environment, figure, frozen, percent, thumbnail
from tlkit.techniques.multi_task import Regression, Task

SPLITS = ("train", "validation", "test")
MOST_CLASSES = 25  # of which a confusion matrix can be read
MISTAKES = 6  # pictures a task


def task_numbers(run: MultiTaskRun) -> dict[str, Any]:
    """Return what the tasks reached as plain Python values; what does not exist is None.

    Accuracies are shares from 0 to 1, errors in the labels' own units. `baseline` is the best constant
    answer on the judged split, `interval` the 95 % interval of an accuracy there.
    """
    measures = {part: run.measures(part) for part in run.data.splits}
    baselines = run.baselines()
    tasks = {}
    for name, task in run.tasks.items():
        labelled = {part: int(run.known(part, name).sum()) for part in run.data.splits}
        reached, pictures = measures[run.judged][name], labelled[run.judged]
        interval = None
        if task.kind == "classification" and reached is not None:
            low, high = wilson(round(reached * pictures), pictures)
            interval = {"split": run.judged, "pictures": pictures, "level": 0.95, "low": low, "high": high}
        tasks[name] = {
            "kind": task.kind,
            "measure": task.measure,
            "classes": task.class_names,
            **({"mean": task.mean, "deviation": task.deviation} if isinstance(task, Regression) else {}),
            task.measure: {part: measures.get(part, {}).get(name) for part in SPLITS},
            "baseline": baselines[name],
            "labelled": {part: labelled.get(part) for part in SPLITS},
            "interval": interval,
        }
    return {"balancing": run.balancing, "judged": run.judged, "tasks": tasks}


def render(run: MultiTaskRun, numbers: dict[str, Any]) -> str:
    """Return the page of a run.

    Args:
        run: a trained run; of its images only the few that are shown are read.
        numbers: what `tlkit.report.metrics` returned for it.
    """
    reached, baselines = run.measures(run.judged), run.baselines()
    return (
        environment()
        .get_template("multi_task_report.html.jinja")
        .render(
            m=numbers,
            card=run.data.card,
            judged=run.judged,
            tasks={
                name: {
                    "reached": in_words(task, reached[name]),
                    "baseline": in_words(task, baselines[name]),
                    "constant": constant(task, run.labels["train"][name]),
                    "by_split": {
                        part: in_words(task, numbers["tasks"][name][task.measure][part]) for part in SPLITS
                    },
                    "about": _about(task),
                    "answers": _answers(run, name) if run.known(run.judged, name).any() else None,
                }
                for name, task in run.tasks.items()
            },
            gains=_gains(run, reached, baselines),
            samples=_samples(run),
            curves=_curves(run) if run.history else None,
            weights=_weights(run),
            frozen=None if run.frozen.empty else frozen(run.frozen),
            frozen_table=run.frozen,
        )
    )


def in_words(task: Task, measure: float | None) -> str:
    """Write an accuracy in percent, an error as "off by".

    >>> in_words(Regression(), 3.14159), in_words(Regression(), None)
    ('off by 3.142', '–')
    """
    if measure is None:
        return "–"
    return f"{percent(measure)} %" if task.higher_is_better else f"off by {measure:.4g}"


def constant(task: Task, train: np.ndarray) -> str:
    """Name the best constant answer according to the training labels."""
    if task.kind == "classification":
        return (task.class_names or [])[np.bincount(train[train >= 0]).argmax()]
    if task.kind == "multi-label":
        return said(task, np.nanmean(train, axis=0))
    return said(task, np.nanmedian(train, axis=0))


def said(task: Task, row: np.ndarray) -> str:
    """Return in words what a row of labels or of predictions says; a dash where the label is missing.

    >>> from tlkit.techniques.multi_task import MultiLabel
    >>> said(MultiLabel(["red", "round"]), np.array([0.2, 0.9])), said(Regression(), np.array([np.nan]))
    ('round', '–')
    """
    row = np.asarray(row)
    if np.isnan(row).all() or (row.ndim == 0 and row < 0):
        return "–"
    names = task.class_names or []
    if task.kind == "regression":
        return ", ".join(f"{value:.4g}" for value in row)
    if task.kind == "classification":
        return names[int(row) if row.ndim == 0 else row.argmax()]
    return ", ".join(name for name, value in zip(names, row, strict=True) if value > 0.5) or "none"


def _about(task: Task) -> str:
    if isinstance(task, Regression):
        return f"mean {task.mean:.4g}, deviation {task.deviation:.4g}"
    names = task.class_names or []
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _gains(
    run: MultiTaskRun, reached: dict[str, float | None], baselines: dict[str, float | None]
) -> dict[str, str] | None:
    gains, texts = {}, {}
    for name, task in run.tasks.items():
        got, floor = reached[name], baselines[name]
        best = 1.0 if task.higher_is_better else 0.0
        if got is not None and floor is not None and floor != best:
            gains[name] = (got - floor) / (best - floor)
            texts[name] = f"{in_words(task, got)} against {in_words(task, floor)}"
    if not gains:
        return None
    described = "; ".join(f"{name} {text}" for name, text in texts.items())
    size = (7.4, 0.9 + 0.5 * len(gains))
    return figure(lambda ax: plots.task_gains(gains, texts, ax), size, f"Each task: {described}.")


def _samples(run: MultiTaskRun) -> list[dict[str, Any]]:
    known = np.sum([run.known("train", name) for name in run.tasks], axis=0)
    order = np.argsort(-known, kind="stable")
    most = order[: max(SHOWN, np.sum(known == known.max()))]  # as many labels as can be, from all folders
    chosen = np.unique(most[np.linspace(0, len(most) - 1, SHOWN).astype(int)])
    labels = run.labels["train"]
    return [
        picture | {"says": {name: said(task, labels[name][row]) for name, task in run.tasks.items()}}
        for row, picture in zip(chosen, _pictures(run.data.train, chosen), strict=True)
    ]


def _curves(run: MultiTaskRun) -> dict[str, str]:
    names = list(run.tasks)
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    epochs = sum(len(phase.get("loss", ())) for phase in run.history.values())
    return figure(
        lambda axes: plots.task_curves(run.history, names, axes),
        (2.9 * columns, 2.6 * rows),
        f"Loss of {', '.join(names)} over {epochs} epochs.",
        columns=columns,
        rows=rows,
    )


def _weights(run: MultiTaskRun) -> dict[str, str] | None:
    last = list(run.history.values())[-1] if run.history else {}
    weights = {f"{name}_weight": last.get(f"{name}_weight", []) for name in run.tasks}
    flat = [value for values in weights.values() for value in values]
    if not flat or np.ptp(flat) < 1e-6:
        return None
    ends = "; ".join(f"{name} {weights[f'{name}_weight'][-1]:.2f}" for name in run.tasks)
    return figure(lambda ax: plots.task_weights(weights, ax), (6, 3), f"Weights at the end: {ends}.")


def _answers(run: MultiTaskRun, name: str) -> dict[str, Any]:
    """Show what one task takes for what, and its worst mistakes."""
    task, known = run.tasks[name], run.known(run.judged, name)
    labels, predicted = run.labels[run.judged][name], run.predictions[run.judged][name]
    drawn, per_label = None, []
    if task.kind == "classification" and task.outputs <= MOST_CLASSES:
        side = min(9, 2.6 + 0.3 * task.outputs)
        names, answers = task.class_names or [], predicted[known].argmax(axis=1)
        drawn = figure(
            lambda ax: plots.confusion(labels[known], answers, names, ax),
            (side, side),
            f"Confusion matrix of {name}: {task.outputs} classes.",
        )
    elif task.kind == "regression":
        numbers = labels[known].ravel(), predicted[known].ravel()
        drawn = figure(
            lambda ax: plots.true_and_predicted(*numbers, ax), (4.4, 4.4), f"Predicted against true {name}."
        )
    elif task.kind == "multi-label":
        per_label = _per_label(task, labels, predicted)
    scores = np.where(known, run.scores(run.judged, name), np.nan)
    worst = _worst(task, scores, predicted)
    pictures = [
        picture | {"true": said(task, labels[row]), "predicted": said(task, predicted[row])}
        for row, picture in zip(worst, _pictures(run.data.splits[run.judged], worst), strict=True)
    ]
    return {"figure": drawn, "per_label": per_label, "mistakes": pictures, "kind": task.kind}


def _per_label(task: Task, labels: np.ndarray, predicted: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for i, name in enumerate(task.class_names or []):
        known = ~np.isnan(labels[:, i])
        true, given = labels[known, i] > 0.5, predicted[known, i] > 0.5
        both = int(np.sum(true & given))
        precision, recall = (both / int(some.sum()) if some.any() else None for some in (given, true))
        rows.append({"name": name, "precision": precision, "recall": recall, "support": int(true.sum())})
    return rows


def _worst(task: Task, scores: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the rows of the worst answers, worst first; of equally wrong ones the most certain."""
    badness = np.nan_to_num(1 - scores if task.higher_is_better else scores)
    certainty = np.zeros(len(scores)) if task.kind == "regression" else np.abs(predicted - 0.5).max(axis=1)
    order = np.lexsort((-certainty, -badness))
    return order[badness[order] > 0][:MISTAKES]


def _pictures(split: Split, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
    rows = np.asarray(rows, int)
    return [
        {"file": file, **thumbnail(pixels)}
        for file, pixels in zip(split.names[rows], split.images[rows], strict=True)
    ]
