"""A run on disk, opened again: its numbers, its model, its class names."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tlkit._internal.cache import CHECKSUM, CHECKSUMS, METRICS, file_checksum, from_json
from tlkit._internal.model_files import reason_of
from tlkit._internal.outputs import settle
from tlkit.deployment.networks import how_to_train, names_or_none, open_network
from tlkit.errors import TlkitError

MODEL, NUMBERS = "model.keras", METRICS
LARGEST = 100 * 10**6  # bytes of a metrics.json
KINDS = ("classification", "multi-label", "regression")
Number = int | float


@dataclass(frozen=True)
class SavedRun:
    """The folder of `tlkit train` or `tlkit adapt` (a classifier), or `tlkit train-tasks` (several tasks).

    Attributes:
        folder: where it lies.
        numbers: its `metrics.json`.
    """

    folder: Path
    numbers: dict[str, Any]

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """What `metrics.json` says about each task, by its name; empty for a classifier."""
        return self.numbers["tasks"] if _has_tasks(self.numbers) else {}

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the model's outputs.

        Raises:
            TlkitError: the run has several tasks; see `tasks`.
        """
        if self.tasks:
            raise TlkitError(
                f"{self.folder} is not a run of one classifier: it has the tasks {', '.join(self.tasks)}. "
                "Give the folder of a run of tlkit train or tlkit adapt."
            )
        return self.numbers["class_names"]

    @property
    def split(self) -> str | None:
        """The split that it was evaluated on; None if there was none."""
        if self.tasks:
            return self.numbers["evaluated"]
        return self.numbers["interval"] and self.numbers["interval"]["split"]

    @property
    def accuracy(self) -> float | None:
        """The fraction of right answers on that split, 0 to 1; None if there was none, or several tasks."""
        if self.tasks or self.split is None:
            return None
        accuracies = self.numbers.get("accuracy_by_split") or self.numbers["accuracy"]
        return accuracies[self.split]

    @property
    def image_size(self) -> int:
        """Height and width of the images that the model takes, in pixels."""
        return int(self.model.inputs[0].shape[1])

    @cached_property
    def model(self) -> Any:
        """The `keras.Model`: RGB `(n, size, size, 3)`, values 0 to 255, to probabilities `(n, classes)`.

        For several tasks its output is a dictionary: probabilities or numbers `(n, outputs)` by task.

        Raises:
            TlkitError: it is not there, cannot be opened, or has other outputs than `metrics.json` says.
        """
        path = self.folder / MODEL
        check_model(path, self.numbers)
        model = open_network(path)
        outputs = model.output if isinstance(model.output, dict) else {"": model.outputs[0]}
        widths = {task: int(output.shape[-1]) for task, output in outputs.items()}
        if not self.tasks:
            expected = {"": len(self.class_names)}
            said = f"{len(self.class_names)} classes"
        else:
            expected = {
                task: len(about["classes"]) if about["classes"] else widths.get(task, 1)
                for task, about in self.tasks.items()
            }
            said = ", ".join(f"{task} ({count})" for task, count in expected.items())
        if widths != expected:
            found = (
                f"{widths['']} outputs"
                if set(widths) == {""}
                else "the outputs " + ", ".join(f"{task} ({count})" for task, count in widths.items())
            )
            raise TlkitError(
                f"{path} has {found}, and {self.folder / NUMBERS} names {said}; these are files of two runs. "
                "Train again into one folder."
            )
        return model


