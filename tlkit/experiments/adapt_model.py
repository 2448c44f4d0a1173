"""Adapt a trained classifier to a target domain, with neither source images nor target labels."""

from collections.abc import Sequence

import keras

from tlkit._internal.seeds import set_seed
from tlkit.callbacks import Interruptible
from tlkit.data import Dataset, Split
from tlkit.errors import DataError
from tlkit.experiments import phases
from tlkit.experiments.adaptation_arms import PRETRAINED, UNFROZEN, predicted_by
from tlkit.models import backbone_of, frozen_table, unfreeze
from tlkit.reports.adaptation import Adaptation
from tlkit.techniques.domain_adaptation import METHODS, DomainAdapter, pair
from tlkit.techniques.domain_adaptation.voting import BATCH_SIZE

LEARNING_RATE = 1e-4  # a tenth of that of a training: the network knows the classes, and no label corrects it


def adapt_model(
    model: keras.Model,
    target: Dataset | Split,
    *,
    class_names: Sequence[str],
    method: str = "shot",
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
        method: one that needs no source: `"shot"`, `"adabn"` or `"tent"`.
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
    chosen = METHODS.find(method)
    names = list(class_names)
    if len(names) != model.output_shape[-1] or (evaluate is not None and evaluate.class_names != names):
        known = "" if evaluate is None else f", and the labelled target has {', '.join(evaluate.class_names)}"
        raise DataError(
            f"The model has {model.output_shape[-1]} outputs, and its classes are {', '.join(names)}{known}. "
            "Give the same classes in the same order."
        )
    clock, watch = phases.Clock(), Interruptible()
    set_seed(seed)
    images = (target.train if isinstance(target, Dataset) else target).unlabelled()
    evaluated = images if evaluate is None else evaluate.test or evaluate.train
    name = next((each.card.name for each in (evaluate, target) if isinstance(each, Dataset)), "target")
    adapted = keras.models.clone_model(model)
    adapted.set_weights(model.get_weights())
    backbone = backbone_of(adapted)
    unfreeze(adapted, fraction=UNFROZEN, batch_norm=chosen.name == "tent")
    found = Adaptation(adapted, None, evaluated, name, chosen.name, None, backbone.name, seed)
    found.class_names = names
    found.before = predicted_by(adapted, evaluated)
    pairs = pair(None, images, batch_size=min(BATCH_SIZE, len(images)), seed=seed)
    epochs = epochs or PRETRAINED.epochs_for(len(pairs))
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * len(pairs))
    with clock.part("training"):
        adapter = DomainAdapter(adapted, chosen.build())
        adapter.compile(keras.optimizers.Adam(schedule))
        history = adapter.fit(pairs, epochs=epochs, callbacks=[watch], verbose=verbose)
    found.history["adaptation"] = history.history
    found.probabilities = {"target": predicted_by(adapted, evaluated)}
    found.frozen = frozen_table(adapted)
    found.measure()
    found.interrupted, found.seconds = watch.interrupted, clock.stop()
    return found
