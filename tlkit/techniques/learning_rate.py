"""Learning-rate range test: find a learning rate before training, by raising it until the loss diverges."""

import math
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit.errors import TlkitError, TlkitWarning
from tlkit.techniques.fine_tuning import BATCH_SIZE, fine_tune
from tlkit.techniques.training import COMPILE_OPTIONS

FEWEST_STEPS = 20
SECTIONS = 10  # the running average covers about a tenth of the steps
DIVERGED = 4.0  # ratio to the lowest loss at which the test stops, as in fastai
BELOW_LOWEST = 10.0  # ratio of the rate of the lowest loss to the suggestion


@dataclass(frozen=True, eq=False)
class LearningRates:
    """The result of a learning-rate range test; `tlkit.plots.learning_rate` draws it.

    Attributes:
        rates: float `(steps,)`, the learning rate of each step, rising; it ends where the loss diverged.
        losses: float `(steps,)`, the training loss of the batch of each step, before its update.
        smoothed: float `(steps,)`, the running average of `losses`. It lags behind them by about a tenth of
            the test.
        suggestion: the suggested learning rate: a tenth of `lowest_loss_rate`.
        lowest_loss_rate: the learning rate at which the smoothed loss is lowest.
        steepest_rate: the learning rate at which the smoothed loss falls fastest.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float
    lowest_loss_rate: float
    steepest_rate: float


def find_learning_rate(
    model: keras.Model,
    train: Any,
    *,
    from_stage: str | None = None,
    fraction: float | None = None,
    batch_norm: bool = False,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    batch_size: int = BATCH_SIZE,
    optimizer: Any = None,
    loss: Any = None,
    depth_decay: float = 1.0,
    **options: Any,
) -> LearningRates:
    """Suggest a learning rate for `fine_tune`: raise it step by step, and stop if the loss diverges.

    Smith 2017, "Cyclical Learning Rates for Training Neural Networks". The learning rate rises exponentially.
    The test stops when the smoothed loss exceeds both its starting level and 4 times its lowest value, or
    when the loss is not finite. Afterwards, the weights, the trainable layers, the compile state and the
    random state of Python, NumPy and PyTorch are as they were before, also after an error or Ctrl-C.

    The suggestion is a tenth of the learning rate of the lowest smoothed loss. The rate at the lowest loss is
    itself usually too high for a whole training. This is the rule `minimum` of fastai. Its rule `steep`, the
    steepest descent, varies more with the noise of single batches; its rule `valley`, the middle of the
    longest descent, suggests smaller learning rates.

    The suggestion is a starting point, not an optimum. Also try a third of it and three times it, and compare
    all three on validation data. It is for a constant learning rate or for the peak of a schedule, such as
    `fine_tune(learning_rate=)`, and for this batch size, these trainable layers and this optimizer.

    Test a model with an untrained head. A head of `train_head` or `solve_head` already fits the training
    images, so the loss hardly falls and the test raises an error.

    Args:
        model: a classifier, as for `fine_tune`.
        train: labelled images, as for `fine_tune`. If there are fewer batches than steps, they are repeated.
        from_stage, fraction, batch_norm: the layers to train, as for `fine_tune`.
        lowest, highest: the learning rates of the first and the last step.
        steps: number of batches to train on, at least 20. The running average covers a tenth of them.
        batch_size: examples per step; batches such as a `tf.data.Dataset` keep their size.
        optimizer: as for `fine_tune`; a copy is used, and its learning rate or schedule is replaced. By
            default Adam, which `fine_tune(learning_rate=)` uses even if the model was compiled with another
            optimizer.
        loss: as for `fine_tune`.
        depth_decay: ratio of the learning rate of each stage to that of the stage above it. The suggestion is
            the learning rate of the head.
        options: further arguments of `compile`, and `class_weight` and `verbose` of `fit`. Metrics are not
            computed.

    Returns:
        The learning rates, the losses and the suggestion; `tlkit.plots.learning_rate` draws them.

    Raises:
        TlkitError: the loss did not fall, or was not finite from the start; `lowest`, `highest` or `steps` is
            out of range; an option is not one of those above; otherwise as for `fine_tune`.

    Warns:
        TlkitWarning: the loss was still falling at `highest`.

    >>> labels = np.arange(400) % 4
    >>> images = np.broadcast_to(20 * labels[:, None, None, None], (400, 8, 8, 3)).astype("uint8")
    >>> keras.utils.set_random_seed(0)
    >>> layers = [keras.layers.Flatten(), keras.layers.Dense(64, "relu"), keras.layers.Dense(4)]
    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), *layers])
    >>> found = find_learning_rate(model, (images, labels), steps=30)
    >>> 1e-4 < found.suggestion < 0.1
    True
    """
    rates = _rates(lowest, highest, steps)
    known = {*COMPILE_OPTIONS, "class_weight", "verbose"}
    if unknown := sorted(set(options) - known):
        raise TlkitError(
            f"find_learning_rate has no argument {unknown[0]!r}. Omit it. Beyond the arguments that help() "
            f"lists, it takes {', '.join(sorted(known))}."
        )
    test = _RangeTest(model, rates)
    with _restored(model):
        fine_tune(
            model,
            train,
            from_stage=from_stage,
            fraction=fraction,
            batch_norm=batch_norm,
            epochs=steps,  # the callback ends the training; an epoch has at least one step
            depth_decay=depth_decay,
            optimizer=_without_schedule(optimizer, steps, lowest),
            loss=loss,
            callbacks=[test],
            batch_size=batch_size,
            **options | {"metrics": [], "weighted_metrics": [], "steps_per_execution": 1},
        )
    return _result(rates, np.array(test.losses))


def _rates(lowest: float, highest: float, steps: int) -> np.ndarray:
    if not 0 < lowest < highest < math.inf:
        raise TlkitError(
            f"lowest={lowest} and highest={highest} were given; expected 0 < lowest < highest, such as "
            "lowest=1e-6 and highest=1."
        )
    if steps < FEWEST_STEPS:
        raise TlkitError(
            f"steps={steps} was given; expected at least {FEWEST_STEPS}, since fewer losses are too noisy. "
            "Try steps=100."
        )
    return np.geomspace(lowest, highest, steps)


def _without_schedule(optimizer: Any, steps: int, rate: float) -> Any:
    """Return a new optimizer with the settings of the given one, and a learning rate that can be set."""
    if optimizer is None:
        return keras.optimizers.Adam(rate)
    if callable(optimizer) and not isinstance(optimizer, type | str | keras.optimizers.Optimizer):
        optimizer = optimizer(steps)
    try:
        given = keras.optimizers.get(optimizer)
    except ValueError:
        return optimizer  # `fine_tune` raises an error that explains what is wrong with it
    given = getattr(given, "inner_optimizer", given)  # `compile` wraps it again for float16
    new = type(given).from_config(given.get_config() | {"learning_rate": rate})
    for name in vars(given):
        if name.startswith("_exclude_from_weight_decay"):  # not part of Keras's settings
            vars(new)[name] = vars(given)[name]
    return new


class _RangeTest(keras.callbacks.Callback):
    """Set the learning rate of each step, record the loss of its batch, and stop when the loss diverges.

    Args:
        learner: the model that is trained; `self.model` may be the classifier within it.
        rates: `(steps,)`.
    """

    def __init__(self, learner: keras.Model, rates: np.ndarray) -> None:
        super().__init__()
        self.learner, self.rates = learner, rates
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if keras.backend.backend() == "jax":  # during `fit`, the newest values are outside the variables
            self.learner.jax_state_sync()
        self.learner.optimizer.learning_rate = self.rates[len(self.losses)]
        self.learner.reset_metrics()  # the logs have the mean loss since the last reset

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.losses.append(float((logs or {})["loss"]))
        if len(self.losses) == len(self.rates) or _diverged(np.array(self.losses), len(self.rates)):
            self.model.stop_training = True


def _smoothed(losses: np.ndarray, steps: int) -> np.ndarray:
    """Return the exponential running average, without the bias of its first values towards 0."""
    return pd.Series(losses).ewm(alpha=SECTIONS / steps).mean().to_numpy()


def _diverged(losses: np.ndarray, steps: int) -> bool:
    if not np.isfinite(losses[-1]):
        return True
    smoothed = _smoothed(losses, steps)
    # a network that fits its few images can have an almost zero loss, and 4 times as much is no divergence
    return smoothed[-1] > max(DIVERGED * smoothed.min(), losses[: steps // SECTIONS].mean())


def _result(rates: np.ndarray, losses: np.ndarray) -> LearningRates:
    """Return the suggestion and what it is based on.

    Args:
        rates: `(steps,)` of all steps.
        losses: of the steps that were made; the last may not be finite.
    """
    steps, begin = len(rates), len(rates) // SECTIONS
    finite = losses[np.isfinite(losses)]
    made, smoothed = rates[: len(finite)], _smoothed(finite, steps)
    if len(finite) <= begin:
        raise TlkitError(
            f"The loss of step {len(finite) + 1} was {losses[-1]}, at the learning rate "
            f"{rates[len(finite)]:.1e}. Use a smaller lowest=. If the loss is not finite there either, check "
            "the images, the labels and the loss."
        )
    # the first averages are noisy, since they cover few losses
    best = begin + int(np.argmin(smoothed[begin:]))
    calm = finite[: max(best + 1, len(finite) // 2)]  # before the loss rises
    start, noise = finite[:begin].mean(), _noise(calm)
    # the standard errors of the mean at the start and of the running average
    error = noise * (1 / math.sqrt(begin) + math.sqrt(SECTIONS / (2 * steps - SECTIONS)))
    if start - smoothed[best] <= 2 * error:
        raise TlkitError(
            f"The loss did not fall: its mean was {start:.3g} at the start and {smoothed[best]:.3g} at its "
            f"lowest, and the losses of single batches vary by {noise:.2g}. If the model already fits these "
            "images, as after train_head, test the model with a new head, or compare learning rates on "
            "validation data. Otherwise check the labels, and try more steps=, a smaller lowest= or a larger "
            "highest=."
        )
    if best == steps - 1:
        warnings.warn(
            f"The loss was still falling at the highest learning rate, {rates[-1]:g}, so the suggestion may "
            "be too small. Set a larger highest=.",
            TlkitWarning,
            stacklevel=3,
        )
    slope = np.gradient(smoothed[begin : best + 1]) if best > begin else np.zeros(1)
    return LearningRates(
        made,
        finite,
        smoothed,
        suggestion=float(made[best] / BELOW_LOWEST),
        lowest_loss_rate=float(made[best]),
        steepest_rate=float(made[begin + int(np.argmin(slope))]),
    )


def _noise(losses: np.ndarray) -> float:
    """Return the standard deviation of the losses around their trend; a few outliers have little effect."""
    differences = np.abs(np.diff(losses))  # of neighbours, which have nearly the same trend
    return float(np.median(differences) / (0.6745 * math.sqrt(2)))  # 0.6745: the median of |N(0, 1)|


@contextmanager
def _restored(model: keras.Model) -> Iterator[None]:
    """Restore the variables, trainable flags and random state at the end of a block, also after an error."""
    models = [model, model.trained_model()] if hasattr(model, "trained_model") else [model]
    variables = list({id(each): each for part in models for each in part.variables}.values())
    layers = {id(each): each for part in models for each in part._flatten_layers()}.values()
    flags = [each.trainable for each in layers]
    values = [np.array(keras.ops.convert_to_numpy(each)) for each in variables]
    trainable = [each.trainable for each in variables]
    reset = _random_state()
    try:
        yield
    finally:
        reset()
        for layer, flag in zip(layers, flags, strict=True):
            layer._trainable = flag  # the property would also set the inner layers
        for variable, value, flag in zip(variables, values, trainable, strict=True):
            variable.assign(value)
            variable.trainable = flag


def _random_state() -> Callable[[], None]:
    """Return a function that restores the random state from which Keras draws the order of examples."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    pytorch = None
    if keras.backend.backend() == "torch":
        import torch

        pytorch = torch.random.get_rng_state()

    def reset() -> None:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if pytorch is not None:
            torch.random.set_rng_state(pytorch)

    return reset
