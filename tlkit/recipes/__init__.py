"""Recipes: stand-alone scripts of plain Keras, to copy into a project and edit.

The scripts do not import tlkit. This module reads them as text and never imports them.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

from tlkit._internal.registry import Registry
from tlkit.errors import OutputError


@dataclass(frozen=True)
class Recipe:
    """One of the scripts in this folder.

    Attributes:
        name: of the recipe on the command line, such as `"fine-tuning"`.
        lessons: numbers of the lessons that end with the recipe; the first of them explains it.

    >>> RECIPES.find("dann").path.name
    'dann.py'
    """

    name: str
    lessons: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The path of the script."""
        return Path(__file__).with_name(f"{self.name.replace('-', '_')}.py")

    @property
    def text(self) -> str:
        """The text of the script."""
        return self.path.read_text("utf-8")

    @property
    def summary(self) -> str:
        """What the script does: the first line of its docstring, without the title."""
        first = (ast.get_docstring(ast.parse(self.text)) or "").split("\n", 1)[0]
        return first.partition(": ")[2]

    def write(self, out: Path, overwrite: bool = False) -> Path:
        """Write the script to a file atomically, and return the path of the file.

        Args:
            out: the file to write.
            overwrite: replace the file if it exists.

        Raises:
            OutputError: `out` is a folder, exists already, or cannot be written.
        """
        from tlkit._internal.cache import atomic  # imports numpy, which listing the recipes does not need

        if out.is_dir():
            raise OutputError(f"{out} is a folder; expected a file such as {out / self.path.name}.")
        if out.exists() and not overwrite:
            raise OutputError(f"{out} exists already. Pass --overwrite to replace it, or another --out.")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            with atomic(out) as path:
                path.write_text(self.text, "utf-8")
        except OSError as error:
            raise OutputError(
                f"The recipe cannot be written to {out}: {error.strerror or error}. Choose another --out."
            ) from error
        return out


RECIPES = Registry(
    "recipe",
    (
        Recipe("frozen-features", ("01", "00", "10")),
        Recipe("fine-tuning", ("02", "03", "09", "12")),
        Recipe("discriminative-rates", ("02", "09")),
        Recipe("dann", ("06",)),
        Recipe("coral", ("06", "04")),
        Recipe("multi-task", ("07",)),
        Recipe("self-supervised", ("05",)),
        Recipe("logme", ("11", "08", "12")),
        Recipe("many-workers", ("02",)),
        Recipe("audit", ("12",)),
        Recipe("temperature", ("09", "12")),
        Recipe("learning-curve", ("10",)),
    ),
)
