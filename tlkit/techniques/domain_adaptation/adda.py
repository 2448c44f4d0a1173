"""ADDA: the target gets an encoder of its own, whose features pass for source features.

Tzeng et al. 2017, "Adversarial Discriminative Domain Adaptation".
"""

from typing import Any

import keras
from keras import ops

from tlkit.techniques.domain_adaptation.alignment import ENCODER, Domain
from tlkit.techniques.domain_adaptation.dann import Adversary
from tlkit.techniques.domain_adaptation.pairs import Pairs


class ADDA(Adversary):
    """Adversarial discriminative adaptation: the target gets an encoder of its own.

    First, encoder and classifier learn the source. Then the encoder learns to map the target to features
    that a discriminator takes for source features; a frozen copy of it encodes the source, and the last
    layer is frozen.

    The encoder takes a small fraction of the learning rate and the discriminator all of it. Nothing but the
    discriminator keeps the target features near the source features, so it must not lag behind.

    Args:
        weight, rise, hidden: see `Adversary`.
        learning_rate_factor: the fraction of the learning rate that the encoder takes, 0 to 1.
    """

    starts_from_source = True
    trains = ENCODER

    def __init__(self, *args: Any, learning_rate_factor: float = 0.05, **options: Any) -> None:
        super().__init__(*args, **options)
        self.learning_rate_factor = learning_rate_factor

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        super().prepare(encoder, last)
        self.source_encoder = keras.models.clone_model(encoder)
        self.source_encoder.trainable = False

    def begin(self, encoder: keras.Model, pairs: Pairs) -> Pairs:
        self.source_encoder.set_weights(encoder.get_weights())
        return pairs

    def encode(self, encoder: keras.Model, source: Any, target: Any, training: bool) -> tuple[Any, Any]:
        # Dropout acts on both sides: else the discriminator recognises the target by its zeros.
        return self.source_encoder(source, training=training), encoder(target, training=training)

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        fixed = [ops.stop_gradient(domain.features) for domain in (source, target)]
        return self.discriminate(*fixed) + strength * self.fooled(target.features)

    def fooled(self, features: Any) -> Any:
        """Return the loss of target features that should pass for source features.

        The discriminator gets no gradient from it.
        """
        weights = [ops.stop_gradient(weight) for weight in self.discriminator.trainable_variables]
        logits, _ = self.discriminator.stateless_call(weights, [], features)
        return ops.mean(ops.softplus(-logits))
