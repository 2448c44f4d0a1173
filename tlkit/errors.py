"""The errors and warnings of tlkit; each message states the problem and the next step."""

import difflib
from collections.abc import Iterable

MAX_NAMES = 12  # number of names that a message lists


class TlkitError(Exception):
    """The base class of all errors of tlkit; the message states what is wrong and what to do next."""


class UnknownNameError(TlkitError):
    """An unknown name; the message suggests similar names, and lists the known ones.

    Args:
        kind: the kind of object, such as `"backbone"`.
        name: the unknown name.
        known: all known names.

    >>> print(UnknownNameError("backbone", "ResNet5", ["ResNet50", "VGG16"]))
    There is no backbone named 'ResNet5'. Did you mean 'ResNet50'? Known: ResNet50, VGG16.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        by_lower = {each.lower(): each for each in names}
        near = [by_lower[each] for each in difflib.get_close_matches(name.lower(), by_lower, n=3)]
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        known_names = f"{', '.join(names[:MAX_NAMES])}{', ...' if len(names) > MAX_NAMES else ''}"
        super().__init__(f"There is no {kind} named {name!r}. {hint}Known: {known_names}.")


class DataError(TlkitError):
    """The images or labels cannot be used as they are."""


class NoLabelsError(DataError):
    """The labels of an unlabelled split are needed."""


class WeightsError(TlkitError):
    """Pretrained weights are missing or altered, or do not fit the architecture."""


class OutputError(TlkitError):
    """The results cannot be written to the chosen folder."""


class TlkitWarning(UserWarning):
    """A problem that tlkit corrected or left out; the run continues."""


class WrongAnswerError(TlkitError):
    """An answer to an exercise is wrong, and wrong answers stop the lesson."""
