"""Test-time adaptation: a classifier that learns from the stream of unlabelled images that it predicts."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit._internal.registry import resolve
from tlkit.backbones.structure import functional, output_activation
from tlkit.data.labelled import fits
from tlkit.errors import DataError, TlkitError
from tlkit.models import cut_last, normalizations, without_augmentation
from tlkit.techniques.domain_adaptation.methods import STREAM_METHODS
from tlkit.techniques.domain_adaptation.normalization import require
from tlkit.techniques.domain_adaptation.streams.methods import StreamMethod, StreamStatistics
from tlkit.techniques.domain_adaptation.streams.statistics import Statistics, follow, measure

WINDOW = 64  # images after which the predictions are checked for a collapse
LEAST = 0.25  # of the classes that the start uses on the same images


class StreamAdapter:
    """Predict a stream of unlabelled images batch by batch, and adapt the classifier to it.

    Use it for a deployed classifier whose images have changed: another camera, other light, noise. Every
    method except `"none"` normalises by statistics of the source and the stream together. The statistics of
    the source start with the weight of `source_examples` images. When a batch arrives, everything before it
    has at most the weight of `memory` images. The batch itself is included before it is predicted, so it can
    be a single image. Schneider et al. 2020, "Improving robustness against common corruptions by covariate
    shift adaptation", proposed this for a single batch.

    Give `source` if BatchNormalization was frozen in training (`tlkit.train` freezes it in pretrained
    backbones), or if you do not know. The statistics of a frozen layer are not those of the source, and
    without `source` the adaptation can destroy the classifier.

    Adaptation can cost accuracy where the classifier already copes with the change and the images come
    sorted by class; then shuffle them over a longer time, raise `source_examples`, or use `"none"`. On
    streams of 200 digits, no gain of TENT, EATA or SAR over `"statistics"` was found; CoTTA was not measured
    (`benchmarks/test_time_adaptation.py`).

    Methods that train weights are checked after every 64 images. If the predictions have lost most of the
    classes that the initial classifier predicts on the same images, the initial state is restored, with its
    statistics. It is also restored as soon as a prediction is not finite.

    To predict without adapting, call `adapter.model.predict(images)`.

    Args:
        classifier: a functional or `Sequential` model with class probabilities or logits as its output. It
            does not change. Layers such as dropout act as in prediction.
        method: a name in `STREAM_METHODS` (`tlkit adapt --list` explains each), or an instance, such as
            `SAR(learning_rate=1e-3)`.
        source: unlabelled images as the classifier was trained on, `(n, height, width, 3)`, values 0 to 255,
            in random order. About a hundred are enough. EATA needs them in any case.
        source_examples: weight of the source statistics at the start, at least 0, in images.
        memory: the largest weight of everything before a batch, at least 0, in images. With a smaller one,
            the adapter forgets faster.

    Attributes:
        model: the adapted classifier, a plain Keras model from images to class probabilities. It can be saved
            at any time; a loaded one no longer adapts.
        recoveries: number of collapses since the start.

    Raises:
        TlkitError: the classifier gives neither probabilities nor logits, or has no layer that the method
            adapts; EATA has no `source`; or `source_examples` or `memory` is negative.
        UnknownNameError: no method has this name.

    >>> from tlkit import build_classifier
    >>> adapter = StreamAdapter(build_classifier("LeNetBN", classes=10, weights=None), "statistics")
    >>> adapter.predict(np.zeros((1, 28, 28, 3), "uint8")).shape
    (1, 10)
    >>> adapter.reset()
    """

    def __init__(
        self,
        classifier: keras.Model,
        method: StreamMethod | str = "statistics",
        *,
        source: Any = None,
        source_examples: float = 64,
        memory: float = 256,
    ) -> None:
        cut_last(classifier)  # raises if it gives neither probabilities nor logits
        self.method = resolve(STREAM_METHODS, method, StreamMethod, "method")
        if self.method.needs_source and (source is None or not len(source)):
            raise TlkitError(
                f"{type(self.method).__name__} needs unlabelled images of the source. Give source=images, "
                "such as a hundred of those that the classifier was trained on, or use method='sar'."
            )
        if min(source_examples, memory) < 0:
            raise TlkitError(
                f"source_examples={source_examples} and memory={memory} were given; expected numbers of "
                "images, at least 0."
            )
        network, copy = _probabilities(classifier), _probabilities(classifier)
        if isinstance(self.method, StreamStatistics):
            require(network)
        self.method.prepare(network, copy, source)
        self._stream = _Stream(self.method, source, source_examples, memory)
        self._stream.compile(self.method.optimizer())
        self._stream.optimizer.build(self._stream.trainable_variables)
        self._start = self._state()
        self.recoveries = 0
        self._window: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def model(self) -> keras.Model:
        return self.method.predictor

    def predict(self, images: Any) -> np.ndarray:
        """Predict a batch of images, then learn from it.

        Args:
            images: `(n, height, width, 3)`, values 0 to 255. The order matters, since each batch changes the
                classifier.

        Returns:
            float32 `(n, classes)`: class probabilities.

        Raises:
            DataError: the images do not fit the classifier.
        """
        x, expected = np.asarray(images, "float32"), tuple(self.model.inputs[0].shape[1:])
        if not len(x) or not fits(x.shape[1:], expected):
            raise DataError(f"The batch has shape {x.shape}; expected (n, {', '.join(map(str, expected))}).")
        answers = self._stream.predict_on_batch(x)
        if not self.method.steps:
            return answers
        if self._collapsed(x, answers):
            self._restore(self._start)
            self.recoveries += 1
            return self._stream.predict_on_batch(x)
        for _ in range(self.method.steps):
            self._stream.train_on_batch(x, answers)
        self.method.after(len(x))
        return answers

    def reset(self) -> None:
        """Restore the start: weights, statistics, optimizer, random numbers, and the count of recoveries."""
        self._restore(self._start)
        self.recoveries = 0
        self._window = []

    def _collapsed(self, x: np.ndarray, answers: np.ndarray) -> bool:
        """Return whether the predictions have lost most of the classes that the start predicts."""
        if not np.isfinite(answers).all():
            return True
        self._window.append((x, answers.argmax(axis=1)))
        images, found = map(np.concatenate, zip(*self._window, strict=True))
        if len(images) < WINDOW:
            return False
        self._window = []
        used, classes = classes_used(found), answers.shape[1]
        if used > min(classes, WINDOW) / 2 + 0.5:
            return False
        now = self._state()
        self._restore(self._start)
        before = classes_used(self._stream.predict_on_batch(images).argmax(axis=1))
        self._restore(now)
        return bool(used - 1 < LEAST * (before - 1) and before - used > 0.5)

    def _variables(self) -> list[Any]:
        return [*self._stream.variables, *self._stream.optimizer.variables]

    def _state(self) -> list[np.ndarray]:
        return [ops.convert_to_numpy(each).copy() for each in self._variables()]

    def _restore(self, state: list[np.ndarray]) -> None:
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)


class _Stream(keras.Model):
    """The networks of a method: `predict_on_batch` updates the statistics, `train_on_batch` the weights."""

    def __init__(self, method: StreamMethod, source: Any, source_examples: float, memory: float) -> None:
        super().__init__(dtype="float32", name="stream")
        self.method, self.source_examples, self.memory = method, source_examples, memory
        norms = normalizations(method.predictor) if method.follows else []
        self.statistics = [Statistics(norm) for norm in norms]
        if source is not None and norms:
            measure(method.predictor, self.statistics, source)
        self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False, name="seen")

    def call(self, images: Any, training: bool = False) -> Any:
        if training:
            return self.method.network(images, training=False)
        n = ops.cast(ops.shape(images)[0], "float32")
        share = n / (ops.minimum(self.source_examples + self.seen, self.memory) + n)
        self.seen.assign(self.seen + n)
        return self.method.answer(images, follow(self.method.predictor, self.statistics, images, share))

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **options: Any) -> Any:
        return self.method.loss(y, y_pred)


def classes_used(labels: np.ndarray) -> float:
    """Return the effective number of classes among some labels: exp of the entropy of their frequencies.

    >>> classes_used(np.array([0, 0, 2, 2])), classes_used(np.array([1, 1, 1, 1]))
    (2.0, 1.0)
    """
    _, counts = np.unique(labels, return_counts=True)
    p = counts / counts.sum()
    return float(round(np.exp(-(p * np.log(p)).sum()), 9))


def _probabilities(classifier: keras.Model) -> keras.Model:
    """Return a copy of a classifier without augmentation that gives class probabilities."""
    network = functional(without_augmentation(classifier))
    copied = keras.models.clone_model(network)
    copied.set_weights(network.get_weights())
    for value in (False, True):  # assigning the old value has no effect on inner layers
        copied.trainable = value
    if output_activation(network) == "linear":
        outputs = keras.layers.Softmax(dtype="float32", name="probabilities")(copied.outputs[0])
        copied = keras.Model(copied.inputs[0], outputs, name=copied.name)
    return copied
