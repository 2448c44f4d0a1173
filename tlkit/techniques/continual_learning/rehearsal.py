"""Rehearsal: train on some old examples together with the new ones, and measure forgetting."""

from collections.abc import Sequence

import numpy as np

from tlkit.data import Split
from tlkit.errors import DataError, TlkitError


def rehearse(new: Split, memory: Split, *, seed: int = 0) -> Split:
    """Combine new examples with stored old examples, in random order and equally many per class.

    Examples of smaller classes are repeated. `Split.few` chooses old examples at random.

    Robins 1995, "Catastrophic Forgetting, Rehearsal and Pseudorehearsal"; Rebuffi, Kolesnikov, Sperl &
    Lampert 2017, "iCaRL: Incremental Classifier and Representation Learning".

    Args:
        new: labelled examples of the new classes.
        memory: labelled examples of the old classes; their images have the same size.
        seed: seed of the random order.

    Raises:
        DataError: a class is in both splits, the images differ in size, or a split is empty.

    >>> old, new = (Split(np.zeros((n, 8, 8, 3), "uint8"), np.arange(n) % 2) for n in (2, 6))
    >>> np.bincount(rehearse(Split(new.images, new.labels + 2), old).labels).tolist()
    [3, 3, 3, 3]
    """
    if common := sorted(set(new.labels.tolist()) & set(memory.labels.tolist())):
        raise DataError(
            f"The classes {common} are in both splits; expected new classes with larger numbers than the old "
            "classes. split.subset(split.labels >= old) selects them without changing the labels."
        )
    if not (len(new) and len(memory)) or new.images.shape[1:] != memory.images.shape[1:]:
        raise DataError(
            f"New images of shape {new.images.shape} and old images of shape {memory.images.shape} were "
            "given; expected at least one of each, all of the same size."
        )
    labels = np.concatenate([new.labels, memory.labels])
    most = np.bincount(labels).max()
    chosen = np.concatenate([np.resize(np.flatnonzero(labels == label), most) for label in np.unique(labels)])
    combined = Split(
        np.concatenate([new.images[:], memory.images[:]]),
        labels,
        np.concatenate([new.names, memory.names]),
        {
            key: np.concatenate([values, memory.attributes[key]])
            for key, values in new.attributes.items()
            if key in memory.attributes
        },
    )
    return combined.subset(np.random.default_rng(seed).permutation(chosen))


def forgetting(accuracies: Sequence[float]) -> float:
    """Return the loss of accuracy on the old classes: the best earlier accuracy minus the last one.

    Chaudhry, Dokania, Ajanthan & Torr 2018, "Riemannian Walk for Incremental Learning: Understanding
    Forgetting and Intransigence".

    Args:
        accuracies: accuracies on the old classes, 0 to 1, before and after each later training; at least two.

    Raises:
        TlkitError: there is only one accuracy.

    >>> round(forgetting([0.95, 0.40]), 2)
    0.55
    """
    *before, last = accuracies
    if not before:
        raise TlkitError("One accuracy was given; expected at least two, before and after a later training.")
    return max(before) - last
