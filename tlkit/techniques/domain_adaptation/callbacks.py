"""What watches an adaptation while it trains: which epoch to keep."""

from typing import Any, Protocol

import keras
import numpy as np

from tlkit.errors import TlkitError
from tlkit.techniques.domain_adaptation.selection import SCORES, TARGET_ALONE, Seen, check


class Looks(Protocol):
    """What a network has to offer to be judged: see `DomainAdapter`."""

    classifier: keras.Model

    def look(self, inputs: Any) -> tuple[np.ndarray, np.ndarray]: ...

    def look_at_source(self, inputs: Any) -> tuple[np.ndarray, np.ndarray]: ...


class KeepBest(keras.callbacks.Callback):
    """Score the network after every epoch without target labels, and put the best epoch's weights back.

    The score stands in the history under its name.

    Args:
        name: one of `SCORES`.
        adapter: the network that learns.
        source: held-out inputs and labels of the source; not needed for `"snd"` and `"entropy"`.
        target: inputs of the target.
        start: the first epoch that may be chosen. Methods grow stronger over training, and a network that has
            not learned yet answers everything alike, which density takes for agreement.

    Raises:
        UnknownNameError: there is no such score.
        TlkitError: the score needs held-out source examples.
    """

    def __init__(
        self,
        name: str,
        adapter: Looks,
        source: tuple[Any, np.ndarray] | None,
        target: Any,
        start: int = 0,
    ) -> None:
        super().__init__()
        check(name)
        if source is None and name not in TARGET_ALONE:
            raise TlkitError(
                f"select={name!r} judges by source examples that were not trained on, and none were given. "
                "Pass fit(..., validation_data=(inputs, labels)) of the source, or select='snd'."
            )
        self.name, self.adapter, self.source, self.target, self.start = name, adapter, source, target, start
        self.best, self.best_epoch = -np.inf, 0
        self._weights: list[np.ndarray] | None = None

    def score(self) -> float:
        """Return the score of the network as it is."""
        target = Seen(*self.adapter.look(self.target))
        if self.source is None or self.name in TARGET_ALONE:
            return SCORES[self.name](target, target)  # these look at no source
        return SCORES[self.name](Seen(*self.adapter.look_at_source(self.source[0]), self.source[1]), target)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        value = self.score()
        if logs is not None:
            logs[self.name] = value
        if epoch >= self.start and value > self.best:
            self.best, self.best_epoch = value, epoch
            self._weights = self.adapter.classifier.get_weights()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._weights is not None:
            self.adapter.classifier.set_weights(self._weights)
