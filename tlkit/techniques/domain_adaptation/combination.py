"""Use several methods of domain adaptation at once: the sum of their losses."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit._internal.registry import resolve
from tlkit.errors import TlkitError
from tlkit.techniques.domain_adaptation.alignment import ALL, Alignment, Domain
from tlkit.techniques.domain_adaptation.methods import METHODS


class Combined(Alignment):
    """Several methods at once. The added loss is the sum of their losses, each with its own strength.

    Alignment and self-training make different errors, so the literature often combines them, for example
    CDAN with MCC. Jin et al. 2020, "Minimum Class Confusion for Versatile Domain Adaptation".

    Args:
        methods: instances such as `CDAN()`, or names. Each must train the whole classifier, with the
            supervised loss of the source, as most methods do.

    Raises:
        TlkitError: `methods` is empty, or one of them trains only a part of the network, leaves out the
            supervised loss, needs a network that has learned from the source, or encodes the domains in its
            own way.
        UnknownNameError: no method has this name.

    >>> from tlkit.techniques.domain_adaptation import CDAN, MCC
    >>> [type(each).__name__ for each in Combined([CDAN(entropy=True), MCC()]).methods]
    ['CDAN', 'MCC']
    """

    def __init__(self, methods: Sequence[Alignment | str], **options: Any) -> None:
        super().__init__(**options)
        self.methods = [resolve(METHODS, each, Alignment, "methods") for each in methods]
        if not self.methods:
            raise TlkitError("methods is empty. Give at least one, such as [CDAN(), MCC()].")
        for each in self.methods:
            plain = type(each).encode is Alignment.encode and type(each).begin is Alignment.begin
            if not (plain and each.trains == ALL and each.supervised and not each.starts_from_source):
                raise TlkitError(
                    f"{type(each).__name__} cannot be combined with other methods: it has a phase, an "
                    "encoder or trainable layers of its own. Combine methods that add a loss, such as "
                    "cdan-e+mcc."
                )
        self.moves_features = all(each.moves_features for each in self.methods)
        self.watches_target = any(each.watches_target for each in self.methods)

    def prepare(self, encoder: keras.Model, last: keras.Layer) -> None:
        for each in self.methods:
            each.prepare(encoder, last)

    def update(self, features: np.ndarray, probabilities: np.ndarray) -> None:
        for each in self.methods:
            if each.watches_target:
                each.update(features, probabilities)

    def example_weights(self, labels: Any) -> Any:
        """Return the product of the weights of all methods, `(n,)`; or None if none has weights."""
        found = [each.example_weights(labels) for each in self.methods]
        weights = [each for each in found if each is not None]
        return reduce(ops.multiply, weights) if weights else None

    def strength(self, progress: Any) -> Any:
        """Return the strength of each method."""
        return [each.strength(progress) for each in self.methods]

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        pairs = zip(self.methods, strength, strict=True)
        return sum(each.loss(source, target, one) for each, one in pairs)
