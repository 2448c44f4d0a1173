"""The base class of all methods of domain adaptation: the loss that a method adds, and its phases."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tlkit.models import normalizations
from tlkit.techniques.domain_adaptation.pairs import Pairs
from tlkit.techniques.learners import Configured

ALL, ENCODER, LAST_LAYER, NOTHING = "all", "encoder", "last layer", "nothing"


class Domain(NamedTuple):
    """The examples of one domain in a batch, and what the network computed for them.

    Attributes:
        inputs: `(n, ...)`.
        features: float32 `(n, d)`, the input of the network's last layer.
        probabilities: float32 `(n, classes)`.
        labels: int `(n,)` of the source; `None` for the target, whose labels are unknown.
    """

    inputs: Any
    features: Any
    probabilities: Any
    labels: Any = None


class Alignment(Configured, keras.Layer):
    """A method of domain adaptation: the loss that it adds to the supervised loss of the source.

    A method overrides `loss`, and `prepare` if it has layers of its own. `DomainAdapter` runs the training.
    A method of two phases declares them by the attributes below, and overrides `begin` for what happens
    between the phases.

    Args:
        weight: weight of the added loss at full strength.
        rise: how steeply the strength grows from 0 to `weight` over training, as
            `2 / (1 + exp(-rise * progress)) - 1` (Ganin et al. 2016, "Domain-Adversarial Training of Neural
            Networks"); `None` for full strength from the start.

    Attributes:
        starts_from_source: the first phase trains the classifier on the source alone.
        trains: the part of the classifier that adaptation trains: `ALL`, `ENCODER`, `LAST_LAYER` or
            `NOTHING`. The method's own layers train in any case.
        learning_rate_factor: the fraction of the learning rate that this part takes.
        supervised: adaptation also minimises the supervised loss of the source.
        moves_features: the method has no effect unless a layer below the last one can learn.
        needs_source: the adaptation itself, after any first phase, reads source examples.
        watches_target: `update` is called before each epoch.
    """

    starts_from_source = False
    trains = ALL
    learning_rate_factor = 1.0
    supervised = True
    moves_features = True
    needs_source = True
    watches_target = False

    def __init__(self, weight: float = 1.0, rise: float | None = 10.0, **options: Any) -> None:
        super().__init__(**options)
        self.weight = weight
        self.rise = rise

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        keras.saving.register_keras_serializable("tlkit")(cls)

    def strength(self, progress: Any) -> Any:
        """Return the weight of the loss at this fraction of the training, 0 to 1."""
        if self.rise is None:
            return ops.convert_to_tensor(self.weight, "float32")
        return self.weight * (2.0 / (1.0 + ops.exp(-self.rise * progress)) - 1.0)

    def prepare(self, encoder: keras.Model, last: keras.Layer) -> None:
        """Create the method's own layers.

        Args:
            encoder: inputs to features `(n, d)`.
            last: features to class probabilities; `last.units` is the number of classes.
        """

    def begin(self, encoder: keras.Model, pairs: Pairs) -> Pairs:
        """Prepare the adaptation when the source has been learned, and return the pairs to train on."""
        return pairs

    def update(self, features: np.ndarray, probabilities: np.ndarray) -> None:
        """Prepare an epoch, given the features `(n, d)` and probabilities `(n, classes)` of the target."""

    def encode(self, encoder: keras.Model, source: Any, target: Any, training: bool) -> tuple[Any, Any]:
        """Return the features of both domains; of a source of None, None.

        Batch normalisation normalises each domain by itself and keeps the target's statistics, because the
        network will be used on the target (Chang et al. 2019, "Domain-Specific Batch Normalization").
        """
        if source is None:
            return None, encoder(target, training=training)
        if not (training and normalizations(encoder)):  # nothing depends on the batch: one call for both
            features, n = encoder(ops.concatenate([source, target]), training=training), ops.shape(source)[0]
            return features[:n], features[n:]
        return keeping_statistics(encoder, source), encoder(target, training=True)

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        """Return the loss that the method adds: a scalar."""
        return ops.zeros(())


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


def keeping_statistics(network: keras.Model, inputs: Any) -> Any:
    """Call a network in training mode without updating the statistics of its batch normalisation."""
    statistics = [variable for norm in normalizations(network) for variable in norm.non_trainable_variables]
    before = [ops.copy(variable) for variable in statistics]
    outputs = network(inputs, training=True)
    for variable, value in zip(statistics, before, strict=True):
        variable.assign(value)
    return outputs
