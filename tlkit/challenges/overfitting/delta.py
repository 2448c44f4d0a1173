"""DELTA: keep the feature maps, not the weights, near those of the pretrained network."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit import backbones
from tlkit.challenges.overfitting.parts import learner_for, reassembled, with_outputs
from tlkit.data import Split
from tlkit.errors import TlkitError, UnknownNameError
from tlkit.models import backbone_of
from tlkit.techniques.continual_learning.new_classes import copied
from tlkit.techniques.training import replica_fraction


def feature_distance(start: Any, now: Any, attention: Any = None) -> Any:
    """Return the distance between feature maps: `d / 2 * sum_j W_j mean (now_j - start_j)^2`, 0 or more.

    The mean is over examples and spatial positions; W are the weights of the d channels and sum to 1.

    Li et al. 2019, "DELTA: Deep Learning Transfer using Feature Map with Attention for Convolutional
    Networks". The factor d and the mean over positions follow the authors' code and make layers of different
    sizes comparable. The authors' code sums over the batch; this function takes the mean.

    Args:
        start, now: `(n, ..., d)`; `start` is treated as a constant.
        attention: W, `(d,)`; equal weights by default.

    >>> float(feature_distance(ops.zeros((2, 4, 4, 3)), ops.ones((2, 4, 4, 3))))
    1.5
    """
    d = now.shape[-1]
    squares = ops.square(ops.cast(now, "float32") - ops.stop_gradient(ops.cast(start, "float32")))
    each = ops.mean(squares, axis=list(range(len(now.shape) - 1)))
    weights = ops.full((d,), 1.0 / d) if attention is None else ops.convert_to_tensor(attention, "float32")
    return 0.5 * d * ops.sum(weights * each)


class DELTA(keras.Model):
    """A learner that fine-tunes a classifier and keeps its feature maps near their current values.

    The training loss is the compiled loss plus `strength` times the sum of `feature_distance` over the
    stages. A frozen copy of the backbone computes the reference maps. The learner shares its layers with the
    classifier, so training the learner trains the classifier. Save the classifier. The paper also adds plain
    L2 regularisation of the head's weights.

    Li et al. 2019, see `feature_distance`.

    Args:
        classifier: a model made by `build_classifier` or `attach_head`.
        strength: weight of the distance, at least 0.
        stages: stages whose outputs are kept near the start; all but the first by default.
        attention: weights of the channels by stage, see `channel_attention`; equal weights by default.

    Raises:
        TlkitError: `strength` is below 0.
        UnknownNameError: there is no such stage.

    >>> from tlkit.models import build_classifier
    >>> DELTA(build_classifier("LeNet", classes=10, weights=None)).stages
    ['conv2', 'dense']
    """

    def __init__(
        self,
        classifier: keras.Model,
        strength: float = 0.1,
        *,
        stages: Sequence[str] | None = None,
        attention: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        if strength < 0:
            raise TlkitError(f"strength={strength} was given; expected a number of at least 0, such as 0.1.")
        backbone = backbone_of(classifier)
        held = _held(backbone, stages)
        near = NearFeatures(
            with_outputs(copied(backbone), held.values()),
            strength,
            [(attention or {}).get(stage) for stage in held],
            name="near_features",
        )
        body = with_outputs(backbone, held.values())

        def run(images: Any) -> Any:
            *maps, features = body(images)
            return near([features, images, *maps])

        inputs, outputs = reassembled(classifier, backbone=run)
        super().__init__(inputs=inputs, outputs=outputs, name=classifier.name)
        learner_for(classifier, self)
        self.stages = list(held)


class NearFeatures(keras.Layer):
    """Return the features unchanged, and add the distance of the feature maps to the training loss."""

    def __init__(
        self, start: keras.Model, strength: float, attention: Sequence[np.ndarray | None], **options: Any
    ) -> None:
        super().__init__(**options)
        self.start, self.strength, self.attention = start, strength, list(attention)
        self.start.trainable = False

    def call(self, inputs: Sequence[Any], training: bool = False) -> Any:
        features, images, *maps = inputs
        if training:
            *kept, _ = self.start(images, training=False)
            distances = [feature_distance(*each) for each in zip(kept, maps, self.attention, strict=True)]
            self.add_loss(replica_fraction() * self.strength * sum(distances))
        return features

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]


def channel_attention(
    model: keras.Model,
    split: Split,
    *,
    stages: Sequence[str] | None = None,
    examples: int = 32,
    softness: float = 5.0,
) -> dict[str, np.ndarray]:
    """Return the importance of each channel of each stage for the classifier, as weights for DELTA.

    The importance of a channel depends on the loss of the classifier with this channel set to 0. The losses
    of a stage are standardised, divided by `softness` and passed through a softmax, as in the authors' code.
    For every channel `examples` images run through the layers above the stage: about half a minute for
    EfficientNetLite0.

    Li et al. 2019, see `feature_distance`. They set the filter of the channel to 0; this function sets the
    output of the stage to 0.

    Args:
        model: a classifier with a trained head that outputs probabilities.
        split: labelled images; a sample of them is drawn with a fixed seed.
        stages: names of the stages; all but the first by default.
        examples: size of the sample, at least 1.
        softness: above 0; larger values make the weights more equal.

    Returns:
        Stage to float32 `(d,)`, weights above 0 that sum to 1.

    Raises:
        TlkitError: the layers above a stage need more than the output of that stage.
        UnknownNameError: there is no such stage.
    """
    chosen = np.random.default_rng(0).permutation(len(split))[:examples]
    part = split.subset(np.sort(chosen))
    backbone = backbone_of(model)
    found = {}
    for stage, name in _held(backbone, stages).items():
        whole = with_outputs(backbone, [name])
        stage_input = keras.Input(whole.outputs[0].shape[1:])
        features = _above(whole, stage)(stage_input)
        _, outputs = reassembled(model, backbone=lambda _, features=features: features)  # type: ignore[misc]
        tail = keras.Model(stage_input, outputs)
        maps, _ = whole.predict(part.images[:], verbose=0)
        losses = _losses_without(tail, maps, part.labels)
        rise = (losses - losses.mean()) / max(losses.std(), 1e-12) / softness
        weights = np.exp(rise - rise.max())
        found[stage] = (weights / weights.sum()).astype("float32")
    return found


def _losses_without(tail: keras.Model, maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    losses = []
    for channel in range(maps.shape[-1]):
        kept = maps[..., channel].copy()
        maps[..., channel] = 0.0
        likelihood = tail.predict_on_batch(maps)[np.arange(len(labels)), labels]
        losses.append(-np.log(np.maximum(likelihood, 1e-7)).mean())
        maps[..., channel] = kept
    return np.array(losses)


def _held(backbone: keras.Model, stages: Sequence[str] | None) -> dict[str, str]:
    """Return the name of the last layer of each stage."""
    last = {stage: layers[-1].name for stage, layers in backbones.stages(backbone).items()}
    for stage in stages or ():
        if stage not in last:
            raise UnknownNameError(f"stage of {backbone.name}", stage, last)
    return {stage: last[stage] for stage in stages or list(last)[1:]}


def _above(whole: keras.Model, stage: str) -> Callable[[Any], Any]:
    cut, output = whole.outputs
    if cut is output:
        return lambda maps: maps
    try:
        return keras.Model(cut, output)
    except ValueError as error:
        raise TlkitError(
            f"The part above stage {stage!r} of {whole.name} needs more than its output. Choose other "
            "stages, or omit attention, so that all channels have equal weights."
        ) from error
