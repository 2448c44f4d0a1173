"""Keep the best epoch of an adaptation by a validator, which needs no target labels."""

from typing import Any, Protocol

import keras
import numpy as np

from tlkit.errors import TlkitError
from tlkit.techniques.domain_adaptation.methods import VALIDATORS
from tlkit.techniques.domain_adaptation.validators import Outputs


class Scored(Protocol):
    """A network that validators can score: see `DomainAdapter`."""

    classifier: keras.Model

    def target_outputs(self, inputs: Any) -> Outputs: ...

    def source_outputs(self, inputs: Any) -> Outputs: ...


class KeepBest(keras.callbacks.Callback):
    """Score the network after every epoch and restore the weights of the best epoch at the end.

    The score appears in the history under its name.

    Args:
        name: of one of `VALIDATORS`.
        adapter: the network that learns.
        source: held-out inputs and labels of the source; not needed for `"snd"` and `"entropy"`.
        target: inputs of the target.
        start: the first epoch that may be chosen. Methods grow stronger over training, and an untrained
            network predicts much the same for everything, which density takes for agreement.

    Raises:
        UnknownNameError: there is no such validator.
        TlkitError: the validator needs held-out source examples.
    """

    resumed = ("best", "best_epoch", "_weights")  # what `tlkit.callbacks.Backup` saves

    def __init__(
        self,
        name: str,
        adapter: Scored,
        source: tuple[Any, np.ndarray] | None,
        target: Any,
        start: int = 0,
    ) -> None:
        super().__init__()
        self.validator = VALIDATORS.find(name)
        if source is None and self.validator.needs_source:
            raise TlkitError(
                f"validator={name!r} needs source examples that were not trained on, and none were given. "
                "Pass fit(..., validation_data=(inputs, labels)) of the source, or validator='snd'."
            )
        self.adapter, self.source, self.target, self.start = adapter, source, target, start
        self.best, self.best_epoch = -np.inf, 0
        self._weights: list[np.ndarray] | None = None

    def score(self) -> float:
        """Return the score of the network as it is now."""
        target = self.adapter.target_outputs(self.target)
        if self.source is None or not self.validator.needs_source:
            return self.validator.build(target, target)
        source = self.adapter.source_outputs(self.source[0])._replace(labels=self.source[1])
        return self.validator.build(source, target)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        value = self.score()
        if logs is not None:
            logs[self.validator.name] = value
        if epoch >= self.start and value > self.best:
            self.best, self.best_epoch = value, epoch
            self._weights = self.adapter.classifier.get_weights()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._weights is not None:
            self.adapter.classifier.set_weights(self._weights)
