"""Several labelled domains with the same classes: they are checked, and joined into one data set."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tlkit.data import Dataset, Split
from tlkit.data.images import joined
from tlkit.errors import DataError


def check_domains(domains: Sequence[Dataset], *, least: int = 1) -> None:
    """Raise DataError if there are too few domains, they differ in classes or size, or two are the same."""
    if len(domains) < least:
        count = "No labelled domain was given" if not domains else "One labelled domain was given"
        raise DataError(f"{count}; expected at least {least}, each as a data set.")
    first = domains[0]
    called = domain_names(domains)
    known = dict[str, str]()
    for name, domain in zip(called, domains, strict=True):
        if (same := known.setdefault(domain.train.fingerprint(), name)) != name:
            raise DataError(f"{same} and {name} have the same training images. Give each domain once.")
    for name, other in zip(called[1:], domains[1:], strict=True):
        names = called[0], name
        if difference := class_difference(first.class_names, other.class_names, names):
            raise DataError(
                f"{names[0]} and {names[1]} must have the same classes in the same order: {difference}. "
                "Rename or remove class folders, or use Dataset.only(class_names)."
            )
        if first.image_size != other.image_size:
            raise DataError(
                f"{names[0]} has images of {first.image_size} pixels and {names[1]} of {other.image_size}. "
                "Load all domains with the same image_size."
            )


def class_difference(one: Sequence[str], other: Sequence[str], names: tuple[str, str]) -> str:
    """Say which classes only one of two domains has; "" if they have the same classes in the same order.

    >>> class_difference(["cat", "dog"], ["cat", "hen"], ("the source", "the target"))
    'only the source has dog; only the target has hen'
    >>> class_difference(["cat", "dog"], ["dog", "cat"], ("the source", "the target"))
    'their order differs'
    """
    if list(one) == list(other):
        return ""
    only = {
        names[0]: [each for each in one if each not in other],
        names[1]: [each for each in other if each not in one],
    }
    said = "; ".join(f"only {name} has {', '.join(found)}" for name, found in only.items() if found)
    return said or "their order differs"


def domain_names(domains: Sequence[Dataset]) -> list[str]:
    """Return the name of each domain; a number tells domains of the same name apart."""
    names: list[str] = []
    for each in domains:
        name, number = each.card.name, 2
        while name in names:
            name, number = f"{each.card.name} ({number})", number + 1
        names.append(name)
    return names


def joined_domains(domains: Sequence[Dataset]) -> tuple[Dataset, np.ndarray]:
    """Return one data set of the training and validation images of all domains.

    Args:
        domains: data sets with the same classes and image size; see `check_domains`.

    Returns:
        The data set, without a test split, and with a validation split only if each domain has a labelled
        one; and the index of the domain of each training image, int `(n,)`.
    """
    of_each = np.repeat(np.arange(len(domains)), [len(each.train) for each in domains])
    if len(domains) == 1:
        return domains[0], of_each
    names, cards = domain_names(domains), [each.card for each in domains]
    train = joined_splits([each.train for each in domains], names)
    held_out = [each.validation for each in domains if each.validation is not None]
    complete = len(held_out) == len(domains) and all(each.labelled for each in held_out)
    validation = joined_splits(held_out, names) if complete else None
    texts: dict[str, Any] = {
        key: "; ".join(dict.fromkeys(getattr(each, key) for each in cards if getattr(each, key)))
        for key in ("licence", "source", "citation")
    }
    card = replace(
        cards[0],
        name=" + ".join(names),
        title=" + ".join(each.title for each in cards),
        description=" ".join(dict.fromkeys(each.description for each in cards if each.description)),
        **texts,
        counts={"train": len(train)} | ({} if validation is None else {"validation": len(validation)}),
        checksum="",
    )
    skipped = [line for each in domains for line in each.skipped]
    return Dataset(train, validation, None, domains[0].class_names, card, skipped), of_each


def joined_splits(splits: Sequence[Split], domains: Sequence[str] | None = None) -> Split:
    """Return the labelled images of all splits as one; files are not read.

    Args:
        splits: labelled images.
        domains: the name of the domain of each split, which is put before the names of its images.
    """
    before = ["" if domains is None else f"{name}: " for name in domains or splits]
    names = [np.char.add(text, each.names) for text, each in zip(before, splits, strict=True)]
    labels = np.concatenate([each.labels for each in splits])
    return Split(joined([each.images for each in splits]), labels, np.concatenate(names))
