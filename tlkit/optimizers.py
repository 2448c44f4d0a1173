"""How fast each layer learns, and when; the optimizers themselves are Keras's own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras

from tlkit import backbones
from tlkit.errors import TlkitError
from tlkit.models import backbone_of


def warmup_cosine(
    learning_rate: float, steps: int, warmup: float = 0.1
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a learning rate that rises linearly over the fraction `warmup` of the steps, then falls to zero.

    Loshchilov & Hutter 2017, "SGDR"; Goyal et al. 2017, "Accurate, Large Minibatch SGD" for the warm-up.

    Args:
        learning_rate: the largest value, reached after the warm-up.
        steps: of the whole training: epochs times batches per epoch.
        warmup: 0 to 1.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`.
    """
    rising = int(warmup * steps)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if rising else learning_rate,
        decay_steps=max(1, steps - rising),
        warmup_target=learning_rate if rising else None,
        warmup_steps=rising,
    )


def adam(
    steps: int, learning_rate: float = 1e-3, *, warmup: float = 0.1, **options: Any
) -> keras.optimizers.Adam:
    """Return Adam with `warmup_cosine`: the default optimizer of `fine_tune`.

    `fine_tune` accepts a function from the number of steps to an optimizer. Set its options by a partial:
    `fine_tune(..., optimizer=functools.partial(tlkit.optimizers.adam, weight_decay=0.05))`.

    Args:
        steps: number of steps of the whole training.
        learning_rate: the largest value, reached after the warm-up.
        warmup: fraction of the steps in which the learning rate rises, 0 to 1.
        options: of `keras.optimizers.Adam`, such as `weight_decay` (Loshchilov & Hutter 2019, "Decoupled
            Weight Decay Regularization"; biases and normalisation layers are exempt), or `use_ema` and
            `ema_momentum` for an average of the weights (Polyak & Juditsky 1992).

    >>> float(adam(100).learning_rate)
    0.0
    """
    optimizer = keras.optimizers.Adam(warmup_cosine(learning_rate, steps, warmup), **options)
    if optimizer.weight_decay is not None:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def depth_scales(model: keras.Model, decay: float) -> dict[str, float]:
    """Return the fraction of the learning rate that applies to each trainable variable, by its path.

    The head takes 1, the top stage of the backbone `decay`, the one below `decay` squared, and so on
    ("discriminative fine-tuning"). Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text
    Classification".

    Raises:
        TlkitError: `decay` is out of range.
    """
    if not 0 < decay <= 1:
        raise TlkitError(
            f"depth_decay is a fraction above 0 and up to 1; got {decay}. 1 treats all stages alike."
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
    """Let an optimizer take a fraction of its learning rate for some variables, within the block.

    The update itself is scaled. Scaling the gradients instead would do nothing under Adam, which divides each
    by its own running size. The optimizer stays Keras's own, so that a model saved meanwhile opens anywhere.

    Args:
        optimizer: any of Keras's.
        scales: fraction of the learning rate for each variable, by its path; 1 where none is given.
    """
    inner: Any = getattr(optimizer, "inner_optimizer", optimizer)  # float16 wraps it
    if not any(scale != 1 for scale in scales.values()):
        yield optimizer
        return
    at_once = hasattr(inner, "_parallel_update_step")  # PyTorch updates all variables in one call
    name = "_parallel_update_step" if at_once else "update_step"
    update = getattr(inner, name)

    def scale_of(variable: Any) -> float:
        return scales.get(inner._trainable_variables[inner._get_variable_index(variable)].path, 1.0)

    def one(gradient: Any, variable: Any, learning_rate: Any) -> None:
        update(gradient, variable, learning_rate * scale_of(variable))

    def several(gradients: Any, variables: Any, learning_rate: Any) -> None:
        pairs = list(zip(gradients, variables, strict=True))
        for scale in sorted({scale_of(variable) for variable in variables}):
            chosen = [pair for pair in pairs if scale_of(pair[1]) == scale]
            update(*map(list, zip(*chosen, strict=True)), learning_rate * scale)

    setattr(inner, name, several if at_once else one)
    try:
        yield optimizer
    finally:
        delattr(inner, name)  # the class's own again


def settable_learning_rate(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether callbacks can set the learning rate; those of a schedule cannot be set."""
    return not isinstance(optimizer.get_config().get("learning_rate"), Mapping)


def fresh(optimizer: Any) -> keras.optimizers.Optimizer:
    """Return a new optimizer with the same settings and no steps made."""
    made = type(optimizer).from_config(optimizer.get_config())
    for name in vars(optimizer):
        if name.startswith("_exclude_from_weight_decay"):  # Keras leaves these out of the settings
            vars(made)[name] = vars(optimizer)[name]
    return made
