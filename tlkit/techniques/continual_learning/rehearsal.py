"""Rehearsal: some old examples beside the new ones, and what was forgotten."""

from collections.abc import Sequence

import numpy as np

from tlkit.data import Split
from tlkit.errors import DataError, TlkitError


def rehearse(new: Split, memory: Split, *, seed: int = 0) -> Split:
    """Return new examples and remembered old ones in random order, as many of each class.

    The examples of a smaller class are repeated. `Split.few` is a random choice of what to remember.

    Robins 1995, "Catastrophic Forgetting, Rehearsal and Pseudorehearsal"; Rebuffi, Kolesnikov, Sperl &
    Lampert 2017, "iCaRL: Incremental Classifier and Representation Learning".

    Args:
        new: labelled examples of the new classes.
        memory: labelled examples of the old classes, images of the same size.
        seed: of the order.

    Raises:
        DataError: a class is in both, or the images differ in size, or nothing is remembered.

    >>> old, new = (Split(np.zeros((n, 8, 8, 3), "uint8"), np.arange(n) % 2) for n in (2, 6))
    >>> np.bincount(rehearse(Split(new.images, new.labels + 2), old).labels).tolist()
    [3, 3, 3, 3]
    """
    if shared := sorted(set(new.labels.tolist()) & set(memory.labels.tolist())):
        raise DataError(
            f"The classes {shared} are both new and remembered. Number the new classes after the old ones; "
            "split.subset(split.labels >= old) keeps the labels of the whole."
        )
    if not (len(new) and len(memory)) or new.images.shape[1:] != memory.images.shape[1:]:
        raise DataError(
            f"New images of shape {new.images.shape} and remembered ones of shape {memory.images.shape} were "
            "given; expected at least one of each, of one size."
        )
    labels = np.concatenate([new.labels, memory.labels])
    most = np.bincount(labels).max()
    chosen = np.concatenate([np.resize(np.flatnonzero(labels == label), most) for label in np.unique(labels)])
    both = Split(
        np.concatenate([new.images[:], memory.images[:]]),
        labels,
        np.concatenate([new.names, memory.names]),
        {
            key: np.concatenate([values, memory.attributes[key]])
            for key, values in new.attributes.items()
            if key in memory.attributes
        },
    )
    return both.subset(np.random.default_rng(seed).permutation(chosen))


def forgetting(accuracies: Sequence[float]) -> float:
    """Return how much was forgotten: the best earlier accuracy minus the last one.

    Chaudhry, Dokania, Ajanthan & Torr 2018, "Riemannian Walk for Incremental Learning: Understanding
    Forgetting and Intransigence".

    Args:
        accuracies: on the old classes, before and after each later training; at least two.

    >>> round(forgetting([0.95, 0.40]), 2)
    0.55
    """
    *before, last = accuracies
    if not before:
        raise TlkitError("Forgetting needs the accuracy before and after; one number was given.")
    return max(before) - last
