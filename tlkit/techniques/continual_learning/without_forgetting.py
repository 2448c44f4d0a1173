"""Learning without forgetting: new labels teach, and the model as it was before teaches too."""

import random
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.backbones.structure import output_activation
from tlkit.callbacks import saving
from tlkit.data.batches import Batches
from tlkit.data.images import ImageFiles
from tlkit.data.labelled import Labelled, labelled
from tlkit.errors import DataError, TlkitError
from tlkit.models import cut_last
from tlkit.optimizers import fresh
from tlkit.techniques.continual_learning.new_classes import copied
from tlkit.techniques.learners import Learner
from tlkit.techniques.training import (
    compile_state_kept,
    compiled_with,
    loss_for,
    make_state,
    replica_share,
)

TINY = 1e-30  # keeps a logarithm finite; its reciprocal is a float32 still
MASKED = -100.0  # the logarithm of a probability that is 0 in float32
OF_INDICES = keras.losses.SparseCategoricalCrossentropy
OF_ROWS = keras.losses.CategoricalCrossentropy, keras.losses.CategoricalFocalCrossentropy


def distillation(teacher: Any, student: Any, temperature: float = 2.0) -> Any:
    """Return how far the student's answers are from the teacher's: KL divergence of softened probabilities.

    With p of the teacher and q of the student, both raised to 1/T and normalised:
    T^2 * mean over the examples of sum_i p_i log(p_i / q_i). The factor keeps the gradients' size when T
    changes. 0 where both are alike.

    Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network".

    Args:
        teacher, student: probabilities `(n, k)`, or a part of their columns: they are normalised here.
        temperature: T above 0; a large one heeds the small probabilities too.

    >>> p = ops.convert_to_tensor([[0.7, 0.2, 0.1]])
    >>> float(distillation(p, p)), bool(distillation(p, p[:, ::-1]) > 0.1)
    (0.0, True)
    """
    if temperature <= 0:
        raise TlkitError(f"temperature={temperature} was given; expected a number above 0, such as 2.")
    log_p, log_q = (
        ops.log_softmax(ops.log(ops.maximum(ops.cast(each, "float32"), TINY)) / temperature)
        for each in (teacher, student)
    )
    return temperature**2 * ops.mean(ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1))


