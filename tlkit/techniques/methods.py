"""Methods by the names of the command line: one line each in a table, built when they are asked for.

Nothing here imports Keras, so that a list of methods costs nothing.
"""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from tlkit.errors import UnknownNameError


@dataclass(frozen=True)
class Method:
    """A method of a technique.

    Attributes:
        package: the technique's package.
        name: on the command line.
        home: file and class within the package.
        does: what it does, in a line.
        paper: where it is from.
        options: of the class.
    """

    package: str
    name: str
    home: str
    does: str
    paper: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def made(self) -> type:
        """The class that is built."""
        module, name = self.home.split(".")
        return getattr(importlib.import_module(f"{self.package}.{module}"), name)

    def build(self, *given: Any, **options: Any) -> Any:
        """Make the method, ready to train with."""
        return self.made(*given, **{**self.options, **options})


class Named(Protocol):
    """An entry of a table of methods."""

    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=Named)


def find(kind: str, name: str, methods: Iterable[Entry]) -> Entry:
    """Return the entry of this name; upper and lower case are the same.

    Raises:
        UnknownNameError: there is none; the message offers the nearest ones.
    """
    by_name = {method.name: method for method in methods}
    if name.lower() not in by_name:
        raise UnknownNameError(kind, name, by_name)
    return by_name[name.lower()]
