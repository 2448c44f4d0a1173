"""The state of a training that was stopped: arrays by name in a folder, verified when they are read."""

import copy
import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal.cache import atomic, from_json, load_arrays, save_arrays, to_json
from tlkit._internal.outputs import SETTINGS
from tlkit.errors import OutputError, TlkitError, TlkitWarning

ENDING = ".npz"


class SavedState:
    """Results of the parts of a long computation in a folder, so that it can continue after a stop.

    Every file is written completely or not at all, and has a checksum. A damaged file counts as missing, with
    a warning, so its part is computed again.

    Args:
        folder: created if missing; `tlkit._internal.outputs.discard` removes it.
        settings: plain values by name, which must be the same to continue.

    Raises:
        TlkitError: the folder contains a computation with other settings.
        OutputError: the folder cannot be written to.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        self.folder, self.start = Path(folder), ""
        # as they will be read; JSON has no infinity, so that it becomes text
        settings = json.loads(json.dumps(settings), parse_constant=str)
        saved = self._saved_settings()
        if saved is None:
            with self._writing("The settings of the training"):
                self.folder.mkdir(parents=True, exist_ok=True)
                with atomic(self.folder / SETTINGS) as path:
                    path.write_text(to_json(settings), "utf-8", errors="backslashreplace")
        elif names := [name for name in {**saved, **settings} if saved.get(name) != settings.get(name)]:
            changes = "; ".join(
                f"{name} {saved.get(name)} then and {settings.get(name)} now" for name in names
            )
            raise TlkitError(
                f"{self.folder.parent} contains a stopped training with other settings: {changes}. Pass the "
                "earlier settings to continue it, or --overwrite to start again."
            )

    def names(self, start: str = "") -> list[str]:
        """Return the names of the saved parts that begin with `start`, in alphabetical order."""
        start = self.start + start
        found = (path.name.removesuffix(ENDING) for path in self.folder.glob(f"*{ENDING}"))
        return sorted(name.removeprefix(self.start) for name in found if name.startswith(start))

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """Return the arrays of a part; None if it was not saved, or is damaged."""
        try:
            return load_arrays(self._path(name))
        except FileNotFoundError:
            return None
        except Exception as error:  # zipfile and numpy raise errors of their own
            self._warn_damaged(self._path(name), error, "An earlier state is used, or the part is repeated.")
            return None

    def save(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Write the arrays of a part.

        Raises:
            OutputError: the disk is full, or the system reports another error.
        """
        with self._writing(f"The state {name}"):
            save_arrays(self._path(name), arrays)

    def once(self, name: str, compute: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
        """Return the saved arrays of a part; otherwise compute and save them, unless `compute` returns None.

        Parts that `compute` saved under this name and a hyphen are removed afterwards.
        """
        found = self.load(name)
        if found is None and (found := compute()) is not None:
            self.save(name, found)
            for part in self.names(f"{name}-"):
                self.remove(part)
        return found

    def within(self, start: str) -> "SavedState":
        """Return a state for a part of the computation: all its names begin with `start`."""
        part = copy.copy(self)
        part.start = self.start + start
        return part

    def remove(self, name: str) -> None:
        """Remove a part."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.start}{name}{ENDING}"

    def _saved_settings(self) -> dict[str, Any] | None:
        """Return the saved settings. If they are damaged, remove the state: what it belongs to is unknown."""
        path = self.folder / SETTINGS
        try:
            saved = from_json(path.read_text("utf-8"))
            if not isinstance(saved, dict):
                raise ValueError(f"it contains {type(saved).__name__} instead of settings")
            return saved
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(
                f"{path} cannot be read: {error.strerror or error}. Correct its permissions, or choose "
                "another --out."
            ) from error
        except ValueError as error:
            self._warn_damaged(path, error, "The training starts again.")
            shutil.rmtree(self.folder)
            return None

    def _warn_damaged(self, path: Path, error: Exception, next_step: str) -> None:
        warnings.warn(f"{path} is damaged: {error}. {next_step}", TlkitWarning, stacklevel=4)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{what} could not be written to {self.folder}: {error.strerror or error}. Make room, and "
                "continue with --resume."
            ) from error


def packed(weights: list[np.ndarray], history: Mapping[str, list[float]]) -> dict[str, np.ndarray]:
    """Return the weights of a trained network and its history as arrays by name; see `unpacked`."""
    arrays = {f"weight-{i}": each for i, each in enumerate(weights)}
    return {**arrays, "history": np.array(json.dumps(history))}


def unpacked(arrays: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], dict[str, list[float]]]:
    """Return the weights and the history that `packed` joined.

    >>> unpacked(packed([np.zeros(2)], {"loss": [0.5]}))
    ([array([0., 0.])], {'loss': [0.5]})
    """
    weights = [arrays[f"weight-{i}"] for i in range(len(arrays) - 1)]
    return weights, json.loads(str(arrays["history"]))
