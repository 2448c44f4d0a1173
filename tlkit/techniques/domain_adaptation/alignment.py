"""What all methods of domain adaptation share: what they see of the two domains, and when they act."""

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
from keras import ops

from tlkit.models import normalizations
from tlkit.techniques.learners import Configured

if TYPE_CHECKING:
    from tlkit.techniques.domain_adaptation.adapter import DomainAdapter


class Domain(NamedTuple):
    """One domain's part of a batch, and what the network made of it.

    Attributes:
        inputs: what went in, `(n, ...)`.
        features: float32 `(n, d)`, what enters the network's last layer.
        probabilities: float32 `(n, classes)`.
        labels: int `(n,)` of the source; `None` for the target, where nobody knows them.
    """

    inputs: Any
    features: Any
    probabilities: Any
    labels: Any = None


class Alignment(Configured, keras.Layer):
    """A method of domain adaptation: the loss that it adds to the supervised one of the source.

    A method overrides `loss`, and `prepare` if it has layers of its own. The few that train in phases or
    see the source otherwise override `fit` or `encode`.

    Args:
        weight: of the added loss, at its full strength.
        rise: how steeply the strength grows from 0 to `weight` over training, as
            `2 / (1 + exp(-rise * progress)) - 1` (Ganin et al. 2016, "Domain-Adversarial Training of Neural
            Networks"); `None` for full strength from the start.
    """

    starts_from_source = False  # the method adapts a network that has learned the source already
    moves_features = True  # without a layer before the last one that learns it has no effect

    def __init__(self, weight: float = 1.0, rise: float | None = 10.0, **options: Any) -> None:
        super().__init__(**options)
        self.weight = weight
        self.rise = rise

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        keras.saving.register_keras_serializable("tlkit")(cls)

    def strength(self, progress: Any) -> Any:
        """Return the weight of the loss when this share of training is done, 0 to 1."""
        if self.rise is None:
            return ops.convert_to_tensor(self.weight, "float32")
        return self.weight * (2.0 / (1.0 + ops.exp(-self.rise * progress)) - 1.0)

    def prepare(self, encoder: keras.Model, last: keras.Layer) -> None:
        """Make the method's own layers, for the network's two parts: inputs to features, to probabilities.

        `last.units` is the number of classes.
        """

    def encode(self, encoder: keras.Model, source: Any, target: Any, training: bool) -> tuple[Any, Any]:
        """Return the features of both domains.

        Batch normalisation sees each domain by itself, and keeps the target's statistics, since that is
        where the network will work (Chang et al. 2019, "Domain-Specific Batch Normalization").
        """
        if not (training and normalizations(encoder)):  # nothing depends on the batch: one call for both
            features, n = encoder(ops.concatenate([source, target]), training=training), ops.shape(source)[0]
            return features[:n], features[n:]
        return without_memory(encoder, source), encoder(target, training=True)

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        """Return what the method adds to the supervised loss: a scalar."""
        return ops.zeros(())

    def fit(self, adapter: "DomainAdapter", pairs: Any, **options: Any) -> keras.callbacks.History:
        """Run the training that `DomainAdapter.fit` asks for: Keras's own `fit`, unless overridden."""
        return adapter.stock_fit(pairs, **options)


class ClassProbabilities(keras.Layer):
    """The last layer of a classifier that gives logits, with a softmax behind it.

    Args:
        dense: the layer from features `(n, d)` to logits `(n, classes)`.
    """

    def __init__(self, dense: keras.layers.Dense, **options: Any) -> None:
        super().__init__(dtype="float32", **options)
        self.dense = dense
        self.units, self.built = dense.units, True

    def call(self, features: Any) -> Any:
        return ops.softmax(ops.cast(self.dense(features), "float32"))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)


def without_memory(network: keras.Model, inputs: Any) -> Any:
    """Call a network in training, and leave the statistics of its batch normalisation as they were."""
    statistics = [each for norm in normalizations(network) for each in norm.non_trainable_variables]
    before = [ops.copy(each) for each in statistics]
    outputs = network(inputs, training=True)
    for each, value in zip(statistics, before, strict=True):
        each.assign(value)
    return outputs
