"""What networks with a loss of their own share while they train."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.errors import TlkitError


def replica_share() -> Any:
    """Return the part of a loss of 1 that Keras gives to each replica of a distribution; 1 without one.

    >>> float(replica_share())
    1.0
    """
    return keras.losses.MeanAbsoluteError()(ops.zeros((1, 1)), ops.ones((1, 1)))


def check_shares(batch_size: int, **sizes: int) -> None:
    """Raise before training where the devices of `keras.distribution` cannot share every batch evenly.

    Keras finds that out at the first uneven batch, and the model has lost its weights by then.

    Args:
        batch_size: examples in a step, of all devices together.
        sizes: number of examples by name, such as that of a split.

    >>> check_shares(32, train=100)  # one device
    """
    distribution = keras.distribution.distribution()
    devices = 1 if distribution is None else distribution.device_mesh.shape[0]
    if batch_size % devices:
        raise TlkitError(
            f"batch_size is {batch_size}, which {devices} devices cannot share evenly; give a multiple of "
            f"{devices}, such as {-(-batch_size // devices) * devices}."
        )
    for name, size in sizes.items():
        if size % devices:
            raise TlkitError(
                f"{name} has {size} examples; of the last batch of {size % batch_size} the {devices} devices "
                f"cannot have the same number each. Give a multiple of {devices}, such as "
                f"{name}.subset(slice({size // devices * devices}))."
            )


def make_state(
    model: keras.Model, labels: np.ndarray | None = None, output_shape: tuple[Any, ...] = ()
) -> None:
    """Make the variables of optimizer and metrics, which `fit` else makes within its first step.

    TensorFlow traces a step twice in which variables appear, and that of a deep network takes seconds.

    Args:
        model: a compiled model.
        labels: for metrics given to `compile`: class indices `(n,)`, of which the first is looked at.
        output_shape: of what the metrics compare with the labels, `(None, classes)`.

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> make_state(model, np.zeros(8, int), model.output_shape)
    >>> model.optimizer.built, model.metrics[1].built
    (True, True)
    """
    model.optimizer.build(model.trainable_variables)
    if labels is not None:
        model.compute_metrics(None, labels[:1], ops.zeros((1, *output_shape[1:])), None)
        model.reset_metrics()


class StopAtNaN(keras.callbacks.Callback):
    """Stop with an error that says which term of the loss is no number; nothing but that epoch is lost.

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
