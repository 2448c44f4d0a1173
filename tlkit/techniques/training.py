"""Shared parts of all trainers: compile settings, losses, class weights and early stopping."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops
from sklearn.utils.class_weight import compute_class_weight

from tlkit import callbacks as callbacks_
from tlkit import optimizers
from tlkit.backbones.structure import output_activation
from tlkit.errors import TlkitError, TlkitWarning

# the attributes of a model that `compile` sets
COMPILED = (
    *("optimizer", "loss", "compiled", "steps_per_execution", "_compile_loss", "_compile_metrics"),
    *("_compile_config", "_compiled_trainable_state", "_loss_tracker", "_jit_compile", "_run_eagerly"),
    "stop_training",
)
MISSING = object()
COMPILE_OPTIONS = (
    *("metrics", "weighted_metrics", "loss_weights", "run_eagerly", "steps_per_execution", "jit_compile"),
    "auto_scale_loss",
)


def replica_fraction() -> Any:
    """Return the factor by which Keras scales losses on each replica: 1 without a distribution.

    >>> float(replica_fraction())
    1.0
    """
    return keras.losses.MeanAbsoluteError()(ops.zeros((1, 1)), ops.ones((1, 1)))


def check_divisible(batch_size: int, **sizes: int) -> None:
    """Check that all devices of `keras.distribution` get equally many examples of each batch.

    Keras fails only at the first uneven batch, when the model has already lost its weights.

    Args:
        batch_size: examples per step, over all devices.
        sizes: numbers of examples, by the names of the data.

    Raises:
        TlkitError: the batch size or a number of examples is not a multiple of the number of devices.

    >>> check_divisible(32, train=100)  # one device
    """
    distribution = keras.distribution.distribution()
    devices = 1 if distribution is None else distribution.device_mesh.shape[0]
    if batch_size % devices:
        raise TlkitError(
            f"batch_size={batch_size} was given, but {devices} devices train together; expected a multiple "
            f"of {devices}, such as {-(-batch_size // devices) * devices}."
        )
    for name, size in sizes.items():
        if size % devices:
            raise TlkitError(
                f"{name} has {size} examples, so the last batch of {size % batch_size} cannot be divided "
                f"evenly among {devices} devices. Use a multiple of {devices} examples, such as "
                f"{name}.subset(slice({size // devices * devices}))."
            )


def make_state(
    model: keras.Model, labels: np.ndarray | None = None, output_shape: tuple[Any, ...] = ()
) -> None:
    """Create the variables of optimizer and metrics, which `fit` would otherwise create in its first step.

    TensorFlow traces a step twice if the step creates variables, and tracing a deep network takes seconds.

    Args:
        model: a compiled model.
        labels: class indices `(n,)`, to build the metrics of `compile`; only the first label is used.
        output_shape: shape of the predictions that the metrics compare with the labels, `(None, classes)`.

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> make_state(model, np.zeros(8, int), model.output_shape)
    >>> model.optimizer.built, model.metrics[1].built
    (True, True)
    """
    model.optimizer.build(model.trainable_variables)
    if labels is not None:
        model.compute_metrics(None, labels[:1], ops.zeros((1, *output_shape[1:])), None)
        model.reset_metrics()


class Settings:
    """The compile settings of a training: the user's, else those of the model, else defaults.

    Args:
        model: the classifier. An optimizer that it was compiled with is replaced by a new one with the same
            settings, so its own state does not change.
        labels: training labels: class indices `(n,)`, or one-hot or soft labels `(n, classes)`.
        default: a function from a learning rate to the default optimizer.
        default_rate: learning rate of the default optimizer if the user sets none.
        learning_rate: learning rate set by the user; it selects the default optimizer, even if the model was
            compiled with another one.
        optimizer, loss, options: set by the user, as for `compile`.
        callbacks: callbacks of the user; those that set the learning rate need an optimizer without a
            schedule.

    Attributes:
        optimizer: the optimizer of the training.
        loss: the loss; it expects logits if the output activation of the model is linear.
        one_hot: whether the loss needs one-hot labels instead of class indices.
        options: further arguments of `compile`.

    Raises:
        TlkitError: a loss cannot be chosen, or a callback cannot set the learning rate.
    """

    def __init__(
        self,
        model: keras.Model,
        labels: np.ndarray,
        default: Callable[[float], keras.optimizers.Optimizer],
        default_rate: float,
        *,
        learning_rate: float | None = None,
        optimizer: Any = None,
        loss: Any = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        own = compiled_with(model)
        if optimizer is not None and learning_rate is not None:
            raise TlkitError(
                "Both optimizer= and learning_rate= were given. Pass the learning rate to the optimizer, "
                "such as optimizer=keras.optimizers.Adam(1e-4)."
            )
        if optimizer is None and learning_rate is None and "optimizer" in own:
            optimizer = optimizers.fresh(own["optimizer"])
        setters = callbacks_.sets_learning_rate(callbacks)
        if optimizer is None:
            rate = default_rate if learning_rate is None else learning_rate
            optimizers.check_rate(rate)
            # a callback that sets the learning rate replaces the schedule
            self.optimizer = keras.optimizers.Adam(rate) if setters else default(rate)
        else:
            self.optimizer = _optimizer(optimizer)
        self.loss = loss_for(model, labels, own.get("loss") if loss is None else loss)
        self.options = {"metrics": [_accuracy(model)], **own, **(options or {})}
        if own and "metrics" not in own and "metrics" not in (options or {}):
            self.options["metrics"] = []  # as the model was compiled
        for name in ("optimizer", "loss"):
            self.options.pop(name, None)
        self.one_hot = needs_one_hot(self.loss)
        _check_metrics(self.options["metrics"], self.one_hot)
        if setters and not optimizers.settable_learning_rate(self.optimizer):
            raise TlkitError(
                f"{setters[0]} cannot set the learning rate of an optimizer with a learning rate schedule. "
                "Use an optimizer without a schedule, such as optimizer=keras.optimizers.Adam(1e-3), or omit "
                "the callback."
            )

    def compile(self, model: keras.Model, **options: Any) -> None:
        """Compile a model with these settings."""
        model.compile(self.optimizer, self.loss, **{**self.options, **options})


def _accuracy(model: keras.Model) -> Any:
    """Return the accuracy metric of a classifier; the threshold of a single logit is 0 instead of 0.5."""
    one_logit = model.outputs[0].shape[-1] == 1 and output_activation(model) == "linear"
    return keras.metrics.BinaryAccuracy("accuracy", threshold=0.0) if one_logit else "accuracy"


def _check_metrics(metrics: Any, one_hot: bool) -> None:
    names = [each if isinstance(each, str) else type(each).__name__ for each in keras.tree.flatten(metrics)]
    sparse = [name for name in names if name.lower().startswith("sparse")]
    if one_hot and sparse:
        raise TlkitError(
            f"The loss needs one-hot labels, but the metric {sparse[0]} needs class indices. Use "
            "metrics=['accuracy'], or the sparse cross-entropy as the loss."
        )


def check_trainable(model: keras.Model) -> None:
    """Raise TlkitError if a model has no trainable variables."""
    if not model.trainable_variables:
        raise TlkitError(
            f"{model.name!r} has no trainable variables. Set model.trainable = True, which sets all its "
            "layers; then choose the trainable layers with freeze, unfreeze or from_stage=."
        )


def steps_of(fitting: Mapping[str, Any], epochs: int, n: int, batch_size: int) -> int:
    """Return the number of steps of a whole training.

    Args:
        fitting: arguments of `fit`; `steps_per_epoch`, `initial_epoch` and `validation_split` are used.
        epochs: the epoch at which the training ends.
        n: number of examples; or number of batches, with a `batch_size` of 1.
        batch_size: examples per step.
    """
    fraction = 1 - fitting.get("validation_split", 0.0)
    per_epoch = fitting.get("steps_per_epoch") or -(-int(n * fraction) // batch_size)
    return max(1, (epochs - fitting.get("initial_epoch", 0)) * per_epoch)


def compile_and_fit_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split options into arguments of `compile` and arguments of `fit`; `verbose` is 0 by default."""
    compiling = {name: each for name, each in options.items() if name in COMPILE_OPTIONS}
    return compiling, {"verbose": 0} | {name: each for name, each in options.items() if name not in compiling}


