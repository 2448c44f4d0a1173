"""Trainings that continue after a stop: finished ones are read, and others go on from the last epoch."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

from tlkit._internal.state import SavedState, packed, unpacked
from tlkit.callbacks import Backup
from tlkit.errors import TlkitError

History = dict[str, list[float]]


def trained_once(
    state: SavedState | None,
    name: str,
    model: keras.Model,
    callbacks: Iterable[Any],
    train: Callable[[Backup | None], History],
) -> History:
    """Train a model, or continue its training; if that is finished, give the model the trained weights.

    Args:
        state: None trains without saving anything.
        name: of the training within the state.
        model: the network that is trained.
        callbacks: an `Interruptible` among them tells whether Ctrl-C stopped the training; the result is then
            not saved.
        train: trains the model and returns Keras's history. It gets the last callback of `fit`, or None.

    Returns:
        Keras's history, including the epochs before a stop, and what else `train` has put into it.
    """
    if state is None:
        return train(None)
    saved = state.load(name)
    if saved is not None:
        weights, history = unpacked(saved)
        if [each.shape for each in weights] != [tuple(each.shape) for each in model.weights]:
            raise TlkitError(
                f"The saved state in {state.folder} is that of another network. Start again with --overwrite."
            )
        model.set_weights(weights)
        return history
    backup = Backup(state, name=f"{name}-")
    history = train(backup)
    history = history | backup.history()
    if not any(getattr(each, "interrupted", False) for each in callbacks):
        state.save(name, packed(model.get_weights(), history))
        backup.discard()
    return history
