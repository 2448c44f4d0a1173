"""Callbacks: what Keras does not have, and how a callback sees the whole model while a part is trained."""

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

HOOKS = [name for name in dir(keras.callbacks.Callback) if name.startswith("on_")]


class StopAtNaN(keras.callbacks.Callback):
    """Stop with an error that says which term of the loss became NaN; only that epoch is lost.

    Args:
        network: gets the weights of the last whole epoch back.
        terms: the names of the terms in Keras's logs, and what they are called in the error.
        advice: what to do about it.
        first: returns the names of the terms that broke first, where the logs show all of them broken.
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
            f"epoch {epoch + 1}. The network has the weights of the epoch before. {self.advice}"
        )


class EpochLines(keras.callbacks.Callback):
    """Print one line per epoch, at most one per second, prefixed with a name so that runs can share a screen.

    Args:
        name: what stands in front.
        shown: what each value to print is called, by its name in Keras's logs; all by default.
    """

    def __init__(self, name: str, shown: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._name, self._shown, self._last = name, shown, 0.0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if time.monotonic() - self._last > 1:
            self._last = time.monotonic()
            logs = logs or {}
            chosen = self._shown or {name: name for name in logs}
            values = ", ".join(f"{said} {logs[name]:.2f}" for name, said in chosen.items())
            name = f"{self._name:<18} " if self._name else ""
            print(f"{name}epoch {epoch + 1:>2} of {self.params['epochs']}: {values}", flush=True)


class Interruptible(keras.callbacks.Callback):
    """Ctrl-C ends training after the running step, and the best epoch is kept; a second one aborts."""

    interrupted = False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        try:
            self._before = signal.signal(signal.SIGINT, self._stop)
        except ValueError:  # not in the main thread: signals are not ours to take
            self._before = None

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, self._before)
        self.interrupted = self.model.stop_training = True


class Backup(keras.callbacks.Callback):
    """Keep the state after each whole epoch in a folder, and start from the last one that lies there.

    Unlike `keras.callbacks.BackupAndRestore`, weights and the number of their epoch are one file, which
    appears whole or not at all; and the history of all epochs is kept.

    Args:
        folder: made if missing; `tlkit._internal.outputs.discard` removes it.
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


class ForModel(keras.callbacks.Callback):
    """Show a callback the whole model while only a part of it, or a learner around it, is trained.

    So `ModelCheckpoint` saves the whole. Where the callback stops the training of its model, the training
    that runs is stopped.

    Args:
        callback: any callback.
        model: what it sees as `self.model`.
    """

    def __init__(self, callback: keras.callbacks.Callback, model: keras.Model) -> None:
        super().__init__()
        self.callback, self.whole = callback, model
        for hook in HOOKS:  # only these: Keras asks the callbacks which steps they want to be told of
            if getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook) or hook in vars(
                callback
            ):
                setattr(self, hook, self._passed_on(getattr(callback, hook)))

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        self.callback.set_params(params)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self.callback.set_model(self.whole)

    def _passed_on(self, hook: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any, **named: Any) -> None:
            learner = self.model  # on JAX, this brings the variables up to date
            self.whole.stop_training = learner.stop_training
            hook(*arguments, **named)
            learner.stop_training = self.whole.stop_training

        return call


# What belongs to the training itself and not to a model that is saved.
OF_THE_TRAINING = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.History,
    keras.callbacks.ProgbarLogger,
)


def listed(callbacks: Any) -> list[keras.callbacks.Callback]:
    """Return callbacks as a list, given as Keras takes them: one, several, a `CallbackList` or None."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return [each for each in keras.tree.flatten(callbacks) if each is not None]


def for_model(callbacks: Any, model: keras.Model) -> list[keras.callbacks.Callback]:
    """Let callbacks see a model of which only a part is trained; `BackupAndRestore` sees what is trained."""
    return [
        each if isinstance(each, OF_THE_TRAINING) else ForModel(each, model) for each in listed(callbacks)
    ]


def saving(callbacks: Any, model: keras.Model) -> list[keras.callbacks.Callback]:
    """Let each `ModelCheckpoint` save the model that a learner trains, not the learner itself."""
    return [
        ForModel(each, model) if isinstance(each, keras.callbacks.ModelCheckpoint) else each
        for each in listed(callbacks)
    ]


def watch_steps(callbacks: Any) -> bool:
    """Whether a callback that is not Keras's own wants to be told of every step."""
    hooks = [hook for hook in HOOKS if "batch" in hook]
    return any(
        getattr(type(each), hook) is not getattr(keras.callbacks.Callback, hook)
        for each in listed(callbacks)
        if not type(each).__module__.startswith("keras.")
        for hook in hooks
    )


def sets_learning_rate(callbacks: Iterable[keras.callbacks.Callback]) -> list[str]:
    """Return the names of the callbacks that set the learning rate while training."""
    kinds = keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau
    return [type(each).__name__ for each in callbacks if isinstance(each, kinds)]
