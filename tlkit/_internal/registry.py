"""Tables by name: one class for methods, scores, backbones, data sets, recipes and the like.

Nothing here imports Keras, so that listing the methods of a technique costs nothing.
"""

import importlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import lazy_loader

from tlkit.errors import TlkitError, UnknownNameError


class Named(Protocol):
    """A row of a registry."""

    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=Named)


class Registry(Collection[Row], Generic[Row]):
    """Rows in a fixed order, found by their names; upper and lower case are the same.

    Args:
        kind: what a row is, for error messages, such as `"backbone"`.
        rows: each has a `name`.

    >>> letters = Registry("letter", [Method("string", "alpha", "ascii_letters", "all of them", "")])
    >>> letters.names, letters.find("ALPHA").summary, "beta" in letters
    (['alpha'], 'all of them', False)
    """

    def __init__(self, kind: str, rows: Iterable[Row]) -> None:
        self.kind = kind
        self._rows: dict[str, Row] = {}
        for row in rows:
            if row.name in self:
                raise ValueError(f"Two rows of the table are named {row.name!r}.")
            self._rows[row.name.lower()] = row

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        """Whether there is a row of this name; a row itself is found, too."""
        if isinstance(name, str):
            return name.lower() in self._rows
        return any(name is row for row in self)

    @property
    def names(self) -> list[str]:
        """The name of each row, in the order of the table."""
        return [row.name for row in self]

    def find(self, name: str) -> Row:
        """Return the row of this name.

        Raises:
            UnknownNameError: there is none; the message suggests the nearest names.
        """
        row = self._rows.get(str(name).lower())
        if row is None:
            raise UnknownNameError(self.kind, str(name), self.names)
        return row


@dataclass(frozen=True)
class Method:
    """A class or function that is imported only when it is used.

    Attributes:
        package: the package that it belongs to.
        name: on the command line.
        home: module and name within the package, such as `"adversarial.DANN"`.
        summary: what it does, in one line.
        paper: the source.
        options: arguments that this row passes, such as `{"entropy": True}`.
    """

    package: str
    name: str
    home: str
    summary: str
    paper: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> Any:
        """The class or function itself."""
        module, _, name = self.home.rpartition(".")
        return getattr(importlib.import_module(".".join(filter(None, [self.package, module]))), name)

    def build(self, *arguments: Any, **options: Any) -> Any:
        """Call the target with the arguments and the row's options."""
        return self.target(*arguments, **{**self.options, **options})


def resolve(methods: Registry[Method], method: Any, base: type, argument: str) -> Any:
    """Return `method` itself if it is an instance of `base`, or build the method of that name.

    Args:
        methods: the table to look a name up in.
        method: what the user passed.
        base: the class of all methods in the table.
        argument: its name in the signature, for the error message.

    Raises:
        UnknownNameError: no method has this name.
        TlkitError: it is neither a name nor an instance of `base`.
    """
    if isinstance(method, str):
        return methods.find(method).build()
    if not isinstance(method, base):
        what = f"the class {method.__name__}" if isinstance(method, type) else repr(method)
        example = method.__name__ if isinstance(method, type) else next(iter(methods)).target.__name__
        raise TlkitError(
            f"{argument}={what} was given; expected an instance, such as {example}(), or a name: "
            f"{', '.join(methods.names)}."
        )
    return method


def attach(
    package: str, tables: Iterable[Registry[Any]], others: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package whose names are imported when first used.

    Args:
        package: its `__name__`.
        tables: registries of `Method`; every class and function in them becomes a public name.
        others: more public names, by module.
    """
    names: dict[str, list[str]] = {module: list(each) for module, each in others.items()}
    for row in (row for table in tables for row in table):
        module, _, name = row.home.rpartition(".")
        if name not in names.setdefault(module, []):
            names[module].append(name)
    return lazy_loader.attach(package, submod_attrs=names)
