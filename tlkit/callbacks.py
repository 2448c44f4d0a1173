"""Callbacks that Keras lacks, and helpers that pass the whole model to callbacks while a part is trained."""

import json
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import keras
import numpy as np

from tlkit._internal.state import SavedState
from tlkit.errors import TlkitError

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

    Within `interrupts_raise`, Ctrl-C is not caught, and raises KeyboardInterrupt.

    Attributes:
        interrupted: whether Ctrl-C ended the training.
    """

    interrupted = False
    catches = True  # of the class: False within `interrupts_raise`
    _previous: Any = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._previous = None
        if Interruptible.catches:
            # only the main thread can set a signal handler
            with suppress(ValueError):
                self._previous = signal.signal(signal.SIGINT, self._stop)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, self._previous)
        self.interrupted = self.model.stop_training = True


@contextmanager
def interrupts_raise() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt within the block, also in a training with an `Interruptible`.

    A cell of a comparison that was stopped early must not become one of its results.
    """
    before, Interruptible.catches = Interruptible.catches, False
    try:
        yield
    finally:
        Interruptible.catches = before


# what must be restored when a training continues, by callback; other callbacks list it as `resumed`, and may
# have a method `on_resume` that is called afterwards
_RESUMED = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "best_weights"),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
}
KEPT = 2  # states: if the last one is damaged, the training continues from the one before


class Backup(keras.callbacks.Callback):
    """Save the state of a training after each complete epoch, and continue from the last saved epoch.

    Unlike `keras.callbacks.BackupAndRestore`, it saves weights, optimizer, random state, history and the
    number of the epoch in one file, which is written completely or not at all and has a checksum. It keeps
    the last two epochs. If the last file is damaged, training continues from the one before, with a warning.

    Args:
        folder: the folder of the state, created if missing; or a `SavedState`.
        settings: the settings that must be the same to continue, as plain values by name.
        name: of the training, if there are several in the folder.
        also: other callbacks of the training whose state is saved as well, such as `EarlyStopping`. List
            them before this callback.

    Attributes:
        epoch: the number of saved epochs, to pass as `initial_epoch` to `fit`.
        logs: Keras's logs of each epoch.

    Raises:
        TlkitError: the folder contains a training with other settings.
        OutputError: the state cannot be written, such as on a full disk.
    """

    def __init__(
        self,
        folder: Path | SavedState,
        settings: dict[str, Any] | None = None,
        *,
        name: str = "",
        also: Sequence[keras.callbacks.Callback] = (),
    ) -> None:
        super().__init__()
        self.state = folder if isinstance(folder, SavedState) else SavedState(folder, settings or {})
        self.name, self.also = f"{name}epoch-", list(also)
        self.epoch, self.logs = 0, list[dict[str, float]]()
        self._saved: dict[str, np.ndarray] = {}
        for saved in reversed(self.state.names(self.name)):
            if (found := self.state.load(saved)) is not None:
                self._saved = found
                about = json.loads(str(found["about"]))
                self.epoch, self.logs, self._of_callbacks = about["epoch"], about["logs"], about["callbacks"]
                break

    def history(self) -> dict[str, list[float]]:
        """Return the values of each metric per epoch, including the epochs before an interruption."""
        return {name: [logs[name] for logs in self.logs] for name in (self.logs[0] if self.logs else ())}

    def discard(self) -> None:
        """Remove the saved epochs, such as when the result of the training has been saved."""
        for each in self.state.names(self.name):
            self.state.remove(each)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if not self.epoch:
            return
        self.model.optimizer.build(self.model.trainable_variables)
        variables = self._variables()
        arrays = [self._saved.get(f"variable-{i}") for i in range(len(variables))]
        shapes = [None if each is None else each.shape for each in arrays]
        if shapes != [tuple(each.shape) for each in variables]:
            raise TlkitError(
                f"The saved state in {self.state.folder} is that of another network. Start again with "
                "--overwrite."
            )
        for variable, value in zip(variables, arrays, strict=True):
            variable.assign(value)
        for i, (each, values) in enumerate(zip(self.also, self._of_callbacks, strict=True)):
            for name, value in values.items():
                count = value.get("arrays")
                arrays = [self._saved[f"callback-{i}-{name}-{j}"] for j in range(count or 0)]
                setattr(each, name, arrays if count is not None else value["value"])
            if hasattr(each, "on_resume"):
                each.on_resume()
        self._saved = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = {name: float(value) for name, value in (logs or {}).items()}
        self.logs.append(logs)
        # An interrupted epoch cannot be repeated exactly, and training cannot continue from a NaN.
        if self.model.stop_training or not math.isfinite(logs.get("loss", 0.0)):
            return
        arrays = {
            f"variable-{i}": keras.ops.convert_to_numpy(each) for i, each in enumerate(self._variables())
        }
        about: dict[str, Any] = {"epoch": epoch + 1, "logs": self.logs, "callbacks": []}
        for i, each in enumerate(self.also):
            values: dict[str, Any] = {}
            for name in _resumed(each):
                value = getattr(each, name)
                if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
                    values[name] = {"arrays": len(value)}
                    arrays |= {f"callback-{i}-{name}-{j}": array for j, array in enumerate(value)}
                else:
                    values[name] = {"value": value.item() if isinstance(value, np.generic) else value}
            about["callbacks"].append(values)
        self.state.save(f"{self.name}{epoch + 1:05}", arrays | {"about": np.array(json.dumps(about))})
        for each in self.state.names(self.name)[:-KEPT]:
            self.state.remove(each)

    def _variables(self) -> list[Any]:
        """Return all variables but those of metrics, which each epoch starts anew."""
        of_metrics = {id(each) for metric in self.model.metrics for each in metric.variables}
        own = [each for each in self.model.variables if id(each) not in of_metrics]
        known = {id(each) for each in own}
        return own + [each for each in self.model.optimizer.variables if id(each) not in known]


def _resumed(callback: keras.callbacks.Callback) -> Sequence[str]:
    """Return the names of the attributes of a callback that a continued training needs."""
    own = next((names for kind, names in _RESUMED.items() if isinstance(callback, kind)), ())
    return getattr(callback, "resumed", own)


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
    Interruptible,
    Backup,
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


def save_with_backup(
    callbacks: Iterable[keras.callbacks.Callback], others: Iterable[keras.callbacks.Callback]
) -> None:
    """Let each `Backup` among the callbacks also save the state of other callbacks of the training."""
    for each in callbacks:
        if isinstance(each, Backup):
            each.also += others


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
