"""Fine-tuning: which layers learn, how fast, and in which order."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import keras
import numpy as np

from tlkit import backbones
from tlkit.data import Split
from tlkit.data.ahead import BatchesAhead
from tlkit.data.batches import plain_errors
from tlkit.data.images import ImageFiles
from tlkit.engines import has_accelerator
from tlkit.errors import TlkitError
from tlkit.models import backbone_of, unfreeze
from tlkit.techniques.feature_extraction import early_stopping
from tlkit.techniques.frozen_trunk import on_activations
from tlkit.techniques.step_sizes import DiscriminativeAdam, depth_scales, warmup_cosine
from tlkit.techniques.training import check_shares


def fine_tune(
    model: keras.Model,
    train: Split,
    validation: Split | None = None,
    *,
    from_stage: str | None = None,
    fraction: float | None = None,
    batch_norm: bool = False,
    epochs: int = 10,
    learning_rate: float = 1e-3,
    depth_decay: float = 1.0,
    warmup: float = 0.1,
    batch_size: int = 32,
    patience: int = 5,
    seed: int = 0,
    augment: Callable[[np.ndarray], Any] | None = None,
    mix: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None,
    views: int | None = None,
    label_smoothing: float = 0.0,
    weight_decay: float | None = None,
    ema: float | None = None,
    class_weight: dict[int, float] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = False,
    verbose: int | str = 0,
) -> keras.callbacks.History:
    """Train the upper stages of a pretrained backbone together with its head.

    Train the head first (`train_head`): a random head sends large gradients into good features.
    Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution".

    Before the model is built: `keras.config.set_dtype_policy("mixed_bfloat16")` makes GPUs and TPUs faster;
    `keras.distribution.set_distribution(keras.distribution.DataParallel())` trains on all devices of JAX. For
    several machines of TensorFlow see `tlkit recipe many-workers`.

    Args:
        model: a classifier made by `build_classifier`.
        train: labelled images.
        validation: labelled images on which training stops early and the best epoch is chosen.
        from_stage: the lowest stage that learns; `None` with no `fraction` is the whole backbone.
        fraction: instead of a stage: the top share of the backbone's layers, 0 to 1.
        batch_norm: let BatchNormalization learn too; for training from scratch.
        epochs: passes over the images, at most.
        learning_rate: the largest step size, reached after the warm-up; then it falls along a cosine.
        depth_decay: each stage learns with this share of the step size of the stage above it.
        warmup: share of all steps in which the step size rises from zero.
        patience: epochs without a better validation loss before training stops.
        seed: of the order of images that are read from files; `keras.utils.set_random_seed` sets all others.
        augment: changes the images of each training batch, outside the model: a layer of keras_cv, or any
            function of images. A layer that knows training from prediction belongs into the model.
        mix: changes images and labels of each training batch together, such as
            `tlkit.challenges.overfitting.mixup()`.
        views: run the frozen stages once, over that many random views of each image, and train the rest on
            what they gave, which stays in a file (see `tlkit.techniques.frozen_trunk`); each epoch takes
            another view. `None` runs the whole network in each epoch, on new views. The more epochs there
            are for each view, the more is saved. Dropout within the frozen stages is off.
        label_smoothing: share of each label that is spread over all classes, 0 up to but not 1. Szegedy et
            al. 2016, "Rethinking the Inception Architecture for Computer Vision".
        weight_decay: each step of size s also takes this share times s off every weight but offsets and
            scales, whatever the gradients (AdamW); it does not heed `depth_decay`. Loshchilov & Hutter 2019,
            "Decoupled Weight Decay Regularization".
        ema: momentum of an exponential moving average of the weights, such as 0.99, which is judged by the
            validation images and kept in the end. Polyak & Juditsky 1992, "Acceleration of Stochastic
            Approximation by Averaging".
        class_weight: weight of each class in the loss, by index.
        callbacks: further Keras callbacks; with `views` their model is that of the upper stages.
        progress: show the progress of the frozen stages, with `views`.
        verbose: Keras's progress of the epochs: 0, 1, 2 or `"auto"`.

    Returns:
        Keras's history: loss and accuracy of every epoch.

    Raises:
        TlkitError: `label_smoothing` is no share; or there can be no `views`: nothing is frozen, nothing
            makes views differ, `mix` needs the images, or the disk has no room; or several devices cannot
            share every batch evenly.
    """
    if not 0 <= label_smoothing < 1:
        raise TlkitError(f"label_smoothing={label_smoothing} was given; expected a share such as 0.1.")
    if views is not None and mix is not None:
        raise TlkitError(
            "views= and mix= were given; activations cannot be mixed like images. Leave one out."
        )
    check_shares(batch_size, train=len(train), validation=0 if validation is None else len(validation))
    unfreeze(model, from_stage=from_stage, fraction=fraction, batch_norm=batch_norm)
    optimizer = DiscriminativeAdam(
        warmup_cosine(learning_rate, epochs * -(-len(train) // batch_size), warmup),
        scales=depth_scales(model, depth_decay),
        weight_decay=weight_decay,
        **({} if ema is None else {"use_ema": True, "ema_momentum": ema}),
    )
    if weight_decay is not None:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    in_shares = mix is not None or label_smoothing > 0
    loss: Any = "sparse_categorical_crossentropy"
    if in_shares:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    classes = model.output_shape[-1] if in_shares else None
    # first of the callbacks: early stopping shall keep the average's weights
    averaging = [] if ema is None else [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]
    with ExitStack() as files:
        learner = model
        options: dict[str, Any] = {"seed": seed, "augment": augment}
        if views is None:
            shown = _inputs(train, batch_size, classes, shuffle=True, mix=mix, **options)
            held_out = () if validation is None else _inputs(validation, batch_size, classes)
        else:
            options |= {"batch_size": batch_size, "classes": classes, "progress": progress}
            kept = on_activations(model, train, validation, views=views, **options)
            learner, shown, held_out = files.enter_context(kept)
        learner.compile(optimizer, loss=loss, metrics=["accuracy"])
        # TensorFlow traces the step twice when variables appear in the first; these make them all exist
        learner.optimizer.build(learner.trainable_variables)
        if held_out:
            learner.evaluate(*held_out, batch_size=batch_size, verbose=0)
        # these come in a random order already, and are made ahead where they are asked for in that
        ahead = isinstance(shown[0], BatchesAhead) or isinstance(train.images, ImageFiles)
        with plain_errors(*shown, *held_out):
            history = learner.fit(
                *shown,
                batch_size=batch_size,
                validation_data=held_out if len(held_out) > 1 else next(iter(held_out), None),
                epochs=epochs,
                class_weight=class_weight,
                callbacks=[*averaging, *early_stopping(validation, patience), *callbacks],
                shuffle=not ahead,
                verbose=verbose,
            )
    # a saved model must open without tlkit, and so without our optimizer; SGD has no state to save
    model.compile("sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return history


def _inputs(split: Split, batch_size: int, classes: int | None = None, **order: Any) -> tuple[Any, ...]:
    if order and feeds_in_turn():
        return (BatchesAhead(split.images, split.labels, batch_size, classes=classes, **order),)
    # Arrays where they are in memory: for a generator TensorFlow trims its heap at every step.
    if isinstance(split.images, np.ndarray) and not (order.get("augment") or order.get("mix")):
        labels = split.labels if classes is None else np.eye(classes, dtype="float32")[split.labels]
        return split.images, labels
    return (split.batches(batch_size, classes=classes, **order),)


def feeds_in_turn() -> bool:
    """Whether Keras would prepare each batch for an accelerator in the thread that starts the steps."""
    shared = keras.distribution.distribution() is not None
    return keras.backend.backend() == "jax" and has_accelerator() and not shared


def gradual_unfreezing(
    model: keras.Model,
    train: Split,
    validation: Split | None = None,
    *,
    stages: Iterable[str] | None = None,
    epochs_per_stage: int = 1,
    **options: Any,
) -> keras.callbacks.History:
    """Fine-tune stage after stage from the top down: each round unfreezes one more.

    Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification".

    Args:
        stages: the stages in the order in which they are unfrozen; all of them, top first, by default.
        epochs_per_stage: passes over the images in each round.
        options: as for `fine_tune`.

    Returns:
        Keras's history of all rounds, one after the other.
    """
    whole = keras.callbacks.History()
    whole.history = {}
    for stage in stages or reversed(backbones.stages(backbone_of(model))):
        part = fine_tune(model, train, validation, from_stage=stage, epochs=epochs_per_stage, **options)
        for name, values in part.history.items():
            whole.history.setdefault(name, []).extend(values)
    whole.epoch = list(range(len(whole.history.get("loss", []))))
    return whole
