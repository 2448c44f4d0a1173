"""A training that goes on where it was stopped, even by kill -9."""

import json
import math
from pathlib import Path
from typing import Any

import keras

from tlkit.cache import atomic
from tlkit.errors import OutputError
from tlkit.outputs import remember


class Backup(keras.callbacks.Callback):
    """Keep the state after each whole epoch in a folder, and start from the last one that lies there.

    Unlike `keras.callbacks.BackupAndRestore`, weights and the number of their epoch are one file, which
    appears whole or not at all; and the history of all epochs is kept.

    Args:
        folder: made if missing; `tlkit.outputs.discard` removes it.
        settings: what must be the same to go on, as plain values by name.

    Attributes:
        epoch: number of epochs that are done: the `initial_epoch` of `fit`.

    Raises:
        TlkitError: the folder holds a training with other settings.
        OutputError: the disk is full.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        super().__init__()
        self.folder = Path(folder)
        remember(self.folder, settings)
        self.epoch = max((int(path.name.split(".")[0]) for path in self._states()), default=0)
        self.logs: list[dict[str, float]] = []
        if self.epoch:
            # written before the state: of an epoch that was cut short it says too much
            self.logs = json.loads((self.folder / "history.json").read_text("utf-8"))[: self.epoch]

    def history(self) -> dict[str, list[float]]:
        """Return what Keras measured in each epoch, by name, those before a stop too."""
        return {name: [logs[name] for logs in self.logs] for name in (self.logs[0] if self.logs else ())}

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self.epoch:
            self.model.optimizer.build(self.model.trainable_variables)
            self.model.load_weights(self._state(self.epoch))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = {name: float(value) for name, value in (logs or {}).items()}
        self.logs.append(logs)
        # an epoch that Ctrl-C cut short would not be the same one again; nothing goes on from a NaN
        if self.model.stop_training or not math.isfinite(logs.get("loss", 0.0)):
            return
        try:
            with atomic(self.folder / "history.json") as path:
                path.write_text(json.dumps(self.logs), "utf-8")
            with atomic(self._state(epoch + 1)) as path:
                self.model.save_weights(path)
        except OSError as error:
            raise OutputError(
                f"The state after epoch {epoch + 1} could not be written to {self.folder}: "
                f"{error.strerror or error}. Make room and go on with --resume."
            ) from error
        for path in self._states():
            if path != self._state(epoch + 1):
                path.unlink()

    def _state(self, epoch: int) -> Path:
        return self.folder / f"{epoch:05}.weights.h5"

    def _states(self) -> list[Path]:
        return list(self.folder.glob("*.weights.h5"))