def open_run(folder: str | Path) -> SavedRun:
    """Open the folder of a run; its model is loaded when it is first used.

    Args:
        folder: the folder, or the `model.keras` in it.

    Raises:
        TlkitError: it holds no run of `tlkit train`, `tlkit adapt` or `tlkit train-tasks`, or its
            `metrics.json` is damaged.
    """
    folder = Path(folder)
    folder = folder.parent if folder.name == MODEL else folder
    path = folder / NUMBERS
    settle(folder)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is not a regular file")
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST // 10**6} MB")
        numbers = from_json(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise TlkitError(
            f"There is no {NUMBERS} in {folder}, so this is not the folder of a run. {how_to_train(folder)}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from error
    needed = {"class_names", "interval", "accuracy", "per_class", "splits"}
    if not isinstance(numbers, dict) or (needed - set(numbers) and not numbers.get("tasks")):
        raise TlkitError(
            f"{folder} is not a run of one classifier: its {NUMBERS} has no class names with figures. This "
            "works for runs of tlkit train, tlkit adapt and tlkit train-tasks."
        )
    if wrong := _wrong_fields(numbers):
        raise TlkitError(
            f"{path} is damaged: its {wrong} is missing, or not what tlkit writes there. Copy the folder "
            "again, or train again."
        )
    return SavedRun(folder, numbers)


def unreadable(path: Path, error: Exception) -> TlkitError:
    """Return the error for a `metrics.json` that is damaged or has changed."""
    return TlkitError(
        f"{path} cannot be read: {reason_of(error)}. Train again; or, if you changed it on purpose, remove "
        f"its entry {CHECKSUM!r}."
    )


def check_model(path: Path, numbers: dict[str, Any]) -> None:
    """Raise TlkitError if a model is not the one that `metrics.json` describes, by its checksum.

    Args:
        path: of the model.
        numbers: the `metrics.json` beside it. One without checksums, of an earlier version, fits any model.
    """
    checksums = numbers.get(CHECKSUMS)
    expected = checksums.get(path.name) if isinstance(checksums, dict) else None
    if expected is not None and path.is_file() and file_checksum(path) != expected:
        raise TlkitError(
            f"{path} is not the model that {path.parent / NUMBERS} describes: its checksum differs, so the "
            "class names and figures may belong to another model. Train again; or, if you replaced the model "
            f"on purpose, remove the entry {CHECKSUMS!r} from {NUMBERS}, and its entry {CHECKSUM!r}."
        )


def _has_tasks(numbers: dict[str, Any]) -> bool:
    return "class_names" not in numbers and bool(numbers.get("tasks"))


def _wrong_fields(numbers: dict[str, Any]) -> str | None:
    """Return the first field that the commands need and that has another form; None if all are right."""
    if _has_tasks(numbers):
        checks = {
            "tasks": _are_tasks(numbers),
            "evaluated": numbers.get("evaluated") in ("train", "validation", "test"),
        }
    else:
        interval = numbers["interval"]
        accuracies = numbers.get("accuracy_by_split") or numbers["accuracy"]
        checks = {
            "class_names": len(names_or_none(numbers["class_names"]) or ()) >= 2,
            "interval": interval is None or _is_interval(interval),
            "accuracy": isinstance(accuracies, dict)
            and (not _is_interval(interval) or _is_fraction(accuracies.get(interval["split"]))),
            "per_class": _is_list_of(numbers["per_class"], _is_class),
            "splits": isinstance(numbers["splits"], dict),
            "measures": numbers.get("measures") is None or _are_measures(numbers["measures"]),
        }
    return next((name for name, right in (checks | _of_any_run(numbers)).items() if not right), None)


def _of_any_run(numbers: dict[str, Any]) -> dict[str, bool]:
    """Check the fields about the data and the training; files of earlier versions may lack some."""
    counts = {name: numbers.get(name) for name in ("skipped", "duplicates") if name in numbers}
    size = numbers.get("image_size")
    return {
        "data": isinstance(numbers.get("data") or "", str),  # a run that was adapted has no training data
        "target": isinstance(numbers.get("target") or "", str),
        "command": isinstance(numbers.get("command", ""), str),
        "seed": isinstance(numbers.get("seed", 0), int),
        "image_size": size is None or isinstance(size, int),
        "versions": isinstance(numbers.get("versions", {}), dict),
        "runs": _is_list_of(numbers.get("runs", []), lambda run: isinstance(run, dict)),
        **{
            name: isinstance(each, dict) and isinstance(each.get("count"), int)
            for name, each in counts.items()
        },
    }


def _are_tasks(numbers: dict[str, Any]) -> bool:
    tasks = numbers["tasks"]
    return isinstance(tasks, dict) and all(
        isinstance(about, dict) and _is_task(about, numbers.get("evaluated")) for about in tasks.values()
    )


def _is_task(about: dict[str, Any], split: Any) -> bool:
    kind, names = about.get("kind"), about.get("classes")
    values, interval, labelled = (
        about.get(about.get("measure") or ""),
        about.get("interval"),
        about.get("labelled"),
    )
    return (
        kind in KINDS
        and about.get("measure") in ("accuracy", "error")
        and (names is None if kind == "regression" else bool(names_or_none(names)))
        and isinstance(values, dict)
        and _is_number_or_none(values.get(split))
        and _is_number_or_none(about.get("baseline"))
        and isinstance(labelled, dict)
        and (interval is None or _is_interval(interval))
        and (about.get("measures") is None or _are_measures(about["measures"]))
    )


def _is_list_of(value: Any, check: Any) -> bool:
    return isinstance(value, list) and all(check(each) for each in value)


def _is_interval(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("split"), str)
        and isinstance(value.get("images"), int)
        and _is_fraction(value.get("low"))
        and _is_fraction(value.get("high"))
    )


def _is_class(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        return False
    fractions = (row.get(name, "missing") for name in ("precision", "recall", "f1"))
    support = row.get("support")
    return (
        isinstance(support, int)
        and support >= 0
        and all(each is None or _is_fraction(each) for each in fractions)
    )


def _are_measures(measures: Any) -> bool:
    return isinstance(measures, dict) and all(
        isinstance(measures.get(name), dict)
        and all(_is_fraction(measures[name].get(end)) for end in ("value", "low", "high"))
        for name in ("accuracy", "balanced_accuracy", "macro_f1")
    )


def _is_number_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, Number) and not isinstance(value, bool))


def _is_fraction(value: Any) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool) and 0 <= value <= 1
