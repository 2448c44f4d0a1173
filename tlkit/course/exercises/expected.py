"""What an answer has to be before it is right or wrong: a number, a name, a function."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np


class Unfinished(Exception):
    """A function that the learner has not written yet: it returns None."""


class Unexpected(Exception):
    """An answer of another type, shape or range; the message says what it is instead."""


@dataclass(frozen=True)
class Expected:
    """What an answer is.

    Attributes:
        description: in words, after "expected".
        accept: returns the answer as the checks take it, or raises `Unexpected`.
    """

    description: str
    accept: Callable[[Any], Any]


def number(low: float = -np.inf, high: float = np.inf, what: str = "a number") -> Expected:
    """Expect one finite number from `low` to `high`.

    >>> number(0, 1, "an accuracy").description
    'an accuracy from 0 to 1'
    """
    limits = {" from": low, " to": high}
    said = what + "".join(f"{word} {limit:g}" for word, limit in limits.items() if np.isfinite(limit))

    def accept(answer: Any) -> float:
        if isinstance(answer, bool | str) or np.size(answer) != 1:
            raise Unexpected(shown(answer))
        try:
            value = float(np.asarray(answer).item())
        except (TypeError, ValueError) as error:
            raise Unexpected(shown(answer)) from error
        if not low <= value <= high or not np.isfinite(value):
            raise Unexpected(shown(value))
        return value

    return Expected(said, accept)


def accuracy(what: str = "an accuracy") -> Expected:
    """Expect a fraction, 0 to 1."""
    return number(0, 1, what)


def whole_number() -> Expected:
    """Expect a number without a fraction.

    >>> whole_number().accept(np.float32(3))
    3
    """

    def accept(answer: Any) -> int:
        value = number().accept(answer)
        if value != int(value):
            raise Unexpected(shown(value))
        return int(value)

    return Expected("a whole number", accept)


def one_of(*options: str) -> Expected:
    """Expect one of some words."""

    def accept(answer: Any) -> str:
        if not isinstance(answer, str) or answer not in options:
            raise Unexpected(shown(answer))
        return answer

    return Expected(f"one of {', '.join(map(repr, options))}", accept)


def text(what: str) -> Expected:
    """Expect a word."""

    def accept(answer: Any) -> str:
        if not isinstance(answer, str):
            raise Unexpected(shown(answer))
        return answer

    return Expected(what, accept)


def truth() -> Expected:
    """Expect True or False."""

    def accept(answer: Any) -> bool:
        if not isinstance(answer, bool | np.bool_):
            raise Unexpected(shown(answer))
        return bool(answer)

    return Expected("True or False", accept)


def several(count: int, each: Expected) -> Expected:
    """Expect a list or tuple of so many answers, each of the same kind.

    >>> several(2, truth()).accept((True, False))
    [True, False]
    """

    def accept(answer: Any) -> list[Any]:
        if not isinstance(answer, list | tuple | np.ndarray) or len(answer) != count:
            raise Unexpected(shown(answer))
        return [each.accept(part) for part in answer]

    return Expected(f"a list of {count}, each {each.description}", accept)


def letters(known: str) -> Expected:
    """Expect a set of some letters; a list or a string of them does as well."""

    def accept(answer: Any) -> set[str]:
        if not isinstance(answer, set | list | tuple | str) or not set(answer) <= set(known):
            raise Unexpected(shown(answer))
        return set(answer)

    return Expected(f"a set of some of the letters {', '.join(known)}", accept)


def by_name(names: Sequence[str], each: Expected) -> Expected:
    """Expect a dictionary with these names, each with an answer of the same kind."""

    def accept(answer: Any) -> dict[str, Any]:
        if not isinstance(answer, Mapping) or set(answer) != set(names):
            raise Unexpected(shown(answer))
        return {name: each.accept(answer[name]) for name in names}

    return Expected(f"a dictionary with {' and '.join(map(repr, names))}, each {each.description}", accept)


def function(*arguments: str) -> Expected:
    """Expect a function of so many arguments. Where it returns None, it is not written yet."""

    def accept(answer: Any) -> Callable[..., Any]:
        if not callable(answer) or inspect.isclass(answer):
            raise Unexpected(shown(answer))
        try:
            inspect.signature(answer).bind(*arguments)
        except TypeError as error:
            raise Unexpected(f"a function of {', '.join(inspect.signature(answer).parameters)}") from error

        @wraps(answer)
        def finished(*values: Any) -> Any:
            if (result := answer(*values)) is None:
                raise Unfinished
            return result

        return finished

    return Expected(f"a function of {', '.join(arguments)}", accept)


def subclass(of: str, method: str) -> Expected:
    """Expect a class, not an object of it, with a method."""

    def accept(answer: Any) -> type:
        if not inspect.isclass(answer) or not hasattr(answer, method):
            raise Unexpected(shown(answer))
        return answer

    return Expected(f"a subclass of {of} with a method {method}", accept)


def shown(answer: Any) -> str:
    """Write an answer in a few words.

    >>> shown([1, 2]), shown(0.5)
    ('a list of 2: [1, 2]', '0.5')
    """
    written = repr(answer).splitlines()[0][:60]
    if isinstance(answer, int | float | str | bool):
        return written
    length = f" of {len(answer)}" if hasattr(answer, "__len__") else ""
    return f"a {type(answer).__name__}{length}: {written}"
