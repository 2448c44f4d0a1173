"""What all trainings share: what they are compiled with, and how a model gets its own state back."""

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

# what `compile` sets on a model
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


def replica_share() -> Any:
    """Return the part of a loss of 1 that Keras gives to each replica of a distribution; 1 without one.

    >>> float(replica_share())
    1.0
    """
    return keras.losses.MeanAbsoluteError()(ops.zeros((1, 1)), ops.ones((1, 1)))


def check_shares(batch_size: int, **sizes: int) -> None:
    """Raise before training where the devices of `keras.distribution` cannot share every batch evenly.

    Keras finds that out at the first uneven batch, and the model has lost its weights by then.

    Args:
        batch_size: examples in a step, of all devices together.
        sizes: number of examples by name, such as that of a split.

    >>> check_shares(32, train=100)  # one device
    """
    distribution = keras.distribution.distribution()
    devices = 1 if distribution is None else distribution.device_mesh.shape[0]
    if batch_size % devices:
        raise TlkitError(
            f"batch_size is {batch_size}, which {devices} devices cannot share evenly; give a multiple of "
            f"{devices}, such as {-(-batch_size // devices) * devices}."
        )
    for name, size in sizes.items():
        if size % devices:
            raise TlkitError(
                f"{name} has {size} examples; of the last batch of {size % batch_size} the {devices} devices "
                f"cannot have the same number each. Give a multiple of {devices}, such as "
                f"{name}.subset(slice({size // devices * devices}))."
            )


def make_state(
    model: keras.Model, labels: np.ndarray | None = None, output_shape: tuple[Any, ...] = ()
) -> None:
    """Make the variables of optimizer and metrics, which `fit` else makes within its first step.

    TensorFlow traces a step twice in which variables appear, and that of a deep network takes seconds.

    Args:
        model: a compiled model.
        labels: for metrics given to `compile`: class indices `(n,)`, of which the first is looked at.
        output_shape: of what the metrics compare with the labels, `(None, classes)`.

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
    """What a training is compiled with: what was given, else what the model was compiled with, else defaults.

    Args:
        model: the classifier. An optimizer that it was compiled with is not used itself, but a new one of the
            same settings: the other one stays as it is.
        labels: of the training, class indices `(n,)` or rows `(n, classes)`.
        default: makes the optimizer of a learning rate, where there is none.
        rate: the learning rate of the default optimizer, where none is given.
        learning_rate: was given for the default optimizer, which so comes before the model's own.
        optimizer, loss, options: what was given, as for `compile`.
        callbacks: those that set the learning rate need an optimizer without a schedule.

    Attributes:
        optimizer: the optimizer of the training.
        loss: the loss; logits are told by the activation of the model's output.
        rows: whether the loss compares rows of classes, and not class indices.
        options: further arguments of `compile`.

    Raises:
        TlkitError: a loss cannot be chosen, or a callback cannot set the learning rate.
    """

    def __init__(
        self,
        model: keras.Model,
        labels: np.ndarray,
        default: Callable[[float], keras.optimizers.Optimizer],
        rate: float,
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
                "optimizer= and learning_rate= were given. Give the learning rate to the optimizer, such as "
                "optimizer=keras.optimizers.Adam(1e-4)."
            )
        if optimizer is None and learning_rate is None and "optimizer" in own:
            optimizer = optimizers.fresh(own["optimizer"])
        setters = callbacks_.sets_learning_rate(callbacks)
        if optimizer is None:
            rate = rate if learning_rate is None else learning_rate
            # a callback that sets the learning rate takes the place of the schedule
            self.optimizer = keras.optimizers.Adam(rate) if setters else default(rate)
        else:
            self.optimizer = _optimizer(optimizer)
        self.loss = loss_for(model, labels, own.get("loss") if loss is None else loss)
        self.options = {"metrics": [_accuracy(model)], **own, **(options or {})}
        if own and "metrics" not in own and "metrics" not in (options or {}):
            self.options["metrics"] = []  # as the model was compiled
        for name in ("optimizer", "loss"):
            self.options.pop(name, None)
        self.rows = needs_rows(self.loss)
        _check_metrics(self.options["metrics"], self.rows)
        if setters and not optimizers.settable_learning_rate(self.optimizer):
            raise TlkitError(
                f"{setters[0]} cannot set the learning rate of an optimizer that follows a schedule. Give an "
                "optimizer without one, such as optimizer=keras.optimizers.Adam(1e-3), or leave the callback "
                "out."
            )

    def compile(self, model: keras.Model, **options: Any) -> None:
        """Compile a model with these settings."""
        model.compile(self.optimizer, self.loss, **{**self.options, **options})


def _accuracy(model: keras.Model) -> Any:
    """Return the accuracy of a classifier; that of a single logit is right above 0, and not above 0.5."""
    one_logit = model.outputs[0].shape[-1] == 1 and output_activation(model) == "linear"
    return keras.metrics.BinaryAccuracy("accuracy", threshold=0.0) if one_logit else "accuracy"


def _check_metrics(metrics: Any, rows: bool) -> None:
    names = [each if isinstance(each, str) else type(each).__name__ for each in keras.tree.flatten(metrics)]
    sparse = [name for name in names if name.lower().startswith("sparse")]
    if rows and sparse:
        raise TlkitError(
            f"The loss compares rows of classes, and the metric {sparse[0]} class indices. Give "
            "metrics=['accuracy'], or the sparse cross-entropy as the loss."
        )


def check_learns(model: keras.Model) -> None:
    """Raise TlkitError where nothing in a model can learn."""
    if not model.trainable_variables:
        raise TlkitError(
            f"Nothing in {model.name!r} can learn. Set model.trainable = True, which sets all its layers; "
            "freeze, unfreeze and from_stage= then choose among them."
        )


def steps_of(fitting: Mapping[str, Any], epochs: int, n: int, batch_size: int) -> int:
    """Return the number of steps of a whole training.

    Args:
        fitting: arguments of `fit`, of which `steps_per_epoch`, `initial_epoch` and `validation_split` count.
        epochs: the epoch at which the training ends.
        n: number of examples; or of batches, with a `batch_size` of 1.
        batch_size: examples in a step.
    """
    rest = 1 - fitting.get("validation_split", 0.0)
    per_epoch = fitting.get("steps_per_epoch") or -(-int(n * rest) // batch_size)
    return max(1, (epochs - fitting.get("initial_epoch", 0)) * per_epoch)


def divided(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide further arguments into those of `compile` and those of `fit`; `verbose` is 0 by default."""
    compiling = {name: each for name, each in options.items() if name in COMPILE_OPTIONS}
    return compiling, {"verbose": 0} | {name: each for name, each in options.items() if name not in compiling}


