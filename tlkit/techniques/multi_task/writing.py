"""How tables write missing labels, several labels, and names that a layer can have."""

import re
from typing import Any

MISSING = ("", "nan", "none")  # as text, in any case


def layer_name(task: str) -> str:
    """Return the name of a task's head: layers cannot have all the names that columns of tables have.

    >>> layer_name("kind"), layer_name("size (cm)"), layer_name("Größe")
    ('kind', 'size_cm', 'Gr-f6-df-e')
    """
    ascii_only = re.sub(r"[^\x00-\x7f]", lambda found: f"-{ord(found[0]):x}-", task).replace("--", "-")
    return re.sub(r"[^A-Za-z0-9.-]+", "_", ascii_only).strip("_-") or "task"


def is_missing(value: Any) -> bool:
    """Whether this is how tables write "no label": empty, NaN or None.

    >>> is_missing(" "), is_missing(float("nan")), is_missing(0)
    (True, True, False)
    """
    return value is None or str(value).strip().lower() in MISSING


def parts_of(text: str) -> list[str]:
    """Split the labels that hold, written with `|` between them; "-" means none of them."""
    return [part.strip() for part in text.split("|") if part.strip() not in ("", "-")]