@keras.saving.register_keras_serializable("tlkit")
class LearningWithoutForgetting(Learner):
    """Teach a classifier new classes while it goes on answering as its teacher did about the old ones.

    The loss on each batch of new examples is the compiled one plus `strength` times the `distillation` of the
    teacher's answers about the old classes; no old example is needed. The classifier learns in place and
    stays a plain Keras model: save it, or let `ModelCheckpoint` do so. The learner itself is saved to go on
    training.

    Li & Hoiem 2016, "Learning without Forgetting".

    Args:
        classifier: a model of `add_classes`, probabilities or logits `(n, old + new)`; train its new outputs
            first, with the backbone frozen, as the paper does.
        teacher: the model before, `(n, old)`: probabilities if the classifier gives them, else logits. A
            frozen copy is kept.
        strength: weight of the distillation.
        temperature: see `distillation`.
        separate: let the new classes compete among themselves alone, like the separate outputs of the paper.
            In one softmax over all, labels of new classes alone push every old output down. Set it to `False`
            for a training set that has old examples too, see `rehearse`.

    Raises:
        TlkitError: the two models do not fit, or give neither probabilities nor logits.

    >>> from tlkit.models import build_classifier
    >>> from tlkit.techniques.continual_learning import add_classes
    >>> old = build_classifier("LeNet", classes=5, weights=None)
    >>> learner = LearningWithoutForgetting(add_classes(old, 5), teacher=old)
    >>> learner.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> images, labels = np.zeros((8, 28, 28, 3), "uint8"), np.full(8, 7)
    >>> sorted(learner.fit(images, labels, verbose=0).history)
    ['accuracy', 'distillation_loss', 'loss']
    """

    def __init__(
        self,
        classifier: keras.Model,
        teacher: keras.Model,
        *,
        strength: float = 1.0,
        temperature: float = 2.0,
        separate: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        _, last = cut_last(classifier)
        _, old = cut_last(teacher)
        advice = "Make the classifier of the teacher: add_classes(teacher, classes)."
        asked, told = (tuple(each.inputs[0].shape[1:]) for each in (classifier, teacher))
        if asked != told:
            raise TlkitError(f"The teacher takes inputs {told}, the classifier {asked}. {advice}")
        if old.units >= last.units:
            raise TlkitError(
                f"The teacher has {old.units} classes, the classifier {last.units}: none is new. {advice}"
            )
        ends = output_activation(classifier)
        if output_activation(teacher) != ends:
            raise TlkitError(
                f"The classifier ends with the activation {ends!r}, the teacher with another one; expected "
                f"softmax of both, or linear, which gives logits. {advice}"
            )
        self.gives_logits = ends == "linear"
        self.classifier = classifier
        self.teacher = copied(teacher)
        self.teacher.trainable = False
        self.old, self.all = old.units, last.units
        self.strength, self.temperature, self.separate = strength, temperature, separate
        self.distillation_loss = keras.metrics.Mean("distillation_loss")
        self.built = True  # all variables exist

    @property
    def layers(self) -> list[keras.Layer]:
        """What learns, and what `tlkit.reinitialize` starts anew: the teacher is no part of it."""
        return [self.classifier]

    def compile(self, optimizer: Any = "adam", loss: Any = None, **settings: Any) -> None:
        """Set optimizer, loss and metrics as in Keras.

        A cross-entropy given by its name is the one for logits where the classifier gives logits. With no
        loss, `fit` takes the cross-entropy that fits the labels.
        """
        if loss is not None:
            loss = loss_for(self.classifier, np.zeros(0, int), loss)
        super().compile(optimizer, loss, **settings)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.classifier(inputs, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        competing = y_pred = ops.cast(y_pred, "float32")
        old, new = y_pred[:, : self.old], y_pred[:, self.old :]
        if self.separate and self.gives_logits:
            competing = ops.concatenate([ops.full_like(old, MASKED), ops.log_softmax(new)], axis=-1)
        elif self.separate:
            new = new / ops.maximum(ops.sum(new, axis=-1, keepdims=True), TINY)
            competing = ops.concatenate([ops.zeros_like(old), new], axis=-1)
        taught = ops.cast(ops.stop_gradient(self.teacher(x, training=False)), "float32")
        if self.gives_logits:
            taught, old = ops.softmax(taught), ops.softmax(old)
        forgotten = distillation(taught, old, self.temperature)
        self.distillation_loss.update_state(forgotten)
        supervised = super().compute_loss(x, y, competing, sample_weight, training)
        return supervised + replica_share() * self.strength * forgotten

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *,
        validation_data: Any = None,
        callbacks: Any = (),
        batch_size: int = 32,
        **options: Any,
    ) -> keras.callbacks.History:
        """Train as Keras does; labels are numbered as the outputs are, the old classes first.

        Args:
            x: images `(n, height, width, 3)`; or a split; or batches of `(images, labels)`: a
                `tf.data.Dataset`, a `keras.utils.PyDataset` or a PyTorch `DataLoader`.
            y: class indices `(n,)`, or rows `(n, classes)`, where `x` has no labels itself.
            validation_data: further ones, also as arrays `(images, labels)`.
            callbacks, options: as in Keras. A `ModelCheckpoint` saves the classifier. A learner that was not
                compiled takes the settings of the classifier, or else Adam, the cross-entropy that fits and
                the accuracy.
            batch_size: images in a step, where no batches are given.

        Raises:
            DataError: images or labels do not fit the classifier, or are of old classes with
                `separate=True`; of batches the first one is looked at.
        """
        data = self._labelled(x if y is None else (x, y), "x", new_alone=self.separate)
        held_out = None if validation_data is None else self._labelled(validation_data, "validation_data")
        shown = _given(data, batch_size, shuffle=True)
        validation = None if held_out is None else _given(held_out, batch_size)
        if data.weights is not None:
            options.setdefault("sample_weight", data.weights)
        with compile_state_kept(self.classifier):
            self.classifier.compile(**compiled_with(self))  # as a checkpoint will have it
            for model in (self, self.classifier):
                make_state(model, data.labels, self.classifier.output_shape)
            return super().fit(
                *shown[:2],
                validation_data=validation[0] if validation and len(validation) == 1 else validation,
                callbacks=saving(callbacks, self.classifier),
                batch_size=batch_size,
                **options,
            )

    def evaluate(self, x: Any = None, y: Any = None, **options: Any) -> Any:
        """Measure as Keras does; images and labels as for `fit`."""
        if "_use_cached_eval_dataset" in options:  # called by `fit`, which has looked at them
            return super().evaluate(x, y, **options)
        data = self._labelled(x if y is None else (x, y), "x")
        shown = _given(data, options.setdefault("batch_size", 32))
        if data.weights is not None:
            options.setdefault("sample_weight", data.weights)
        return super().evaluate(*shown[:2], **options)

    def _labelled(self, given: Any, name: str, new_alone: bool = False) -> Labelled:
        """Look at data, compile for them if nobody has, and raise DataError where they do not fit."""
        data = labelled(given, name)
        data.check(self.classifier)
        if not self.compiled or self.loss is None:
            own = compiled_with(self)
            if not own and (own := compiled_with(self.classifier)):
                own["optimizer"] = fresh(own["optimizer"])
            own = own or {"metrics": ["accuracy"]}
            self.compile(**own | {"loss": loss_for(self.classifier, data.labels, own.get("loss"))})
        labels = np.asarray(data.labels if data.all_labels is None else data.all_labels)
        rows = labels.ndim > 1 and labels.shape[-1] > 1
        if isinstance(self.loss, OF_INDICES if rows else OF_ROWS):
            raise DataError(
                f"The labels of {name} have shape {labels.shape}, which {type(self.loss).__name__} cannot "
                "compare. Give class indices (n,) to the sparse cross-entropy, and rows (n, classes) to the "
                f"other: keras.utils.to_categorical(labels, {self.all})."
            )
        indices = labels.argmax(axis=-1) if rows else labels
        if new_alone and indices.size and indices.min() < self.old:
            raise DataError(
                f"Labels from {indices.min()} to {indices.max()} were given; expected {self.old} to "
                f"{self.all - 1}, since 0 to {self.old - 1} are the old classes. To train on old examples "
                "too: separate=False."
            )
        return data


def _given(data: Labelled, batch_size: int, shuffle: bool = False) -> tuple[Any, ...]:
    """Return data as Keras takes them: images, labels and, where there are some, weights; or batches."""
    if data.batches is not None:
        return (data.batches,)
    if isinstance(data.images, ImageFiles):
        seed = random.getrandbits(31)  # follows keras.utils.set_random_seed
        return (Batches(data.images, data.labels, batch_size, shuffle, seed),)
    return (data.images, data.labels) if data.weights is None else (data.images, data.labels, data.weights)
