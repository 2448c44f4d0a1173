"""Fine-tuning: train a pretrained backbone further, together with its head."""

import math
import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from tlkit import backbones, optimizers
from tlkit.backbones.engines import has_accelerator
from tlkit.callbacks import for_model, listed, save_with_backup
from tlkit.data.ahead import BatchesAhead
from tlkit.data.batches import Batches, plain_errors
from tlkit.data.images import ImageFiles
from tlkit.data.labelled import Labelled, both, sizes_of
from tlkit.errors import DataError, TlkitError
from tlkit.models import backbone_of, unfreeze
from tlkit.techniques.frozen_trunk import on_activations
from tlkit.techniques.training import (
    Settings,
    check_divisible,
    check_trainable,
    class_weights,
    compile_and_fit_options,
    compile_state_kept,
    early_stopping,
    make_state,
    one_hot,
    shows_progress,
    steps_of,
)

BATCH_SIZE, PATIENCE = 32, 5


def fine_tune(
    model: keras.Model,
    train: Any,
    validation_data: Any = None,
    *,
    from_stage: str | None = None,
    fraction: float | None = None,
    batch_norm: bool = False,
    epochs: int = 10,
    learning_rate: float | None = None,
    depth_decay: float = 1.0,
    views: int | None = None,
    optimizer: Any = None,
    loss: Any = None,
    callbacks: Any = (),
    **options: Any,
) -> keras.callbacks.History:
    """Train the upper stages of a pretrained backbone together with its head.

    Train the head first (`train_head`): a random head sends large gradients into good features.
    Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution".

    Optimizer, loss and metrics default to those that the model was compiled with. Afterwards, the model has
    the compile state that it had before, but other layers may be trainable. If your optimizer has already
    made steps, compile again before you call `fit` yourself.

    To train faster on GPUs and TPUs, call `keras.config.set_dtype_policy("mixed_bfloat16")` before you build
    the model. `keras.distribution.set_distribution(keras.distribution.DataParallel())` trains on all devices
    of JAX. To train on several machines with TensorFlow, see `tlkit recipe many-workers`.

    Args:
        model: a classifier of `build_classifier`, or any functional or `Sequential` classifier that outputs
            class probabilities or logits.
        train: labelled images: a split, arrays `(images, labels)` or `(images, labels, sample_weights)`, or
            batches of these (`tf.data.Dataset`, `PyDataset`, PyTorch `DataLoader`). `Split.batches` can
            augment images (`augment=`), or mix images and labels (`mix=`), outside the model.
        validation_data: labelled images of the same kinds, for early stopping.
        from_stage: the lowest trainable stage; with neither `from_stage` nor `fraction`, the whole backbone
            is trainable.
        fraction: alternative to `from_stage`: the top fraction of the layers of the backbone that is
            trainable, 0 to 1.
        batch_norm: train BatchNormalization layers too; for training from scratch.
        epochs: maximum number of epochs.
        learning_rate: peak learning rate of the default optimizer, `tlkit.optimizers.adam`. The learning rate
            rises to it during the first tenth of the steps, then decays along a cosine. 1e-3 by default.
        depth_decay: ratio of the learning rate of each stage to that of the stage above it.
        views: run the frozen stages only once, on this number of random views of each image, and train the
            other layers on their stored outputs (see `tlkit.techniques.frozen_trunk`). Each epoch uses
            another view. The more epochs reuse a view, the more time this saves. Dropout in the frozen stages
            is off. With `None`, each epoch runs the whole network on new random views.
        optimizer: as for `compile`; or a function from the number of steps to an optimizer, such as
            `functools.partial(tlkit.optimizers.adam, weight_decay=0.05)`. With `use_ema=True`, the averaged
            weights are evaluated on the validation data and kept.
        loss: as for `compile`; by default the cross-entropy that fits the labels and the output activation.
            Class indices are converted to one-hot labels if the loss needs them, so
            `keras.losses.CategoricalCrossentropy(label_smoothing=0.1)` works.
        callbacks: as for `fit`; they receive the whole model, also with `views`. With `validation_data` and
            no `EarlyStopping` callback, training stops after 5 epochs, or 30 % of `epochs` if these are more,
            without a lower validation loss, and the weights of the best epoch are restored.
        options: further arguments of `compile` and `fit`, such as `metrics`, `batch_size` (32 by default),
            `class_weight` (also `"balanced"`) and `verbose` (0 by default).

    Returns:
        Keras's history: the loss and metrics of each epoch.

    Raises:
        UnknownNameError: there is no such stage; the message lists all stages.
        DataError: the images or labels do not fit the model, or Keras does not accept data of their type.
        TlkitError: the model contains no backbone; a callback or option does not fit; `views` was given but
            no layer is frozen, there is no augmentation, or the disk is too full; or a batch cannot be
            divided evenly among several devices.

    >>> from tlkit.models import build_classifier
    >>> model = build_classifier("LeNet", classes=2, weights=None)
    >>> images, labels = np.zeros((4, 28, 28, 3), "uint8"), np.array([0, 1, 0, 1])
    >>> history = fine_tune(model, (images, labels), from_stage="dense", epochs=1)
    >>> model.compiled
    False
    """
    data, held_out = both(model, train, validation_data)
    compiling, fitting = compile_and_fit_options(options)
    batch_size = fitting.pop("batch_size", None) or BATCH_SIZE
    check_divisible(batch_size, **sizes_of(data, held_out))
    unfreeze(model, from_stage=from_stage, fraction=fraction, batch_norm=batch_norm)
    check_trainable(model)
    callbacks = listed(callbacks)
    # a regulariser wraps the model that callbacks should receive and checkpoints should save
    whole = model.trained_model() if hasattr(model, "trained_model") else model
    examples = (len(data), batch_size) if data.batches is None else (data.steps(batch_size), 1)
    steps = steps_of(fitting, epochs, *examples)
    settings = Settings(
        model if model.compiled else whole,
        data.labels,
        lambda rate: optimizers.adam(steps, rate),
        1e-3,
        learning_rate=learning_rate,
        optimizer=_with_steps(optimizer, steps),
        loss=loss,
        callbacks=callbacks,
        options=compiling,
    )
    classes = model.outputs[0].shape[-1] if settings.one_hot else None
    with ExitStack() as stack:
        stack.enter_context(compile_state_kept(*_distinct(model, whole)))
        inputs = _inputs(model, data, held_out, views, batch_size, classes, fitting)
        learner, train_inputs, validation = stack.enter_context(inputs)
        for each in _distinct(learner, model, whole):
            settings.compile(each)  # a checkpoint saves the whole model, with this compile state
            make_state(each, _first_labels(data, classes), model.outputs[0].shape)
        scales = optimizers.depth_scales(model, depth_decay)
        patience = max(PATIENCE, math.ceil(0.3 * epochs))  # three times as long as the warm-up
        stack.enter_context(optimizers.scaled_learning_rates(settings.optimizer, scales))
        stack.enter_context(plain_errors(*train_inputs, *(validation or ())))
        defaults = [
            *_averaging(settings.optimizer, callbacks),
            *early_stopping(held_out, patience, callbacks),
        ]
        save_with_backup(callbacks, defaults)
        return learner.fit(
            *train_inputs,
            validation_data=validation[0] if validation and len(validation) == 1 else validation,
            epochs=epochs,
            class_weight=class_weights(fitting.pop("class_weight", None), data.all_labels),
            # the averaging comes first, so that the other callbacks receive the averaged weights
            callbacks=[*defaults, *(callbacks if learner is whole else for_model(callbacks, whole))],
            **({} if len(train_inputs) == 1 else {"batch_size": batch_size}),
            **{"shuffle": not in_random_order(train_inputs[0])} | fitting,
        )


