"""Learning without forgetting: train on new classes, with distillation from the old model."""

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
    needs_one_hot,
    replica_fraction,
)

TINY = 1e-30  # keeps a logarithm finite; its reciprocal is still a finite float32
MASKED = -100.0  # the logarithm of a probability that is 0 in float32


def distillation(teacher: Any, student: Any, temperature: float = 2.0) -> Any:
    """Return the KL divergence between the softened predictions of a teacher and a student.

    Let p be the probabilities of the teacher and q those of the student, both raised to 1/T and normalised.
    The loss is T^2 * mean over the examples of sum_i p_i log(p_i / q_i). The factor T^2 keeps the scale of
    the gradients independent of T. The loss is 0 if the predictions are equal.

    Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network".

    Args:
        teacher, student: probabilities `(n, k)`, or some of their columns; each row is normalised here.
        temperature: T, above 0. A larger T gives more weight to small probabilities.

    Returns:
        A scalar, at least 0.

    Raises:
        TlkitError: the temperature is not above 0.

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
    """Train a classifier on new classes while its predictions for the old classes stay close to a teacher's.

    The loss on each batch of new examples is the compiled loss plus `strength` times the `distillation` loss
    of the old classes. No old examples are needed. The classifier is trained in place and remains a plain
    Keras model: save it, or let `ModelCheckpoint` save it. Save the learner itself to resume training.

    Li & Hoiem 2016, "Learning without Forgetting".

    Args:
        classifier: a model made by `add_classes`, with probabilities or logits `(n, old + new)` as output. As
            in the paper, train its new outputs first, with the backbone frozen.
        teacher: the model before new classes were added, with output `(n, old)`: probabilities or logits,
            like the classifier. The learner keeps a frozen copy of it.
        strength: weight of the distillation loss.
        temperature: see `distillation`.
        separate: apply the softmax to the new classes only, like the separate outputs of the paper. With one
            softmax over all classes, labels of new classes lower every old output. Set it to `False` if the
            training set also contains old examples; see `rehearse`.

    Raises:
        TlkitError: the two models do not fit together, or output neither probabilities nor logits.

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
        advice = "Make the classifier from the teacher: add_classes(teacher, classes)."
        shape, teacher_shape = (tuple(each.inputs[0].shape[1:]) for each in (classifier, teacher))
        if shape != teacher_shape:
            raise TlkitError(f"The teacher takes inputs {teacher_shape}, the classifier {shape}. {advice}")
        if old.units >= last.units:
            raise TlkitError(
                f"The teacher has {old.units} classes and the classifier {last.units}, so no class is new. "
                f"{advice}"
            )
        activation = output_activation(classifier)
        if output_activation(teacher) != activation:
            raise TlkitError(
                f"The classifier has the output activation {activation!r}, but the teacher another one; "
                f"expected softmax for both, or linear (logits) for both. {advice}"
            )
        self.outputs_logits = activation == "linear"
        self.classifier = classifier
        self.teacher = copied(teacher)
        self.teacher.trainable = False
        self.old_classes, self.classes = old.units, last.units
        self.strength, self.temperature, self.separate = strength, temperature, separate
        self.distillation_loss = keras.metrics.Mean("distillation_loss")
        self.built = True  # all variables exist

    @property
    def layers(self) -> list[keras.Layer]:
        """The layers that are trained, and that `tlkit.reinitialize` resets: all but the teacher."""
        return [self.classifier]

    def compile(self, optimizer: Any = "adam", loss: Any = None, **settings: Any) -> None:
        """Set optimizer, loss and metrics as in Keras.

        The name of a cross-entropy selects its version for logits if the classifier outputs logits. Without a
        loss, `fit` selects the cross-entropy that fits the labels.
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
        old, new = y_pred[:, : self.old_classes], y_pred[:, self.old_classes :]
        if self.separate and self.outputs_logits:
            competing = ops.concatenate([ops.full_like(old, MASKED), ops.log_softmax(new)], axis=-1)
        elif self.separate:
            new = new / ops.maximum(ops.sum(new, axis=-1, keepdims=True), TINY)
            competing = ops.concatenate([ops.zeros_like(old), new], axis=-1)
        teacher = ops.cast(ops.stop_gradient(self.teacher(x, training=False)), "float32")
        if self.outputs_logits:
            teacher, old = ops.softmax(teacher), ops.softmax(old)
        distilled = distillation(teacher, old, self.temperature)
        self.distillation_loss.update_state(distilled)
        supervised = super().compute_loss(x, y, competing, sample_weight, training)
        return supervised + replica_fraction() * self.strength * distilled

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
        """Train as Keras does. Class indices follow the order of the outputs, old classes first.

        Args:
            x: images `(n, height, width, 3)`; or a split; or batches of `(images, labels)`: a
                `tf.data.Dataset`, a `keras.utils.PyDataset` or a PyTorch `DataLoader`.
            y: class indices `(n,)` or one-hot labels `(n, classes)`, unless `x` contains the labels.
            validation_data: validation images and labels, of the same kinds or as arrays `(images, labels)`.
            callbacks, options: as in Keras. A `ModelCheckpoint` saves the classifier. If the learner is not
                compiled, it uses the compile settings of the classifier, or else Adam, the cross-entropy that
                fits and the accuracy.
            batch_size: images per step, unless `x` consists of batches.

        Returns:
            Keras's history, with `distillation_loss`.

        Raises:
            DataError: images or labels do not fit the classifier, or labels are of old classes with
                `separate=True`. Only the first of several batches is checked.
        """
        data = self._labelled(x if y is None else (x, y), "x", only_new=self.separate)
        held_out = None if validation_data is None else self._labelled(validation_data, "validation_data")
        inputs = _arguments(data, batch_size, shuffle=True)
        validation = None if held_out is None else _arguments(held_out, batch_size)
        if data.weights is not None:
            options.setdefault("sample_weight", data.weights)
        with compile_state_kept(self.classifier):
            self.classifier.compile(**compiled_with(self))  # the compile state that a checkpoint saves
            for model in (self, self.classifier):
                make_state(model, data.labels, self.classifier.output_shape)
            return super().fit(
                *inputs[:2],
                validation_data=validation[0] if validation and len(validation) == 1 else validation,
                callbacks=saving(callbacks, self.classifier),
                batch_size=batch_size,
                **options,
            )

    def evaluate(self, x: Any = None, y: Any = None, **options: Any) -> Any:
        """Evaluate as Keras does; images and labels as for `fit`."""
        if "_use_cached_eval_dataset" in options:  # called by `fit`, which has checked the data
            return super().evaluate(x, y, **options)
        data = self._labelled(x if y is None else (x, y), "x")
        inputs = _arguments(data, options.setdefault("batch_size", 32))
        if data.weights is not None:
            options.setdefault("sample_weight", data.weights)
        return super().evaluate(*inputs[:2], **options)

    def _labelled(self, examples: Any, name: str, only_new: bool = False) -> Labelled:
        """Return checked data, and compile the learner for these data if it is not compiled yet."""
        data = labelled(examples, name)
        data.check(self.classifier)
        if not self.compiled or self.loss is None:
            own = compiled_with(self)
            if not own and (own := compiled_with(self.classifier)):
                own["optimizer"] = fresh(own["optimizer"])
            own = own or {"metrics": ["accuracy"]}
            self.compile(**own | {"loss": loss_for(self.classifier, data.labels, own.get("loss"))})
        labels = np.asarray(data.labels if data.all_labels is None else data.all_labels)
        one_hot = labels.ndim > 1 and labels.shape[-1] > 1
        sparse = isinstance(self.loss, keras.losses.SparseCategoricalCrossentropy)
        mismatch = sparse if one_hot else needs_one_hot(self.loss)
        if mismatch:
            raise DataError(
                f"The labels of {name} have shape {labels.shape}, which does not fit "
                f"{type(self.loss).__name__}. The sparse cross-entropy expects class indices (n,), and the "
                f"other one-hot labels (n, classes): keras.utils.to_categorical(labels, {self.classes})."
            )
        indices = labels.argmax(axis=-1) if one_hot else labels
        if only_new and indices.size and indices.min() < self.old_classes:
            raise DataError(
                f"Labels from {indices.min()} to {indices.max()} were given; expected {self.old_classes} to "
                f"{self.classes - 1}, since 0 to {self.old_classes - 1} are the old classes. To train on old "
                "examples too, set separate=False."
            )
        return data


def _arguments(data: Labelled, batch_size: int, shuffle: bool = False) -> tuple[Any, ...]:
    """Return the data arguments of Keras: images, labels and, if there are any, weights; or batches."""
    if data.batches is not None:
        return (data.batches,)
    if isinstance(data.images, ImageFiles):
        seed = random.getrandbits(31)  # follows keras.utils.set_random_seed
        return (Batches(data.images, data.labels, batch_size, shuffle, seed),)
    return (data.images, data.labels) if data.weights is None else (data.images, data.labels, data.weights)
