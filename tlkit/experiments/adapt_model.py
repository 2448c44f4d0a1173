"""Adapt a trained classifier to a target domain, with neither source images nor target labels."""

import time
from collections.abc import Sequence

import keras

from tlkit._internal.seeds import set_seed
from tlkit.callbacks import Interruptible
from tlkit.data import Dataset, Split
from tlkit.errors import DataError
from tlkit.experiments import phases
from tlkit.experiments.adapting import (
    BATCH_SIZE,
    PRETRAINED,
    UNFROZEN,
    measured,
    name_of,
    predicted,
    unlabelled,
)
from tlkit.models import backbone_of, unfreeze
from tlkit.reports.adaptation import Adaptation
from tlkit.techniques.domain_adaptation import METHODS, DomainAdapter, pair
from tlkit.techniques.domain_adaptation.methods import WITHOUT_SOURCE

LEARNING_RATE = 1e-4  # a tenth of that of a training: the network knows the classes, and no label corrects it


def adapt_model(
    model: keras.Model,
    target: Dataset | Split,
    *,
    class_names: Sequence[str],
    method: str = WITHOUT_SOURCE,
    epochs: int | None = None,
    evaluate: Dataset | None = None,
    seed: int = 0,
    verbose: int | str = 0,
) -> Adaptation:
    """Adapt a trained classifier to an unlabelled target without its source images, and measure the gain.

    Args:
        model: images to class probabilities or logits; it does not change.
        target: images of the target domain; of a data set, the train split. Their labels are not read.
        class_names: the names of the model's classes, in the order of its outputs.
        method: one that needs no source: `"shot"` or `"adabn"`.
        epochs: by default 10, with 200 to 1,000 steps.
        evaluate: labelled images of the target, used for evaluation alone: its test split, or its train
            split if it has no test split.
        seed: of the order of the images.
        verbose: as for Keras's `fit`: 0 is silent, 1 shows progress bars, 2 prints a line for each epoch.

    Returns:
        The adapted copy of the model with its figures.

    Raises:
        DataError: `class_names`, the classes of `evaluate` or the images do not fit the model.
        TlkitError: the method needs a source, or a kind of layer that the model lacks.
        UnknownNameError: there is no such method.
    """
    row, names = METHODS.find(method), list(class_names)
    if len(names) != model.output_shape[-1] or (evaluate is not None and evaluate.class_names != names):
        known = "" if evaluate is None else f", and the labelled target has {', '.join(evaluate.class_names)}"
        raise DataError(
            f"The model has {model.output_shape[-1]} outputs, and its classes are {', '.join(names)}{known}. "
            "Give the same classes in the same order."
        )
    clock, watch = phases.Clock(), Interruptible()
    set_seed(seed)
    images = unlabelled(target)
    evaluated = images if evaluate is None else evaluate.test or evaluate.train
    adapted = keras.models.clone_model(model)
    adapted.set_weights(model.get_weights())
    backbone = backbone_of(adapted)
    unfreeze(adapted, fraction=UNFROZEN)
    before = predicted(adapted, evaluated.images)
    pairs = pair(None, images, batch_size=min(BATCH_SIZE, len(images)), seed=seed)
    epochs = epochs or PRETRAINED.epochs_for(len(pairs))
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * len(pairs))
    began = time.perf_counter()
    with clock.part("training"):
        adapter = DomainAdapter(adapted, row.build())
        adapter.compile(keras.optimizers.Adam(schedule))
        history = adapter.fit(pairs, epochs=epochs, callbacks=[watch], verbose=verbose).history
    outputs = adapter.target_outputs(evaluated.images)
    return Adaptation(
        model=adapted,
        source=None,
        target=evaluated,
        target_name=name_of(evaluate, target),
        method=row.name,
        backbone=backbone.name,
        seed=seed,
        history={"adaptation": history} if history else {},
        probabilities={"target": predicted(adapted, evaluated.images)},
        before=before,
        compared=[measured(row.name, outputs, time.perf_counter() - began)],
        class_names=names,
        interrupted=watch.interrupted,
        seconds=clock.stop(),
    )