def shows_progress(fitting: Mapping[str, Any]) -> bool:
    """Whether the arguments of a `fit` ask for progress."""
    return fitting["verbose"] not in (0, "0")


def _optimizer(given: Any) -> keras.optimizers.Optimizer:
    try:
        optimizer = keras.optimizers.get(given)
    except ValueError as error:
        raise TlkitError(
            f"optimizer={given!r} was given; expected a keras.optimizers.Optimizer or its name, such as "
            "'adam', as for compile."
        ) from error
    return optimizers.fresh(optimizer) if optimizer.built else optimizer  # built for other variables


def compiled_with(model: keras.Model) -> dict[str, Any]:
    """Return the arguments that a model was compiled with, those that are not None; {} if it was not."""
    config = getattr(model, "_compile_config", None) if model.compiled else None
    return {} if config is None else {name: each for name, each in config.config.items() if each is not None}


NAMED_LOSSES = {
    "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
    "categorical_focal_crossentropy": keras.losses.CategoricalFocalCrossentropy,
    "binary_crossentropy": keras.losses.BinaryCrossentropy,
}


def loss_for(model: keras.Model, labels: np.ndarray, loss: Any = None) -> Any:
    """Return the loss of a classifier; whether it gives logits is told by the activation of its output.

    Args:
        model: images, or features, to class probabilities or logits.
        labels: class indices `(n,)`, or rows `(n, classes)`.
        loss: as for `compile`. A cross-entropy given by its name becomes the one for logits where the model
            gives logits; anything else is returned as it is. None chooses the cross-entropy that fits.

    Raises:
        TlkitError: none was given, and the activation is neither softmax, sigmoid nor linear.

    Warns:
        TlkitWarning: the loss expects probabilities and the model gives logits, or the other way round.

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> loss_for(model, np.array([0, 2])).from_logits
    True
    """
    activation, classes = output_activation(model), model.outputs[0].shape[-1]
    if loss is None:
        if activation not in ("softmax", "sigmoid", "linear"):
            raise TlkitError(
                f"{model.name!r} ends with the activation {activation!r}, for which there is no usual loss. "
                "Give loss=, as for compile."
            )
        rows = labels.ndim > 1 and labels.shape[-1] == classes > 1
        binary = classes == 1 or (rows and activation == "sigmoid")
        kind = "binary" if binary else "categorical" if rows else "sparse_categorical"
        if rows and not binary and labels.size and not np.allclose(labels.sum(axis=-1), 1, atol=1e-3):
            raise TlkitError(
                "The rows of labels do not sum to 1, so an image may be of several classes. Give "
                f"loss=keras.losses.BinaryCrossentropy(from_logits={activation == 'linear'}), with one "
                "sigmoid for each class, or correct the labels."
            )
        loss = f"{kind}_crossentropy"
    if callable(loss) and getattr(loss, "__name__", "") in NAMED_LOSSES:
        loss = loss.__name__  # the function of that name
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", loss).lower() if isinstance(loss, str) else ""
    if snake in NAMED_LOSSES:
        return NAMED_LOSSES[snake](from_logits=activation == "linear")
    expects = getattr(loss, "from_logits", None)
    if expects is not None and expects != (activation == "linear"):
        gives = "logits" if activation == "linear" else f"probabilities ({activation})"
        warnings.warn(
            f"{model.name!r} gives {gives}, and {type(loss).__name__} was made with from_logits={expects}, "
            f"so it will hardly learn. Give from_logits={not expects}.",
            TlkitWarning,
            stacklevel=3,
        )
    return loss


