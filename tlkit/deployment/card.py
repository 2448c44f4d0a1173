"""A model card: what a model is for, how good it is, and how certain that is; all figures from the run."""

import json
import re
from bisect import bisect_left
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError

from tlkit._internal.cache import atomic
from tlkit._internal.intervals import wilson
from tlkit._internal.outputs import written_whole
from tlkit.data import is_folder
from tlkit.deployment.saved_run import NUMBERS, SavedRun
from tlkit.errors import OutputError, TlkitError
from tlkit.reports.html import templates

FILE = "MODEL_CARD.md"
WIDE = 0.05  # half of a 95 % interval: with a wider one the card warns
FEW = 10  # test images of a class, below which its figures are anecdotes
MOST = 2000  # images; no accuracy needs more for an interval of WIDE


def write_card(run: SavedRun, *, licence: str = "unknown", overwrite: bool = False) -> Path:
    """Write `MODEL_CARD.md` into the folder of a run, and return its path.

    Args:
        run: of `tlkit.deployment.saved_run.open_run`.
        licence: of the model, as the hub writes it, such as "apache-2.0".
        overwrite: replace the card that is there, with what somebody wrote into it.

    Raises:
        OutputError: there is a card already; or the disk is full.
        TlkitError: the `export.json` of an export is damaged, or `metrics.json` lacks a field.
    """
    path = run.folder / FILE
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists, and somebody may have written into it. Pass --overwrite to replace it."
        )
    text = render(run, licence=licence)
    with written_whole(run.folder), atomic(path) as temporary:
        temporary.write_text(text, "utf-8")
    return path


def render(run: SavedRun, *, licence: str = "unknown") -> str:
    """Return the card in Markdown, under the YAML front matter of the Hugging Face hub.

    Its sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting". What a run cannot know
    is put as a question to the author.
    """
    environment = templates(Path(__file__).parent, html=False)
    environment.filters.update(cell=_cell, percent=_percent, measure=_measure)
    environment.keep_trailing_newline = True
    about: dict[str, Any] = {
        "m": run.numbers,
        "data": _data_name(run.numbers.get("data")),
        "target": _data_name(run.numbers["target"]) if run.numbers.get("target") else None,
        "command": _command(run.numbers),
        "name": run.folder.resolve().name,
        "split": run.split,
        "licence": licence,
        "warnings": warnings(run),
        "exports": _exports(run.folder),
    }
    if run.tasks:
        file = "model_card_tasks.md.jinja"
        about["tasks"] = task_table(run)
    else:
        file = "model_card.md.jinja"
        about |= {"accuracy": run.accuracy, "chance": 1 / len(run.class_names)}
        about["classes"] = class_table(run.numbers["per_class"])
    try:
        return environment.get_template(file).render(**about)
    except UndefinedError as error:  # a field of `metrics.json` is missing
        raise TlkitError(
            f"{run.folder / NUMBERS} lacks something that a card needs: {error}. Copy the folder again, or "
            "train again."
        ) from error


def warnings(run: SavedRun) -> list[str]:
    """Return why the figures may mean little, the most important reason first; empty if there is none.

    The rules: no test split; a 95 % interval wider than ±5 points; classes with fewer than 10 test images;
    identical images in two splits; one seed; an interrupted training. For several tasks also: a task without
    labels, or no better than a constant answer.
    """
    if run.tasks:
        return _task_warnings(run)
    numbers, interval, said = run.numbers, run.numbers["interval"], []
    if interval is None or run.accuracy is None:
        return ["It was evaluated on no labelled images: nothing here says how good it is."]
    if interval["split"] != "test":
        said.append(
            f"There is no test split; the figures are of the {interval['split']} split, which took part in "
            "training, and are too good."
        )
    half = (interval["high"] - interval["low"]) / 2
    if half > WIDE:
        said.append(
            f"Too few test images: with {interval['images']} the 95 % interval is ±{100 * half:.0f} "
            f"points; the limit here is ±{100 * WIDE:.0f}. About {images_needed(run.accuracy)} "
            "are enough."
        )
    few = [row["name"] for row in numbers["per_class"] if row["support"] < FEW]
    if few:
        said.append(
            f"{len(few)} of {len(run.class_names)} classes have fewer than {FEW} test images; their figures "
            "are anecdotes."
        )
    return said + _training_warnings(numbers)


def _training_warnings(numbers: dict[str, Any]) -> list[str]:
    said = []
    if count := numbers.get("duplicates", {}).get("count"):
        said.append(
            f"{count} {'pair' if count == 1 else 'pairs'} of identical images lie in two splits: a leak, by "
            "which the figures are too good. See tlkit audit."
        )
    if len({each.get("seed") for each in [numbers, *numbers.get("runs", [])]}) < 2:
        said.append("One seed: another seed would give another accuracy.")
    if numbers.get("interrupted"):
        said.append("Training was interrupted.")
    return said


