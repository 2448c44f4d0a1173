"""Conventions of label tables: missing labels, several labels per image, and task names as layer names."""

import re
from typing import Any

MISSING = ("", "nan", "none")  # as text, in any case


def layer_name(task: str) -> str:
    """Return a valid layer name for the head of a task, whose name may contain other characters.

    >>> layer_name("kind"), layer_name("size (cm)"), layer_name("Größe")
    ('kind', 'size_cm', 'Gr-f6-df-e')
    """
    ascii_only = re.sub(r"[^\x00-\x7f]", lambda found: f"-{ord(found[0]):x}-", task).replace("--", "-")
    return re.sub(r"[^A-Za-z0-9.-]+", "_", ascii_only).strip("_-") or "task"


def is_missing(value: Any) -> bool:
    """Whether a value of a table means "no label": empty, NaN or None.

    >>> is_missing(" "), is_missing(float("nan")), is_missing(0)
    (True, True, False)
    """
    return value is None or str(value).strip().lower() in MISSING


def parts_of(text: str) -> list[str]:
    """Split a text into labels, which are separated by `|`; "-" means no label."""
    return [part.strip() for part in text.split("|") if part.strip() not in ("", "-")]
