"""Several methods at once: the sum of their losses."""

from collections.abc import Sequence
from typing import Any

import keras

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
    >>> [type(method).__name__ for method in Combined([CDAN(entropy=True), MCC()]).methods]
    ['CDAN', 'MCC']
    """

    def __init__(self, methods: Sequence[Alignment | str], **options: Any) -> None:
        super().__init__(**options)
        self.methods = [resolve(METHODS, method, Alignment, "methods") for method in methods]
        if not self.methods:
            raise TlkitError("methods is empty. Give at least one, such as [CDAN(), MCC()].")
        for method in self.methods:
            plain = type(method).encode is Alignment.encode and type(method).begin is Alignment.begin
            if not (plain and method.trains == ALL and method.supervised and not method.starts_from_source):
                raise TlkitError(
                    f"{type(method).__name__} cannot be combined with other methods: it has a phase, an "
                    "encoder or trainable layers of its own. Combine methods that add a loss, such as "
                    "cdan-e+mcc."
                )
        self.moves_features = all(method.moves_features for method in self.methods)

    def prepare(self, encoder: keras.Model, last: keras.Layer) -> None:
        for method in self.methods:
            method.prepare(encoder, last)

    def strength(self, progress: Any) -> Any:
        """Return the strength of each method."""
        return [method.strength(progress) for method in self.methods]

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        pairs = zip(self.methods, strength, strict=True)
        return sum(method.loss(source, target, own_strength) for method, own_strength in pairs)