def _task_warnings(run: SavedRun) -> list[str]:
    said = []
    if run.split != "test":
        said.append(
            f"There is no test split; the figures are of the {run.split} split, which took part in training, "
            "and are too good."
        )
    for row in task_table(run):
        if row["value"] is None:
            said.append(f"{row['name']}: it was evaluated on no labelled images.")
            continue
        if row["interval"] and (half := (row["interval"]["high"] - row["interval"]["low"]) / 2) > WIDE:
            said.append(
                f"{row['name']}: too few {run.split} images: with {row['interval']['images']} the 95 % "
                f"interval is ±{100 * half:.0f} points; the limit here is ±{100 * WIDE:.0f}. About "
                f"{images_needed(row['value'])} are enough."
            )
        if row["baseline"] is not None and not _is_better(row):
            said.append(f"{row['name']}: no better than the same answer for every image.")
    return said + _training_warnings(run.numbers)


def _is_better(row: dict[str, Any]) -> bool:
    more, less = (
        (row["value"], row["baseline"]) if row["measure"] == "accuracy" else (row["baseline"], row["value"])
    )
    return more > less


def task_table(run: SavedRun) -> list[dict[str, Any]]:
    """Return the figures of each task of a run on the split that it was evaluated on.

    Each row has the name, kind, measure, classes (None for numbers), value, baseline, interval, further
    measures (None if there are none), the number of labelled images, and of labelled training images.
    """
    return [
        {
            "name": name,
            "value": about[about["measure"]][run.split],
            "labelled": about["labelled"].get(run.split),
            "trained": about["labelled"].get("train"),
            **{
                part: about.get(part)
                for part in ("kind", "measure", "classes", "baseline", "interval", "measures")
            },
        }
        for name, about in run.tasks.items()
    ]


def _command(numbers: dict[str, Any]) -> str:
    """Return the command that was typed, in one line; of an absolute path to the data, only the last name."""
    command, data = numbers.get("command", "").replace("\n", " "), numbers.get("data") or ""
    return command.replace(data, _data_name(data)) if Path(data).is_absolute() else command


def _data_name(name: str | None) -> str:
    name = name or "unknown"
    return Path(name).name if is_folder(name) else name


def images_needed(fraction: float, half_width: float = WIDE) -> int:
    """Return about how many test images make the 95 % interval of a fraction no wider than ± `half_width`.

    Args:
        fraction: of right answers, 0 to 1.
        half_width: from above 0 to 1.

    >>> images_needed(0.5), images_needed(0.9)
    (381, 141)
    """

    def narrow(n: int) -> bool:
        low, high = wilson(round(fraction * n), n)
        return (high - low) / 2 <= half_width

    return bisect_left(range(1, MOST), True, key=narrow) + 1


def class_table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the figures of each class, the least recall first, with the 95 % interval of the recall.

    >>> [row] = class_table([{"name": "cat", "precision": 1.0, "recall": 0.5, "f1": 0.7, "support": 4}])
    >>> round(row["low"], 2), round(row["high"], 2)
    (0.15, 0.85)
    """
    table = []
    for row in rows:
        known = row["support"] > 0 and row["recall"] is not None
        interval = wilson(round(row["recall"] * row["support"]), row["support"]) if known else (None, None)
        table.append(row | dict(zip(("low", "high"), interval, strict=True)))
    return sorted(table, key=lambda row: (row["recall"] is None, row["recall"] or 0.0))


def _exports(folder: Path) -> list[dict[str, Any]]:
    """Return what the `export.json` of each folder of exports says about its files."""
    found = []
    for path in sorted(folder.glob("*/export.json")):
        try:
            for each in json.loads(path.read_text("utf-8"))["files"]:
                chosen = {name: each[name] for name in ("file", "format", "images")}
                found.append({**chosen, "difference": float(each["difference"])})
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise TlkitError(
                f"{path} is damaged. Export again with --overwrite, or delete this file."
            ) from error
    return found


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _measure(value: float | None, of: str) -> str:
    """Write an accuracy in percent, and a mean absolute error as a number."""
    if value is None:
        return "–"
    return _percent(value) if of == "accuracy" else f"{value:.4g}"


def _cell(text: Any) -> str:
    """Write a name as text in Markdown: it may not end a cell, be a tag, or load an image."""
    escaped = re.sub(r"([\\|`*!\[\]])", r"\\\1", str(text).replace("&", "&amp;"))
    return escaped.replace("<", "&lt;").replace("\n", " ")
