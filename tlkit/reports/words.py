"""Numbers and names in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def percent(fraction: float) -> str:
    """Round a fraction to whole percent, but never up to 100 or down to 0.

    >>> percent(0.864), percent(0.999), percent(1.0)
    ('86', '99.9', '100')
    """
    return f"{100 * fraction:.0f}" if 0.005 <= fraction < 0.995 else f"{100 * fraction:.4g}"


def duration(seconds: float | None) -> str:
    """Write a time in seconds or minutes; a dash where it was not measured.

    >>> duration(12.34), duration(150), duration(None)
    ('12.3 s', '2.5 min', '–')
    """
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def number(value: Any) -> str:
    """Write a value of a table with three significant digits; a dash where there is none.

    >>> number(0.12345), number(12345), number(float("nan")), number("yes")
    ('0.123', '12,345', '–', 'yes')
    """
    if isinstance(value, bool | np.bool_ | str):
        return str(value)
    if value is None or value != value:
        return "–"
    if isinstance(value, int | np.integer) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def counted(count: int, what: str) -> str:
    """Write a number of things.

    >>> counted(1, "hint"), counted(2, "hint")
    ('1 hint', '2 hints')
    """
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def listed(names: Sequence[str]) -> str:
    """Join names by commas and "and".

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def shortened(names: Sequence[str], most: int) -> str:
    """Join the first names, and say how many more there are.

    >>> shortened(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def interval(bounds: Mapping[str, Any] | None) -> str:
    """Write the `low` and `high` of an interval of fractions in percent.

    >>> interval({"low": 0.25, "high": 0.5}), interval(None)
    ('25 to 50 %', '–')
    """
    return "–" if bounds is None else f"{percent(bounds['low'])} to {percent(bounds['high'])} %"
