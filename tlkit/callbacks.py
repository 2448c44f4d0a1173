"""Callbacks that Keras lacks, and helpers that pass the whole model to callbacks while a part is trained."""

import json
import math
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import keras

from tlkit._internal.cache import atomic
from tlkit._internal.outputs import remember
from tlkit.errors import OutputError, TlkitError

__all__ = ["Backup", "EpochLines", "Interruptible", "StopAtNaN"]

_HOOKS = [name for name in dir(keras.callbacks.Callback) if name.startswith("on_")]


class StopAtNaN(keras.callbacks.Callback):
    """Stop training with an error if the loss becomes NaN or infinite, and name the term of the loss.

    The network gets the weights of the previous epoch back, so that only the last epoch is lost.

    Args:
        network: the network whose weights are kept and restored.
        terms: a description, for the error message, of each term by its name in Keras's logs.
        advice: the last sentence of the error message: what to do next.
        first: returns the names of the terms that became NaN first, if the logs cannot tell.

    Raises:
        TlkitError: at the end of an epoch, if the loss is not finite.
    """

    def __init__(
        self,
        network: keras.Model,
        terms: Mapping[str, str],
        advice: str,
        first: Callable[[], list[str]] = list,
    ) -> None:
        super().__init__()
        self.network, self.terms, self.advice, self.first = network, terms, advice, first

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._weights = self.network.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        if math.isfinite(logs.get("loss", 0.0)):
            self._weights = self.network.get_weights()
            return
        self.network.set_weights(self._weights)
        broken = self.first() or [term for term in self.terms if not math.isfinite(logs.get(term, 0.0))]
        raise TlkitError(
            f"{' and '.join(self.terms[term] for term in broken) or 'the loss'} became {logs['loss']} in "
            f"epoch {epoch + 1}. The network has the weights of the previous epoch. {self.advice}"
        )


class EpochLines(keras.callbacks.Callback):
    """Print one line per epoch, and at most one line per second.

    Args:
        name: printed at the start of each line, to tell parallel runs apart; "" for no name.
        shown: the label of each value to print, by its name in Keras's logs; by default all values.
    """

    def __init__(self, name: str, shown: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._name, self._shown, self._last = name, shown, 0.0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if time.monotonic() - self._last > 1:
            self._last = time.monotonic()
            logs = logs or {}
            labels = self._shown or {name: name for name in logs}
            values = ", ".join(f"{label} {logs[name]:.2f}" for name, label in labels.items())
            name = f"{self._name:<18} " if self._name else ""
            print(f"{name}epoch {epoch + 1:>2} of {self.params['epochs']}: {values}", flush=True)


class Interruptible(keras.callbacks.Callback):
    """Let Ctrl-C end training after the current step and keep the best epoch; a second Ctrl-C aborts.

    Attributes:
        interrupted: whether Ctrl-C ended the training.
    """

    interrupted = False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        try:
            self._previous = signal.signal(signal.SIGINT, self._stop)
        except ValueError:  # only the main thread can set a signal handler
            self._previous = None

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, self._previous)
        self.interrupted = self.model.stop_training = True