def needs_rows(loss: Any) -> bool:
    """Whether a loss compares rows of classes, and not class indices."""
    return isinstance(loss, keras.losses.CategoricalCrossentropy | keras.losses.CategoricalFocalCrossentropy)


@contextmanager
def compile_state_kept(*models: keras.Model) -> Iterator[None]:
    """Let models be compiled within the block; afterwards they are compiled as they were, or not at all.

    That holds after an error and after Ctrl-C, too. What they learned stays.
    """
    before = [{name: vars(model).get(name, MISSING) for name in COMPILED} for model in models]
    try:
        yield
    finally:
        for model, state in zip(models, before, strict=True):
            if getattr(model, "_jax_state", None):  # an interrupted fit: the variables are still in its hands
                model.jax_state_sync()
                model._jax_state = None
            for name, value in state.items():
                if value is MISSING:
                    vars(model).pop(name, None)
                else:
                    vars(model)[name] = value
            # traced with the variables that could learn then; Keras makes them anew
            model.train_function = model.test_function = model.predict_function = None


def early_stopping(
    validation: Any, patience: int, given: Sequence[keras.callbacks.Callback] = ()
) -> list[keras.callbacks.Callback]:
    """Stop when the validation loss no longer falls, and take the best epoch's weights back.

    Args:
        validation: None where there are no validation data: then nothing stops early.
        patience: epochs without a lower validation loss.
        given: callbacks of the user; an `EarlyStopping` among them replaces this one.
    """
    if validation is None or any(isinstance(each, keras.callbacks.EarlyStopping) for each in given):
        return []
    return [keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True)]


def rows_of_classes(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return class indices `(n,)` as float32 rows `(n, classes)` of 0 and 1; rows are returned as they are.

    >>> rows_of_classes(np.array([0, 2]), 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if labels.ndim > 1 and labels.shape[-1] > 1:
        return labels
    return np.eye(classes, dtype="float32")[labels.ravel().astype(int)]


def class_weights(given: Any, labels: np.ndarray | None) -> dict[int, float] | None:
    """Return the weight of each class in the loss.

    Args:
        given: a dictionary by class index, None, or `"balanced"`, by which every class counts alike.
        labels: class indices of all examples; needed for `"balanced"`.

    Raises:
        TlkitError: it is something else, or the labels are not known before the training.

    >>> class_weights("balanced", np.array([0, 0, 0, 0, 1]))
    {0: 0.625, 1: 2.5}
    """
    if given is None or isinstance(given, Mapping):
        return None if given is None else dict(given)
    if given != "balanced":
        raise TlkitError(
            f"class_weight={given!r} was given; expected 'balanced', or the weight of each class by its "
            "index, such as {0: 1.0, 1: 3.0}."
        )
    if labels is None:
        raise TlkitError(
            "class_weight='balanced' needs all labels before the training, and batches tell them one by one. "
            "Give a Split or arrays, or the weights: {0: 1.0, 1: 3.0}."
        )
    if labels.ndim > 1 and labels.shape[-1] > 1:
        if not np.allclose(labels.sum(axis=-1), 1, atol=1e-3):
            raise TlkitError(
                "class_weight='balanced' needs one class for each image, and some rows of labels have "
                "several. Leave it out, or give sample weights."
            )
        labels = labels.argmax(axis=-1)
    classes = np.unique(labels)
    balanced = compute_class_weight("balanced", classes=classes, y=labels.ravel())
    return dict(zip(classes.tolist(), balanced.tolist(), strict=True))
