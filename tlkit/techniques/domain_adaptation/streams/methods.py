"""How a classifier learns from a stream of unlabelled images: one class for each method."""

import math
from typing import Any

import keras
from keras import ops

from tlkit.errors import TlkitError
from tlkit.models import flat_layers
from tlkit.techniques.domain_adaptation.predictions import entropy
from tlkit.techniques.domain_adaptation.streams.gradients import SharpnessAware, fisher_information

BATCH = 64  # losses and moving averages count per image, such that 64 images act as one batch of the papers
AFFINE = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)


class StreamMethod(keras.Layer):
    """A method of test-time adaptation, and the networks that it uses. `StreamAdapter` runs it.

    Args:
        learning_rate: of gradient descent without momentum.

    Attributes:
        follows: BatchNormalization uses statistics of the stream.
        steps: optimizer steps for each batch.
        needs_source: `prepare` reads unlabelled source images.
    """

    follows = True
    steps = 1
    needs_source = False

    def __init__(self, learning_rate: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.learning_rate, self.built = learning_rate, True

    @property
    def predictor(self) -> keras.Model:
        """The network whose predictions are returned; it is built like the one that learns."""
        return self.network

    def prepare(self, network: keras.Model, copy: keras.Model, source: Any) -> None:
        """Choose what is trained.

        Args:
            network: images to class probabilities, all layers trainable. The method trains it.
            copy: the same network with weights of its own, for methods that need a second one.
            source: unlabelled source images `(n, height, width, 3)`, or None.
        """
        self.network = network
        norms = [layer for layer in flat_layers(network) if isinstance(layer, AFFINE)]
        learns = {id(each) for norm in norms for each in norm.trainable_variables}
        if self.steps and not learns:
            raise TlkitError(
                f"{network.name} has no normalisation with a scale or an offset to train. Use a backbone "
                "with BatchNormalization, LayerNormalization or GroupNormalization, or method='cotta'."
            )
        for variable in network.trainable_variables:
            variable.trainable = id(variable) in learns

    def optimizer(self) -> keras.optimizers.Optimizer:
        """Return the optimizer of the stream."""
        return keras.optimizers.SGD(self.learning_rate)

    def answer(self, images: Any, probabilities: Any) -> Any:
        """Return what is predicted for a batch, given the probabilities of `predictor`."""
        return probabilities

    def loss(self, answers: Any, probabilities: Any) -> Any:
        """Return the loss of a batch, a scalar.

        Args:
            answers: what was predicted before this step, `(n, classes)`.
            probabilities: of the network that learns, `(n, classes)`.
        """
        raise NotImplementedError

    def after(self, n: int) -> None:
        """Update what is not trained, after the steps on a batch of `n` images."""


class NoAdaptation(StreamMethod):
    """The classifier as it is."""

    follows = False
    steps = 0


class StreamStatistics(StreamMethod):
    """Normalise by statistics of the stream; no weight is trained. See `StreamAdapter`."""

    steps = 0


class StreamTENT(StreamMethod):
    """Minimise the entropy of all predictions by the scale and offset of normalisation layers.

    Wang et al. 2021, "Tent: Fully Test-Time Adaptation by Entropy Minimization".
    """

    def __init__(self, learning_rate: float = 1e-2, **options: Any) -> None:
        super().__init__(learning_rate, **options)

    def loss(self, answers: Any, probabilities: Any) -> Any:
        return ops.sum(entropy(probabilities)) / BATCH


class SAR(StreamMethod):
    """Minimise the entropy of reliable predictions where the loss is flat.

    A prediction is reliable if its entropy is below `margin * log(classes)`. First, the weights move by
    `radius` in the direction of steepest ascent. The gradient is then computed from the predictions that are
    still reliable there (sharpness-aware minimisation). All normalisation layers are trained, also those of
    the last stage, which the paper leaves out. For the recovery, see `StreamAdapter`.

    Niu et al. 2023, "Towards Stable Test-Time Adaptation in Dynamic Wild World".

    Args:
        learning_rate: see `StreamMethod`.
        margin: entropy below which a prediction is reliable, as a fraction of the largest one, 0 to 1.
        radius: length of the first step, rho in the paper.
    """

    steps = 2

    def __init__(
        self, learning_rate: float = 1e-2, margin: float = 0.4, radius: float = 0.05, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.margin, self.radius = margin, radius

    def optimizer(self) -> keras.optimizers.Optimizer:
        return SharpnessAware(self.learning_rate, radius=self.radius)

    def loss(self, answers: Any, probabilities: Any) -> Any:
        limit, uncertain = self.margin * math.log(answers.shape[-1]), entropy(probabilities)
        reliable = ops.logical_and(entropy(answers) < limit, uncertain < limit)
        return ops.sum(ops.cast(reliable, "float32") * uncertain) / BATCH


class EATA(StreamMethod):
    """Minimise the entropy of reliable and diverse predictions, without forgetting the source.

    An example counts if its entropy is below `margin * log(classes)`, and if the cosine of its prediction
    with the moving average of earlier ones is below `similarity / sqrt(classes)`. Examples of lower entropy
    have a larger weight. The penalty `penalty * sum(F * (w - start)^2)` keeps weights near their start if the
    source predictions depend on them. The diagonal Fisher information F is measured on unlabelled source
    images.

    Niu et al. 2022, "Efficient Test-Time Model Adaptation without Forgetting".

    Args:
        learning_rate: see `StreamMethod`.
        margin: see `SAR`.
        similarity: threshold of the cosine, times sqrt(classes); the paper's 0.4 for 10 classes and 0.05 for
            1000 are about 1.3 and 1.6.
        penalty: weight of the penalty, beta in the paper.
    """

    needs_source = True

    def __init__(
        self,
        learning_rate: float = 1e-2,
        margin: float = 0.4,
        similarity: float = 1.3,
        penalty: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.margin, self.similarity, self.weight_of_penalty = margin, similarity, penalty

    def prepare(self, network: keras.Model, copy: keras.Model, source: Any) -> None:
        super().prepare(network, copy, source)
        shape = network.output_shape[-1:]
        self.average = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="average")
        self.start = [ops.convert_to_numpy(each).copy() for each in network.trainable_variables]
        self.fisher = fisher_information(network, source)

    def penalty(self) -> Any:
        """Return `sum(F * (w - start)^2)`, a scalar."""
        terms = zip(self.fisher, self.network.trainable_variables, self.start, strict=True)
        return sum(ops.sum(each * ops.square(now - start)) for each, now, start in terms)

    def loss(self, answers: Any, probabilities: Any) -> Any:
        classes = answers.shape[-1]
        limit, uncertain = self.margin * math.log(classes), entropy(probabilities)
        p = ops.stop_gradient(probabilities)
        cosine = ops.matmul(ops.normalize(p), ops.normalize(self.average[None])[0])
        diverse = cosine < self.similarity / math.sqrt(classes)
        chosen = ops.cast(ops.logical_and(uncertain < limit, diverse), "float32")
        self._remember(p, chosen)
        weights = ops.stop_gradient(chosen * ops.exp(limit - uncertain))
        part = ops.cast(ops.shape(p)[0], "float32") / BATCH
        return ops.sum(weights * uncertain) / BATCH + self.weight_of_penalty * part * self.penalty()

    def _remember(self, p: Any, chosen: Any) -> None:
        """Move the average prediction towards those that are chosen: by a tenth for 64 of them."""
        n = ops.sum(chosen)
        mean = ops.sum(chosen[:, None] * p, axis=0) / ops.maximum(n, 1.0)
        moved = 1.0 - ops.power(0.9, n / BATCH)
        share = ops.where(ops.sum(self.average) > 0, moved, ops.minimum(n, 1.0))  # all at the first time
        self.average.assign(self.average + share * (mean - self.average))
