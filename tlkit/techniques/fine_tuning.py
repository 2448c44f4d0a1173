"""Fine-tuning: which layers learn, how fast, and in which order."""

import random
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import keras
import numpy as np

from tlkit import backbones, optimizers
from tlkit.backbones.engines import has_accelerator
from tlkit.callbacks import for_model, listed
from tlkit.data.ahead import BatchesAhead
from tlkit.data.batches import Batches, plain_errors
from tlkit.data.images import ImageFiles
from tlkit.data.labelled import Labelled, both, sizes_of
from tlkit.errors import DataError, TlkitError
from tlkit.models import backbone_of, unfreeze
from tlkit.techniques.frozen_trunk import on_activations
from tlkit.techniques.training import (
    Settings,
    check_learns,
    check_shares,
    class_weights,
    compile_state_kept,
    divided,
    early_stopping,
    make_state,
    rows_of_classes,
    shows_progress,
    steps_of,
)

BATCH_SIZE = 32


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

    Optimizer, loss and metrics are those that the model was compiled with, unless others are given.
    Afterwards it is compiled as it was before. What `unfreeze` set stays. If your optimizer has already made
    steps, compile again before calling `fit` yourself, since other variables learn.

    Set `keras.config.set_dtype_policy("mixed_bfloat16")` before you build the model to train faster on GPUs
    and TPUs. `keras.distribution.set_distribution(keras.distribution.DataParallel())` trains on all devices
    of JAX. For several machines of TensorFlow see `tlkit recipe many-workers`.

    Args:
        model: a classifier of `build_classifier`, or any functional or `Sequential` one, that gives class
            probabilities or logits.
        train: labelled images: a split, arrays `(images, labels)` or `(images, labels, sample_weights)`, or
            batches of these (`tf.data.Dataset`, `PyDataset`, PyTorch `DataLoader`). `Split.batches` changes
            images (`augment=`) or images and labels together (`mix=`) outside the model.
        validation_data: labelled images of the same kinds; they decide when training stops and which epoch is
            kept.
        from_stage: the lowest stage that learns; `None` with no `fraction` is the whole backbone.
        fraction: instead of a stage: the top share of the backbone's layers, 0 to 1.
        batch_norm: let BatchNormalization learn too; for training from scratch.
        epochs: passes over the images, at most.
        learning_rate: of the default optimizer, `tlkit.optimizers.adam`: its largest value, reached after
            a warm-up in the first tenth of the steps; then it falls along a cosine. 1e-3 by default.
        depth_decay: each stage learns with this fraction of the learning rate of the stage above it.
        views: run the frozen stages once, over that many random views of each image, and train the rest on
            their outputs, which are kept in a temporary file (see `tlkit.techniques.frozen_trunk`). Each
            epoch takes another view. `None` runs the whole network in each epoch, on new views. The more
            epochs share a view, the more time this saves. Dropout within the frozen stages is off.
        optimizer: as for `compile`; or a function from the number of steps to an optimizer, such as
            `functools.partial(tlkit.optimizers.adam, weight_decay=0.05)`. With `use_ema=True` the averaged
            weights are validated and kept.
        loss: as for `compile`; by default the cross-entropy that fits labels and activation. Class indices
            become rows of classes where the loss needs them, so that
            `keras.losses.CategoricalCrossentropy(label_smoothing=0.1)` works.
        callbacks: as for `fit`; they see the whole model, also with `views`. With `validation_data` and
            no `EarlyStopping` among them, training stops after 5 epochs without a lower validation loss, and
            the best epoch is kept.
        options: further arguments of `compile` and `fit`, such as `metrics`, `batch_size` (32 by default),
            `class_weight` (also `"balanced"`) and `verbose` (0 by default).

    Returns:
        Keras's history: the loss and metrics of every epoch.

    Raises:
        UnknownNameError: there is no such stage; the message lists them.
        DataError: images or labels do not fit the model, or are of a kind that Keras does not take.
        TlkitError: no backbone is found in the model; a callback or option does not fit; `views` is
            impossible, since nothing is frozen, nothing varies the images or the disk is too full; or several
            devices cannot share every batch evenly.

    >>> from tlkit.models import build_classifier
    >>> model = build_classifier("LeNet", classes=2, weights=None)
    >>> images, labels = np.zeros((4, 28, 28, 3), "uint8"), np.array([0, 1, 0, 1])
    >>> history = fine_tune(model, (images, labels), from_stage="dense", epochs=1)
    >>> model.compiled
    False
    """
    data, held_out = both(model, train, validation_data)
    compiling, fitting = divided(options)
    batch_size = fitting.pop("batch_size", None) or BATCH_SIZE
    check_shares(batch_size, **sizes_of(data, held_out))
    unfreeze(model, from_stage=from_stage, fraction=fraction, batch_norm=batch_norm)
    check_learns(model)
    given = listed(callbacks)
    counted = (len(data), batch_size) if data.batches is None else (data.steps(batch_size), 1)
    steps = steps_of(fitting, epochs, *counted)
    whole = model.taught() if hasattr(model, "taught") else model  # a regulariser trains a model around it
    settings = Settings(
        model if model.compiled else whole,
        data.labels,
        lambda rate: optimizers.adam(steps, rate),
        1e-3,
        learning_rate=learning_rate,
        optimizer=_of_steps(optimizer, steps),
        loss=loss,
        callbacks=given,
        options=compiling,
    )
    classes = model.outputs[0].shape[-1] if settings.rows else None
    with ExitStack() as stack:
        stack.enter_context(compile_state_kept(*{id(each): each for each in (model, whole)}.values()))
        if views is None:
            learner, shown = model, _inputs(data, batch_size, classes, fitting)
            validation = None if held_out is None else _inputs(held_out, batch_size, classes)
        else:
            running: dict[str, Any] = {"batch_size": batch_size, "progress": shows_progress(fitting)}
            kept = on_activations(model, data, held_out, views=views, classes=classes, **running)
            learner, shown, validation = stack.enter_context(kept)
        for each in {id(each): each for each in (learner, model, whole)}.values():
            settings.compile(each)  # so that a checkpoint is the whole model, compiled as it is trained
            make_state(each, _first_labels(data, classes), model.outputs[0].shape)
        scales = optimizers.depth_scales(model, depth_decay)
        stack.enter_context(optimizers.scaled_learning_rates(settings.optimizer, scales))
        stack.enter_context(plain_errors(*shown, *(validation or ())))
        averaging = _averaging(settings.optimizer, given)  # first: the others shall see the average
        stopping = early_stopping(held_out, 5, given)
        return learner.fit(
            *shown,
            validation_data=validation[0] if validation and len(validation) == 1 else validation,
            epochs=epochs,
            class_weight=class_weights(fitting.pop("class_weight", None), data.all_labels),
            callbacks=[*averaging, *stopping, *(given if learner is whole else for_model(given, whole))],
            **({} if len(shown) == 1 else {"batch_size": batch_size}),
            **{"shuffle": not _in_random_order(shown[0])} | fitting,
        )


def _of_steps(optimizer: Any, steps: int) -> Any:
    """Return the optimizer; of a function from the number of steps, what it makes."""
    is_function = callable(optimizer) and not isinstance(optimizer, type | str | keras.optimizers.Optimizer)
    return optimizer(steps) if is_function else optimizer


def _in_random_order(shown: Any) -> bool:
    """Whether batches come in an order of their own, which Keras shall leave."""
    if isinstance(shown, Batches):
        return shown.shuffle
    return not isinstance(shown, np.ndarray | keras.utils.PyDataset)


def _averaging(optimizer: Any, given: list[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
    """Return the callback that validates and keeps averaged weights, where the optimizer averages them."""
    averages = getattr(getattr(optimizer, "inner_optimizer", optimizer), "use_ema", False)
    if not averages or any(isinstance(each, keras.callbacks.SwapEMAWeights) for each in given):
        return []
    return [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]


def _first_labels(data: Labelled, classes: int | None) -> np.ndarray:
    first = np.asarray(data.labels[:1])
    return first if classes is None else rows_of_classes(first, classes)


def _inputs(
    data: Labelled, batch_size: int, classes: int | None, options: dict[str, Any] | None = None
) -> tuple[Any, ...]:
    """Return what `fit` is given, or with no options of a fit what `evaluate` is."""
    training = options is not None
    classes = None if data.in_rows else classes
    if data.images is None:
        batches = data.batches
        if classes is not None and not isinstance(batches, Batches):
            raise DataError(
                f"The loss compares rows of classes, and {data.name} gives class indices. Give rows, such as "
                f"keras.ops.one_hot(labels, {classes}), or leave loss= out."
            )
        if isinstance(batches, Batches):
            rows = {} if classes is None else {"classes": classes}
            ahead = training and feeds_in_turn() and type(batches) is Batches
            batches = batches.again(BatchesAhead if ahead else type(batches), **rows)
        return (batches,)
    files = isinstance(data.images, ImageFiles)
    if files or (training and feeds_in_turn() and data.weights is None):
        kind = BatchesAhead if training and feeds_in_turn() else Batches
        seed = random.getrandbits(31) if training else 0  # follows keras.utils.set_random_seed
        return (kind(data.images, data.labels, batch_size, training, seed, classes=classes),)
    # Arrays where they are in memory: for a generator TensorFlow trims its heap at every step.
    labels = data.labels if classes is None else rows_of_classes(data.labels, classes)
    if options is not None and data.weights is not None:
        options.setdefault("sample_weight", data.weights)
    return (data.images, labels) if training or data.weights is None else (data.images, labels, data.weights)


def feeds_in_turn() -> bool:
    """Whether Keras would prepare each batch for an accelerator in the thread that starts the steps."""
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
    """Fine-tune stage after stage from the top down: each round unfreezes one more.

    Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification".

    Args:
        model, train, validation_data: as for `fine_tune`.
        stages: the stages in the order in which they are unfrozen; all of them, top first, by default.
        epochs_per_stage: passes over the images in each round.
        options: as for `fine_tune`. The epochs of the rounds are counted on. A `CSVLogger` needs
            `append=True`, since each round is a `fit` of its own.

    Returns:
        Keras's history of all rounds, one after the other.

    Raises:
        TlkitError: `BackupAndRestore` is among the callbacks; otherwise as for `fine_tune`.
    """
    if any(isinstance(each, keras.callbacks.BackupAndRestore) for each in listed(options.get("callbacks"))):
        raise TlkitError(
            "BackupAndRestore cannot resume gradual_unfreezing, whose rounds are trainings of their own. "
            "Call fine_tune(..., from_stage=) for each stage, with a backup folder for each."
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
