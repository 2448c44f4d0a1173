"""A run on disk, opened again: its numbers, its model, its class names."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tlkit._internal.keras_import import import_keras
from tlkit.errors import TlkitError

MODEL, NUMBERS = "model.keras", "metrics.json"


@dataclass(frozen=True)
class SavedRun:
    """The folder that `tlkit train` wrote, of a classifier with one task.

    Attributes:
        folder: where it lies.
        numbers: its `metrics.json`.
    """

    folder: Path
    numbers: dict[str, Any]

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the model's outputs."""
        return self.numbers["class_names"]

    @property
    def split(self) -> str | None:
        """The split that it was evaluated on; None if there was none."""
        return self.numbers["interval"] and self.numbers["interval"]["split"]

    @property
    def accuracy(self) -> float | None:
        """The fraction of right answers on that split, 0 to 1."""
        accuracies = self.numbers.get("accuracy_by_split") or self.numbers["accuracy"]
        return None if self.split is None else accuracies[self.split]

    @cached_property
    def model(self) -> Any:
        """The `keras.Model`: RGB `(n, size, size, 3)`, values 0 to 255, to probabilities `(n, classes)`.

        Raises:
            TlkitError: it is not there, cannot be opened, or has another number of classes.
        """
        path = self.folder / MODEL
        if not path.is_file():
            raise TlkitError(f"There is no model at {path}. Train one: tlkit train DATA --out {self.folder}")
        try:
            model = import_keras().saving.load_model(path, compile=False)
        except Exception as error:  # Keras raises many types on a foreign or damaged file
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TlkitError(f"{path} cannot be opened by Keras: {reason}. Train again.") from error
        if model.output_shape[-1] != len(self.class_names):
            raise TlkitError(
                f"{path} has {model.output_shape[-1]} outputs, and {self.folder / NUMBERS} names "
                f"{len(self.class_names)} classes; these are files of two runs. Train again into one folder."
            )
        return model


def open_run(folder: str | Path) -> SavedRun:
    """Open the folder of a run; its model is loaded when it is first used.

    Raises:
        TlkitError: it holds no run of `tlkit train`, or one with several tasks or without classes.
    """
    folder = Path(folder)
    folder = folder.parent if folder.name == MODEL else folder
    try:
        numbers = json.loads((folder / NUMBERS).read_text("utf-8"))
    except FileNotFoundError:
        raise TlkitError(
            f"There is no {NUMBERS} in {folder}, so this is not the folder of a run. "
            f"Train one: tlkit train DATA --out {folder}"
        ) from None
    except (OSError, ValueError) as error:
        raise TlkitError(f"{folder / NUMBERS} cannot be read: {error}. Train again.") from error
    needed = {"class_names", "interval", "accuracy", "per_class", "splits"}
    if not isinstance(numbers, dict) or needed - set(numbers):
        raise TlkitError(
            f"{folder} is not a run of one classifier: its {NUMBERS} has no class names with figures. This "
            "works for runs of tlkit train and tlkit adapt with one task."
        )
    return SavedRun(folder, numbers)