def shows_progress(fitting: Mapping[str, Any]) -> bool:
    """Whether arguments of `fit` turn the progress bar on."""
    return fitting["verbose"] not in (0, "0")


def _optimizer(optimizer: Any) -> keras.optimizers.Optimizer:
    try:
        found = keras.optimizers.get(optimizer)
    except ValueError as error:
        raise TlkitError(
            f"optimizer={optimizer!r} was given; expected a keras.optimizers.Optimizer or its name, such as "
            "'adam', as for compile."
        ) from error
    return optimizers.fresh(found) if found.built else found  # it may be built for other variables


def compiled_with(model: keras.Model) -> dict[str, Any]:
    """Return the arguments that a model was compiled with, except None; {} if it is not compiled."""
    config = getattr(model, "_compile_config", None) if model.compiled else None
    return {} if config is None else {name: each for name, each in config.config.items() if each is not None}


NAMED_LOSSES = {
    "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
    "categorical_focal_crossentropy": keras.losses.CategoricalFocalCrossentropy,
    "binary_crossentropy": keras.losses.BinaryCrossentropy,
}


def loss_for(model: keras.Model, labels: np.ndarray, loss: Any = None) -> Any:
    """Return the loss of a classifier, for logits if its output activation is linear.

    Args:
        model: a model from images or features to class probabilities or logits.
        labels: class indices `(n,)`, or one-hot or soft labels `(n, classes)`.
        loss: as for `compile`. The name of a cross-entropy becomes a loss for logits if the model outputs
            logits; any other loss is returned unchanged. None selects the cross-entropy that fits the labels
            and the output activation.

    Raises:
        TlkitError: no loss was given and the output activation is neither softmax, sigmoid nor linear; or
            soft labels do not sum to 1.

    Warns:
        TlkitWarning: the loss expects probabilities but the model outputs logits, or the reverse.

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> loss_for(model, np.array([0, 2])).from_logits
    True
    """
    activation, classes = output_activation(model), model.outputs[0].shape[-1]
    if loss is None:
        if activation not in ("softmax", "sigmoid", "linear"):
            raise TlkitError(
                f"{model.name!r} has the output activation {activation!r}, which has no default loss. Set "
                "loss=, as for compile."
            )
        vectors = labels.ndim > 1 and labels.shape[-1] == classes > 1
        binary = classes == 1 or (vectors and activation == "sigmoid")
        kind = "binary" if binary else "categorical" if vectors else "sparse_categorical"
        if vectors and not binary and labels.size and not np.allclose(labels.sum(axis=-1), 1, atol=1e-3):
            raise TlkitError(
                "Some labels do not sum to 1 over the classes, so an image may be of several classes. Use "
                f"loss=keras.losses.BinaryCrossentropy(from_logits={activation == 'linear'}), with one "
                "sigmoid per class, or correct the labels."
            )
        loss = f"{kind}_crossentropy"
    if callable(loss) and getattr(loss, "__name__", "") in NAMED_LOSSES:
        loss = loss.__name__  # a function such as keras.losses.categorical_crossentropy
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", loss).lower() if isinstance(loss, str) else ""
    if snake in NAMED_LOSSES:
        return NAMED_LOSSES[snake](from_logits=activation == "linear")
    expects = getattr(loss, "from_logits", None)
    if expects is not None and expects != (activation == "linear"):
        outputs = "logits" if activation == "linear" else f"probabilities ({activation})"
        warnings.warn(
            f"{model.name!r} outputs {outputs}, but {type(loss).__name__} has from_logits={expects}, so "
            f"training will hardly improve the model. Set from_logits={not expects}.",
            TlkitWarning,
            stacklevel=3,
        )
    return loss