class Backup(keras.callbacks.Callback):
    """Save the state of a training after each complete epoch, and continue from the last saved epoch.

    Unlike `keras.callbacks.BackupAndRestore`, it saves the weights and the number of their epoch in one file,
    which is written completely or not at all. It also saves the history of all epochs.

    Args:
        folder: the folder of the state, created if missing; `tlkit._internal.outputs.discard` removes it.
        settings: the settings that must be the same to continue, as plain values by name.

    Attributes:
        epoch: the number of saved epochs, to pass as `initial_epoch` to `fit`.
        logs: Keras's logs of each epoch.

    Raises:
        TlkitError: the folder contains a training with other settings.
        OutputError: the state cannot be written, such as on a full disk.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        super().__init__()
        self.folder = Path(folder)
        remember(self.folder, settings)
        self.epoch = max((int(path.name.split(".")[0]) for path in self._states()), default=0)
        self.logs: list[dict[str, float]] = []
        if self.epoch:
            # The history is written before the weights, so it can contain an epoch whose weights were lost.
            self.logs = json.loads((self.folder / "history.json").read_text("utf-8"))[: self.epoch]

    def history(self) -> dict[str, list[float]]:
        """Return the values of each metric per epoch, including the epochs before an interruption."""
        return {name: [logs[name] for logs in self.logs] for name in (self.logs[0] if self.logs else ())}

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self.epoch:
            self.model.optimizer.build(self.model.trainable_variables)
            self.model.load_weights(self._state(self.epoch))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = {name: float(value) for name, value in (logs or {}).items()}
        self.logs.append(logs)
        # An interrupted epoch cannot be repeated exactly, and training cannot continue from a NaN.
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
                f"{error.strerror or error}. Make room, and continue with --resume."
            ) from error
        for path in self._states():
            if path != self._state(epoch + 1):
                path.unlink()

    def _state(self, epoch: int) -> Path:
        return self.folder / f"{epoch:05}.weights.h5"

    def _states(self) -> list[Path]:
        return list(self.folder.glob("*.weights.h5"))


class ForModel(keras.callbacks.Callback):
    """Pass the whole model to a callback while only a part of it, or a learner around it, is trained.

    `ModelCheckpoint` then saves the whole model. If the callback stops the training of its model, the current
    training stops.

    Args:
        callback: any callback.
        model: the model that the callback gets as `self.model`.
    """

    def __init__(self, callback: keras.callbacks.Callback, model: keras.Model) -> None:
        super().__init__()
        self.callback, self.whole = callback, model
        # Forward only the hooks that the callback has: Keras skips the per-step hooks that no callback has.
        for hook in _HOOKS:
            if _overrides(callback, hook) or hook in vars(callback):
                setattr(self, hook, self._forwarded(getattr(callback, hook)))

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        self.callback.set_params(params)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self.callback.set_model(self.whole)

    def _forwarded(self, hook: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any, **options: Any) -> None:
            trained = self.model  # on JAX, this access updates the variables
            self.whole.stop_training = trained.stop_training
            hook(*arguments, **options)
            trained.stop_training = self.whole.stop_training

        return call


# These callbacks concern the training itself, so they get the model that is trained.
_TRAINING_CALLBACKS = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.History,
    keras.callbacks.ProgbarLogger,
)


def listed(callbacks: Any) -> list[keras.callbacks.Callback]:
    """Return callbacks as a list, from any form that Keras takes: one, several, a `CallbackList` or None."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return [each for each in keras.tree.flatten(callbacks) if each is not None]


def for_model(callbacks: Any, model: keras.Model) -> list[keras.callbacks.Callback]:
    """Pass the whole model to callbacks while a part is trained; `BackupAndRestore` gets the trained part."""
    return [
        each if isinstance(each, _TRAINING_CALLBACKS) else ForModel(each, model) for each in listed(callbacks)
    ]


def saving(callbacks: Any, model: keras.Model) -> list[keras.callbacks.Callback]:
    """Let each `ModelCheckpoint` save `model`, which a learner trains, and not the learner itself."""
    return [
        ForModel(each, model) if isinstance(each, keras.callbacks.ModelCheckpoint) else each
        for each in listed(callbacks)
    ]


def watch_steps(callbacks: Any) -> bool:
    """Return whether a callback must be called at every step.

    Some callbacks of Keras have a hook for every step but act on whole epochs by default.
    """
    hooks = [hook for hook in _HOOKS if "batch" in hook]
    return any(
        any(hook in vars(each) for hook in hooks)  # a LambdaCallback
        or any(getattr(each, name, "epoch") != "epoch" for name in ("save_freq", "update_freq"))
        or (not type(each).__module__.startswith("keras.") and any(_overrides(each, hook) for hook in hooks))
        for each in (getattr(given, "callback", given) for given in listed(callbacks))  # within `ForModel`
    )


def _overrides(callback: keras.callbacks.Callback, hook: str) -> bool:
    return getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)


def sets_learning_rate(callbacks: Iterable[keras.callbacks.Callback]) -> list[str]:
    """Return the class names of the callbacks that set the learning rate during training."""
    kinds = keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau
    return [type(each).__name__ for each in callbacks if isinstance(each, kinds)]
