"""Learning rates by step and by depth, for the optimizers of Keras."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras

from tlkit import backbones
from tlkit.errors import TlkitError
from tlkit.models import backbone_of

__all__ = ["adam", "depth_scales", "scaled_learning_rates", "warmup_cosine"]


def check_rate(learning_rate: float) -> None:
    """Raise TlkitError if a number cannot be a learning rate: it is NaN, infinite, zero or negative."""
    if not 0 < learning_rate < math.inf:
        raise TlkitError(
            f"learning_rate={learning_rate} was given; expected a finite number above 0, such as 1e-3."
        )


def warmup_cosine(
    learning_rate: float, steps: int, warmup: float = 0.1, final: float = 0.0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a learning rate schedule: a linear warm-up, then a cosine decay, by default to zero.

    Loshchilov & Hutter 2017, "SGDR"; Goyal et al. 2017, "Accurate, Large Minibatch SGD" for the warm-up.

    Args:
        learning_rate: the largest value, reached after the warm-up.
        steps: the number of steps of the whole training: epochs times batches per epoch.
        warmup: the fraction of the steps in which the learning rate rises, 0 to 1.
        final: the last value as a fraction of the largest, 0 to 1; 1 keeps the learning rate constant after
            the warm-up.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`.

    >>> schedule = warmup_cosine(0.1, steps=100)
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 55, 100)]
    [0.0, 0.05, 0.1, 0.05, 0.0]
    """
    warmup_steps = int(warmup * steps)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else learning_rate,
        decay_steps=max(1, steps - warmup_steps),
        alpha=final,
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


def adam(
    steps: int, learning_rate: float = 1e-3, *, warmup: float = 0.1, **options: Any
) -> keras.optimizers.Adam:
    """Return Adam with a warm-up and a cosine decay: the default optimizer of `fine_tune`.

    `fine_tune` also accepts a function from the number of steps to an optimizer. To set options, pass a
    partial: `fine_tune(..., optimizer=functools.partial(tlkit.optimizers.adam, weight_decay=0.05))`.

    Args:
        steps: the number of steps of the whole training: epochs times batches per epoch.
        learning_rate: the largest value, reached after the warm-up.
        warmup: the fraction of the steps in which the learning rate rises, 0 to 1.
        options: options of `keras.optimizers.Adam`. `weight_decay` exempts biases and normalisation layers
            (Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"). `use_ema` and `ema_momentum`
            average the weights (Polyak & Juditsky 1992, "Acceleration of Stochastic Approximation by
            Averaging").

    Returns:
        A `keras.optimizers.Adam` with the schedule of `warmup_cosine`.

    >>> float(adam(100).learning_rate)
    0.0
    """
    optimizer = keras.optimizers.Adam(warmup_cosine(learning_rate, steps, warmup), **options)
    if optimizer.weight_decay is not None:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def depth_scales(model: keras.Model, decay: float) -> dict[str, float]:
    """Return a learning rate factor per variable: 1 in the head, and smaller in each stage further below.

    The top stage of the backbone has the factor `decay`, the stage below it `decay` squared, and so on
    ("discriminative fine-tuning"). Pass the result to `scaled_learning_rates`.

    Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification".

    Args:
        model: a classifier.
        decay: the factor from each stage to the stage below, above 0 and up to 1.

    Returns:
        The factor of each trainable variable, by its path.

    Raises:
        TlkitError: `decay` is out of range.

    >>> from tlkit.models import build_classifier
    >>> scales = depth_scales(build_classifier("LeNet", classes=10, weights=None), decay=0.5)
    >>> scales["head/predictions/kernel"], scales["dense1/kernel"], scales["conv1/kernel"]
    (1.0, 0.5, 0.125)
    """
    if not 0 < decay <= 1:
        raise TlkitError(
            f"depth_decay={decay} was given; expected a number above 0 and up to 1. With 1, all stages have "
            "the same learning rate."
        )
    scales = {variable.path: 1.0 for variable in model.trainable_variables}
    stages = list(backbones.stages(backbone_of(model)).values())
    for depth, layers in enumerate(reversed(stages), start=1):
        scales |= {variable.path: decay**depth for layer in layers for variable in layer.trainable_variables}
    return scales


@contextmanager
def scaled_learning_rates(
    optimizer: keras.optimizers.Optimizer, scales: Mapping[str, float]
) -> Iterator[keras.optimizers.Optimizer]:
    """Scale the learning rate of individual variables within a `with` block.

    The update is scaled, not the gradient: Adam normalises each gradient, so scaling gradients has no effect
    under Adam. The optimizer remains an optimizer of Keras, so that a model saved within the block opens
    without tlkit.

    Args:
        optimizer: any optimizer of Keras.
        scales: the factor of each variable, by its path, such as those of `depth_scales`; others have 1.

    Yields:
        The optimizer itself.
    """
    inner: Any = getattr(optimizer, "inner_optimizer", optimizer)  # float16 training wraps the optimizer
    if not any(scale != 1 for scale in scales.values()):
        yield optimizer
        return
    parallel = hasattr(inner, "_parallel_update_step")  # PyTorch updates all variables in one call
    name = "_parallel_update_step" if parallel else "update_step"
    update = getattr(inner, name)

    def scale_of(variable: Any) -> float:
        return scales.get(inner._trainable_variables[inner._get_variable_index(variable)].path, 1.0)

    def update_one(gradient: Any, variable: Any, learning_rate: Any) -> None:
        update(gradient, variable, learning_rate * scale_of(variable))

    def update_all(gradients: Any, variables: Any, learning_rate: Any) -> None:
        pairs = list(zip(gradients, variables, strict=True))
        for scale in sorted({scale_of(variable) for variable in variables}):
            group = [pair for pair in pairs if scale_of(pair[1]) == scale]
            update(*map(list, zip(*group, strict=True)), learning_rate * scale)

    setattr(inner, name, update_all if parallel else update_one)
    try:
        yield optimizer
    finally:
        delattr(inner, name)  # restores the method of the class


def settable_learning_rate(optimizer: keras.optimizers.Optimizer) -> bool:
    """Return whether callbacks can set the learning rate; they cannot set that of a schedule."""
    return not isinstance(optimizer.get_config().get("learning_rate"), Mapping)


def fresh(optimizer: Any) -> keras.optimizers.Optimizer:
    """Return a new optimizer with the same settings, at step 0."""
    new = type(optimizer).from_config(optimizer.get_config())
    for name in vars(optimizer):
        if name.startswith("_exclude_from_weight_decay"):  # not part of Keras's settings
            vars(new)[name] = vars(optimizer)[name]
    return new