def needs_one_hot(loss: Any) -> bool:
    """Whether a loss needs one-hot labels instead of class indices."""
    return isinstance(loss, keras.losses.CategoricalCrossentropy | keras.losses.CategoricalFocalCrossentropy)


@contextmanager
def compile_state_kept(*models: keras.Model) -> Iterator[None]:
    """Restore the compile state of models at the end of a block, also after an error or Ctrl-C.

    Inside the block, the models may be compiled and trained. Their weights keep the trained values.
    """
    before = [{name: vars(model).get(name, MISSING) for name in COMPILED} for model in models]
    try:
        yield
    finally:
        for model, state in zip(models, before, strict=True):
            if getattr(model, "_jax_state", None):  # after an interrupted fit, it holds the newest variables
                model.jax_state_sync()
                model._jax_state = None
            for name, value in state.items():
                if value is MISSING:
                    vars(model).pop(name, None)
                else:
                    vars(model)[name] = value
            # they were traced for the trainable variables of the block; Keras makes them again
            model.train_function = model.test_function = model.predict_function = None


def early_stopping(
    validation: Any, patience: int, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> list[keras.callbacks.Callback]:
    """Return a callback that stops training when the validation loss no longer falls.

    It restores the weights of the best epoch.

    Args:
        validation: the validation data. Without any (None), no callback is returned.
        patience: number of epochs without a lower validation loss.
        callbacks: callbacks of the user; an `EarlyStopping` among them replaces this one.
    """
    if validation is None or any(isinstance(each, keras.callbacks.EarlyStopping) for each in callbacks):
        return []
    return [keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True)]


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Convert class indices `(n,)` to float32 one-hot labels `(n, classes)`.

    Labels that are `(n, classes)` already are returned unchanged.

    >>> one_hot(np.array([0, 2]), 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if labels.ndim > 1 and labels.shape[-1] > 1:
        return labels
    return np.eye(classes, dtype="float32")[labels.ravel().astype(int)]


def class_weights(class_weight: Any, labels: np.ndarray | None) -> dict[int, float] | None:
    """Return the weight of each class in the loss.

    Args:
        class_weight: a dictionary by class index, None, or `"balanced"`, which gives all classes the same
            total weight.
        labels: labels of all examples, class indices or one-hot; needed for `"balanced"`.

    Raises:
        TlkitError: `class_weight` is something else, or `"balanced"` without labels of one class each.

    >>> class_weights("balanced", np.array([0, 0, 0, 0, 1]))
    {0: 0.625, 1: 2.5}
    """
    if class_weight is None or isinstance(class_weight, Mapping):
        return None if class_weight is None else dict(class_weight)
    if class_weight != "balanced":
        raise TlkitError(
            f"class_weight={class_weight!r} was given; expected 'balanced', or the weight of each class by "
            "its index, such as {0: 1.0, 1: 3.0}."
        )
    if labels is None:
        raise TlkitError(
            "class_weight='balanced' needs all labels before training, but the labels of these batches are "
            "not known in advance. Pass a Split or arrays, or set the weights: {0: 1.0, 1: 3.0}."
        )
    if labels.ndim > 1 and labels.shape[-1] > 1:
        if not np.allclose(labels.sum(axis=-1), 1, atol=1e-3):
            raise TlkitError(
                "class_weight='balanced' needs one class for each image, but some images have several. Omit "
                "it, or use sample weights."
            )
        labels = labels.argmax(axis=-1)
    classes = np.unique(labels)
    balanced = compute_class_weight("balanced", classes=classes, y=labels.ravel())
    return dict(zip(classes.tolist(), balanced.tolist(), strict=True))