def _distinct(*models: keras.Model) -> list[keras.Model]:
    """Return the models without duplicates, in order."""
    return list({id(each): each for each in models}.values())


def _with_steps(optimizer: Any, steps: int) -> Any:
    """Return the optimizer, or the result of a function from the number of steps to an optimizer."""
    is_function = callable(optimizer) and not isinstance(optimizer, type | str | keras.optimizers.Optimizer)
    return optimizer(steps) if is_function else optimizer


def in_random_order(inputs: Any) -> bool:
    """Whether Keras must keep the order of inputs, since they are batches that are already shuffled."""
    if isinstance(inputs, Batches):
        return inputs.shuffle
    return not isinstance(inputs, np.ndarray | keras.utils.PyDataset)


def _averaging(optimizer: Any, callbacks: list[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
    """Return a callback that evaluates and keeps averaged weights, if the optimizer averages them."""
    averages = getattr(getattr(optimizer, "inner_optimizer", optimizer), "use_ema", False)
    if not averages or any(isinstance(each, keras.callbacks.SwapEMAWeights) for each in callbacks):
        return []
    return [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]


def _first_labels(data: Labelled, classes: int | None) -> np.ndarray:
    first = np.asarray(data.labels[:1])
    return first if classes is None else one_hot(first, classes)


@contextmanager
def _inputs(
    model: keras.Model,
    data: Labelled,
    held_out: Labelled | None,
    views: int | None,
    batch_size: int,
    classes: int | None,
    fitting: dict[str, Any],
) -> Iterator[tuple[keras.Model, tuple[Any, ...], tuple[Any, ...] | None]]:
    """Yield the model to train, the data for its `fit`, and its validation data or None.

    Sample weights are added to `fitting`, the arguments of `fit`. `classes` is None for class indices.
    """
    if views is None:
        train = fit_arguments(data, batch_size, classes, fitting)
        yield model, train, None if held_out is None else fit_arguments(held_out, batch_size, classes)
        return
    options: dict[str, Any] = {"batch_size": batch_size, "progress": shows_progress(fitting)}
    with on_activations(model, data, held_out, views=views, classes=classes, **options) as inputs:
        yield inputs


def fit_arguments(
    data: Labelled, batch_size: int, classes: int | None, options: dict[str, Any] | None = None
) -> tuple[Any, ...]:
    """Return the data arguments of `fit`; or, if `options` of `fit` is None, those of `evaluate`."""
    training = options is not None
    classes = None if data.in_rows else classes
    if data.images is None:
        batches = data.batches
        if classes is not None and not isinstance(batches, Batches):
            raise DataError(
                f"The loss needs one-hot labels, but {data.name} has class indices. Convert them, such as by "
                f"keras.ops.one_hot(labels, {classes}), or omit loss=."
            )
        if isinstance(batches, Batches):
            changes = {} if classes is None else {"classes": classes}
            ahead = training and feeds_in_turn() and type(batches) is Batches
            batches = batches.again(BatchesAhead if ahead else type(batches), **changes)
        return (batches,)
    files = isinstance(data.images, ImageFiles)
    if files or (training and feeds_in_turn() and data.weights is None):
        kind = BatchesAhead if training and feeds_in_turn() else Batches
        seed = random.getrandbits(31) if training else 0  # follows keras.utils.set_random_seed
        return (kind(data.images, data.labels, batch_size, training, seed, classes=classes),)
    # arrays rather than batches, since TensorFlow trims its heap in every step of a generator
    labels = data.labels if classes is None else one_hot(data.labels, classes)
    if options is not None and data.weights is not None:
        options.setdefault("sample_weight", data.weights)
    return (data.images, labels) if training or data.weights is None else (data.images, labels, data.weights)


def feeds_in_turn() -> bool:
    """Whether Keras would copy each batch to an accelerator in the same thread that starts the steps."""
    shared = keras.distribution.distribution() is not None
    return keras.backend.backend() == "jax" and has_accelerator() and not shared


def gradual_unfreezing(
    model: keras.Model,
    train: Any,
    validation_data: Any = None,
    *,
    stages: Iterable[str] | None = None,
    epochs_per_stage: int = 1,
    **options: Any,
) -> keras.callbacks.History:
    """Fine-tune in rounds, from the top stage downwards: each round unfreezes one more stage.

    Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification".

    Args:
        model, train, validation_data: as for `fine_tune`.
        stages: the stages in the order in which they are unfrozen; by default all stages, top first.
        epochs_per_stage: number of epochs per round.
        options: as for `fine_tune`. The epochs are numbered consecutively over all rounds. A `CSVLogger`
            needs `append=True`, since each round is a separate `fit`.

    Returns:
        Keras's history of all rounds, concatenated.

    Raises:
        TlkitError: `BackupAndRestore` is among the callbacks; otherwise as for `fine_tune`.
    """
    if any(isinstance(each, keras.callbacks.BackupAndRestore) for each in listed(options.get("callbacks"))):
        raise TlkitError(
            "BackupAndRestore cannot resume gradual_unfreezing, since each round is a separate training. "
            "Call fine_tune(..., from_stage=) for each stage, with a separate backup folder."
        )
    whole = keras.callbacks.History()
    whole.history = {}
    chosen = list(stages or reversed(backbones.stages(backbone_of(model))))
    for done, stage in enumerate(chosen):
        epochs: dict[str, Any] = {
            "initial_epoch": done * epochs_per_stage,
            "epochs": (done + 1) * epochs_per_stage,
        }
        part = fine_tune(model, train, validation_data, from_stage=stage, **epochs, **options)
        for name, values in part.history.items():
            whole.history.setdefault(name, []).extend(values)
    whole.epoch = list(range(len(whole.history.get("loss", []))))
    return whole
