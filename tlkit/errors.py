"""What can go wrong, said so that the reader knows what to do next."""

import difflib
from collections.abc import Iterable

SHOWN = 12  # names that a message lists


class TlkitError(Exception):
    """Base of every error that tlkit raises on purpose; its message names the next thing to do."""


class UnknownNameError(TlkitError):
    """A name that is in no table of tlkit; the message offers the nearest ones, and the first of all.

    >>> print(UnknownNameError("backbone", "ResNet5", ["ResNet50", "VGG16"]))
    There is no backbone named 'ResNet5'. Did you mean 'ResNet50'? Known: ResNet50, VGG16.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        by_lower = {each.lower(): each for each in names}
        near = [by_lower[each] for each in difflib.get_close_matches(name.lower(), by_lower, n=3)]
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        known_names = f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
        super().__init__(f"There is no {kind} named {name!r}. {hint}Known: {known_names}.")


class DataError(TlkitError):
    """The images or labels cannot be used as they are."""


class NoLabelsError(DataError):
    """The labels of an unlabelled split were asked for; nobody has them."""


class WeightsError(TlkitError):
    """Pretrained weights are missing, foreign or do not fit the architecture."""


class OutputError(TlkitError):
    """The results cannot be written where they were asked to go."""


class TlkitWarning(UserWarning):
    """Something was mended or left out; the run goes on."""


class WrongAnswerError(TlkitError):
    """An answer to an exercise is wrong, where wrong answers are to stop the lesson."""
