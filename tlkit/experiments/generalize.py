"""Which method makes the best classifier for an unseen domain? Each domain is left out once."""

from collections.abc import Sequence
from itertools import product

import keras
import numpy as np
from tqdm import tqdm

from tlkit._internal.sizes import check_length
from tlkit.callbacks import Interruptible
from tlkit.data import Dataset, Split
from tlkit.errors import TlkitError
from tlkit.experiments import phases
from tlkit.experiments.adaptation_arms import predicted_by, with_all_labels
from tlkit.experiments.domain_trainings import DomainTrainings
from tlkit.experiments.domains import check_domains, domain_names
from tlkit.experiments.fitting import MINUTES
from tlkit.models import frozen_table
from tlkit.reports.generalization import Generalization
from tlkit.reports.measures import is_unbalanced, point_measures
from tlkit.reports.unseen_domains import CONTROL, FROZEN, Outcome
from tlkit.techniques.domain_generalization import METHODS


def generalize(
    domains: Sequence[Dataset],
    *,
    methods: Sequence[str] | None = None,
    backbone: str | keras.Model = "EfficientNetLite0",
    weights: str | None = "imagenet",
    epochs: int | None = None,
    minutes: float | None = MINUTES,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
) -> Generalization:
    """Compare methods of domain generalization, and train a classifier for an unseen domain.

    Each domain is left out once. A classifier learns from the train splits of the other domains by each
    method, and is then evaluated on the domain that was left out. No image of this domain is used in
    training, with or without its label. Within such a round, all trained methods start from the same weights
    and make the same number of steps; all rounds have about the same number of epochs. At the end, the method
    with the highest mean accuracy on the domains that were left out trains the classifier of the result on
    all domains: their train and their validation splits. If the classes of a domain are unbalanced, the
    methods are compared by balanced accuracy instead.

    A pretrained network is fine-tuned from the solved head, as by `tlkit.train`: the top three quarters of
    the layers are trained, without interpolation of the weights. From random weights, the whole network is
    trained.

    Args:
        domains: labelled data sets with the same classes in the same order, at least 3, or 2 to learn from a
            single one. A domain is evaluated on its test split, or on its train and validation splits if it
            has none. Its validation split is held out when the method learns from it.
        methods: names of `tlkit.techniques.domain_generalization.METHODS`; by default all. Without pretrained
            weights, "frozen" is left out. `tlkit generalize --list` explains each.
        backbone: a name of `tlkit.list_backbones()`, or a model from raw images to features.
        weights: `"imagenet"`, `None` (random) or a weights file; only if `backbone` is a name.
        epochs: of each training. By default, the number of steps is that of `tlkit.train` for so many images.
        minutes: about how long a training may take; None for no limit. The first training measures which
            fraction of the epochs fits, and all others make this fraction of theirs. A slower method, or the
            last training on all images, can take longer.
        seed: of the weights, the order of the images and the augmentation.
        callbacks: further Keras callbacks for each training.
        verbose: 0 is silent, 1 shows progress bars, 2 prints a line for each training with the minutes left.

    Returns:
        The classifier, and what each method reached on each domain that was left out.

    Raises:
        DataError: there are fewer than 2 domains, or they do not fit together.
        UnknownNameError: there is no such method or backbone.
        TlkitError: no method is left.
    """
    domains = list(domains)
    names = [METHODS.find(each).name for each in methods or METHODS.names]
    check_length(epochs, minutes)
    check_domains(domains, least=2)
    clock, watch = phases.Clock(), Interruptible()
    network, pretrained = phases.loaded(backbone, weights, domains[0].image_size)
    names = list(dict.fromkeys(each for each in names if pretrained or each != FROZEN))
    if not names:
        raise TlkitError(
            "Without pretrained weights there are no frozen features. Choose another method, such as erm."
        )
    seconds = None if minutes is None else 60 * minutes
    trainings = DomainTrainings(
        domains,
        network,
        pretrained,
        epochs,
        seconds,
        seed,
        [*callbacks, watch],
        phases.shows_progress(verbose),
    )
    unbalanced = any(is_unbalanced(evaluated(each).labels) for each in domains)
    measure, named = "balanced_accuracy" if unbalanced else "accuracy", domain_names(domains)
    found = Generalization(
        trainings.model, named, domains, names, network.name, seed, measure=measure, pretrained=pretrained
    )
    rounds = list(product(range(len(domains)), names))
    shown = phases.shows_progress(verbose)
    with trainings, tqdm(total=len(rounds) + 1, desc="generalize", unit="training", disable=not shown) as bar:
        for number, (left_out, method) in enumerate(rounds, start=1):
            bar.set_postfix_str(f"{found.domains[left_out]} left out, {method}")
            outcome = _left_out(trainings, domains, method, left_out, found.measure, watch)
            if outcome is None:
                break
            found.outcomes.append(outcome)
            bar.update()
            if verbose == 2:
                left = clock.stop()["total"] / number * (bar.total - number) / 60
                tqdm.write(f"{found.domains[left_out]} left out, {method}: about {left:.1f} min left")
        found.chosen = found.best if found.complete else FROZEN if pretrained else CONTROL
        if found.complete or pretrained:
            bar.set_postfix_str(f"all domains, {found.chosen}")
            trainings.fit(found.chosen, range(len(domains)), validation=True)
            bar.update()
        found.interrupted = watch.interrupted
    found.frozen, found.seconds = frozen_table(found.model), clock.stop()
    return found


def _left_out(
    trainings: DomainTrainings,
    domains: Sequence[Dataset],
    method: str,
    left_out: int,
    measure: str,
    watch: Interruptible,
) -> Outcome | None:
    """Train on all domains but one by a method, and evaluate it on this one; None after Ctrl-C."""
    clock = phases.Clock()
    known = [index for index in range(len(domains)) if index != left_out]
    trainings.fit(method, known)
    if watch.interrupted:
        return None
    held_out = [domains[index].validation for index in known]
    values = [
        point_measures(each.labels, predicted_by(trainings.model, each).argmax(axis=1))[measure]
        for each in held_out
        if each is not None and each.labelled
    ]
    images = evaluated(domains[left_out])
    return Outcome(
        method,
        left_out,
        predicted_by(trainings.model, images).argmax(axis=1),
        images.labels,
        float(np.mean(values)) if len(values) == len(known) else None,
        trainings.steps,
        clock.stop()["total"],
    )


def evaluated(domain: Dataset) -> Split:
    """Return the labelled images on which a domain is evaluated: its test split, or else all others."""
    return with_all_labels(domain).train if domain.test is None else domain.test
