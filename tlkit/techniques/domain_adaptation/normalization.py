"""Adapt nothing but the batch normalisation of a network that has learned the source."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.errors import TlkitError
from tlkit.models import leaves, normalizations
from tlkit.techniques.domain_adaptation.alignment import Alignment
from tlkit.techniques.domain_adaptation.pairs import Pairs
from tlkit.techniques.domain_adaptation.predictions import entropy


class AdaBN(Alignment):
    """Adaptive batch normalisation: the statistics of the source are replaced by those of the target.

    No weight is trained. Li et al. 2017, "Revisiting Batch Normalization for Practical Domain Adaptation".
    """

    starts_from_source = True
    moves_features = False

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        require(encoder)

    def fit(self, adapter: Any, pairs: Pairs, **options: Any) -> keras.callbacks.History:
        adapt_statistics(adapter.encoder, pairs.target, pairs.batch_size)
        history = keras.callbacks.History()
        history.history, history.epoch = {}, []
        return history


class TENT(AdaBN):
    """Test-time entropy minimisation: scale and offset of the normalisation learn to make predictions sure.

    Only target inputs are used, normalised by their own batch, at a tenth of the step size. Wang et al. 2021,
    "Tent: Fully Test-Time Adaptation by Entropy Minimization".
    """

    def fit(self, adapter: Any, pairs: Pairs, **options: Any) -> keras.callbacks.History:
        adapt_statistics(adapter.encoder, pairs.target, pairs.batch_size)
        norms = normalizations(adapter.encoder)
        network = keras.Sequential([adapter.encoder, adapter.last])
        with adapter.learning(*norms, share=0.1):
            network.compile(adapter.optimizer, loss=lambda _, p: ops.mean(entropy(p)))
            options.pop("validation_data", None)  # the loss of labelled images is another one
            return network.fit(TargetOnly(pairs), shuffle=False, **options)


class TargetOnly(keras.utils.PyDataset):
    """The target's batches of pairs, with zeros for the labels that a loss has to be given."""

    def __init__(self, pairs: Pairs) -> None:
        super().__init__()
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Any, np.ndarray]:
        inputs, *_ = self.pairs[index]
        return inputs["target"], np.zeros(len(inputs["target"]), "int32")

    def on_epoch_end(self) -> None:
        self.pairs.on_epoch_end()


def adapt_statistics(network: keras.Model, inputs: Any, batch_size: int = 32, *, frozen: bool = True) -> None:
    """Set mean and variance of every BatchNormalization to those of these inputs, averaged over batches.

    Args:
        network: its weights stay as they are; other layers act as in prediction.
        inputs: `(n, ...)`, without labels.
        batch_size: examples of which the statistics are taken at a time.
        frozen: those of frozen layers too.

    Raises:
        TlkitError: the network has no BatchNormalization.
    """
    norms = [norm for norm in require(network) if frozen or norm.trainable]
    others = [layer for layer in leaves(network) if isinstance(layer, keras.layers.Dropout)]
    before = [(layer, layer.momentum, layer.trainable) for layer in norms]
    rates = [(layer, layer.rate) for layer in others]
    try:
        for layer, _ in rates:
            layer.rate = 0.0
        for layer in norms:
            layer.trainable = True
        for step in range(math.ceil(len(inputs) / batch_size)):
            for layer in norms:  # the k-th batch counts 1 / k: the plain mean over all of them
                layer.momentum = 1.0 - 1.0 / (step + 1)
            network(inputs[step * batch_size : (step + 1) * batch_size], training=True)
    finally:
        for layer, momentum, trainable in before:
            layer.momentum, layer.trainable = momentum, trainable
        for layer, rate in rates:
            layer.rate = rate


def require(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the BatchNormalization layers of a network that must have some."""
    norms = normalizations(network)
    if not norms:
        raise TlkitError(
            f"{network.name} has no BatchNormalization whose statistics could be adapted. Use a backbone "
            "that has some, such as EfficientNetLite0 or LeNetBN, a head with a bottleneck, or another "
            "method."
        )
    return norms
