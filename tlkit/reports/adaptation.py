"""Sections about a domain adaptation: what it gained, and where the features are."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from tlkit import plots
from tlkit.reports.document import Block, Section, Text
from tlkit.reports.figures import accuracies, figure

ARMS = {
    "source_only": "source only",
    "last": "adapted, last epoch",
    "selected": "adapted, epoch chosen without target labels",
    "oracle": "adapted, best epoch (needs target labels)",
    "ceiling": "trained on target labels",
}


def gain_section(
    source: str,
    target: str,
    validator: str | None,
    reached: Mapping[str, float | None],
    labels: np.ndarray | None,
    before: np.ndarray,
    after: np.ndarray,
    class_names: Sequence[str],
) -> Section:
    """Return the section on what adaptation gained.

    Args:
        source, target: the names of the domains.
        validator: the score that chose the epoch, or None for the last epoch.
        reached: accuracy on the target, 0 to 1, of each arm of `ARMS`; None where it was not measured.
        labels: int `(n,)` of the target images that are evaluated, or None.
        before, after: probabilities `(n, classes)` of the network trained on the source alone, and adapted.
        class_names: in the order of the probabilities.
    """
    chosen = (
        f"The epoch was chosen by the validator {validator}, which needs no target labels."
        if validator
        else "The last epoch was kept."
    )
    found: list[Block] = [Text(f"The labels are those of {source}; {target} has none in training. {chosen}")]
    values = {name: reached[key] for key, name in ARMS.items()}
    measured = {name: value for name, value in values.items() if value is not None}
    if labels is None or not measured:
        advice = (
            "There are no labelled target images, so nothing here says how good the network is on the "
            "target. Label some dozens and pass them with --evaluate."
        )
        return Section("What adaptation gained", [*found, Text(advice, "caution")])
    found += [
        accuracies(
            measured,
            "Accuracy on the target",
            "All on the same labelled target images, which training never used. The best epoch is found with "
            "their labels, which nobody has in practice: it shows what choosing without labels costs. "
            "Training on target labels is the upper bound.",
            quantity="accuracy on the target",
        ),
        figure(
            lambda ax: plots.class_gains(
                labels, before.argmax(axis=1), after.argmax(axis=1), class_names, ax
            ),
            (6.4, 1.0 + 0.26 * len(class_names)),
            "The gain or loss of each class by adaptation.",
            "Compared with the network that learned the source alone. A class left of zero lost: negative "
            "transfer.",
        ),
    ]
    return Section("What adaptation gained", found)


def feature_section(
    features: Mapping[str, tuple[np.ndarray, np.ndarray]],
    source_labels: np.ndarray,
    a_distance: Mapping[str, float],
    history: Mapping[str, Sequence[float]],
) -> Section:
    """Return the section on the features of both domains before and after adaptation.

    Args:
        features: `before` and `after`: features of source and target examples, `(n, d)` each.
        source_labels: int `(n,)` of these source examples.
        a_distance: the proxy A-distance of the features, 0 to 2, `before` and `after`.
        history: Keras's history of the adaptation.
    """
    captions = {
        "before": "Before: a linear classifier separates the domains with a proxy A-distance of {:.2f} (0: "
        "not at all, 2: without error). On the right the classes of the source; the target is grey, because "
        "its labels are unknown in training.",
        "after": "After: a proxy A-distance of {:.2f}. Alignment should mix the domains and keep the classes "
        "apart.",
    }
    found = [
        figure(
            partial(plots.domains, *each, source_labels, None),
            (8, 3.6),
            f"Features of both domains {when} adaptation, by t-SNE.",
            captions[when].format(a_distance[when]),
            columns=2,
        )
        for when, each in features.items()
    ]
    if history.get("discriminator_accuracy"):
        found.append(
            figure(
                lambda ax: plots.discriminator(history, ax),
                (5, 3),
                "Discriminator accuracy.",
                "Near 0.5 the discriminator is at chance. Near 1 it separates the domains: the features did "
                "not align.",
            )
        )
    return Section("The features", found)
