"""The section on the features of two domains, before and after adaptation."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from tlkit import plots
from tlkit.reports.document import Section
from tlkit.reports.figures import figure

CAPTIONS = {
    "before": "Before: a linear classifier separates the domains with a proxy A-distance of {:.2f} (0: not "
    "at all, 2: without error). On the right, colours show the classes of the source; the target is "
    "grey, because training does not know its labels.",
    "after": "After: a proxy A-distance of {:.2f}. Alignment should mix the domains and keep the classes "
    "apart.",
}


def features_section(
    features: Mapping[str, tuple[np.ndarray, np.ndarray]],
    a_distance: Mapping[str, float],
    source_labels: np.ndarray,
    history: Mapping[str, Mapping[str, list[float]]],
) -> Section:
    """Return the section on the features; for the arguments see `tlkit.reports.adaptation.Adaptation`."""
    found = [
        figure(
            partial(plots.domains, *each, source_labels, None),
            (8, 3.6),
            f"Features of both domains {when} adaptation, by t-SNE.",
            CAPTIONS[when].format(a_distance[when]),
            columns=2,
        )
        for when, each in features.items()
    ]
    adaptation = history.get("adaptation", {})
    if adaptation.get("discriminator_accuracy"):
        found.append(
            figure(
                lambda ax: plots.discriminator(adaptation, ax),
                (5, 3),
                "Discriminator accuracy.",
                "Near 0.5 the discriminator is at chance. Near 1 it separates the domains: the features "
                "did not align.",
            )
        )
    return Section("The features", found)
