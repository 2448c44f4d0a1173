"""Docstrings are written to be read in an editor; this is what reStructuredText needs beyond that."""

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import signature, stringify_signature

CODE = re.compile(r"(``.+?``|`(?:[^`\n]|\n(?!\s*\n))+`)")  # it may go on in the next line
NAME = re.compile(r"`[\w.]+`")


def readable(lines: list[str]) -> list[str]:
    """Return the lines with indented paragraphs as code, `f(x)` as code, and bars outside of code as bars.

    A name alone stays as it is: sphinx links it.

    >>> readable(["The norm |w| of `w`, by `norm(w)`:", "", "    norm(w)"])
    ['The norm \\\\|w\\\\| of `w`, by ``norm(w)``:', '', '::', '', '    norm(w)']
    >>> readable(["    images: `(n, height,", "        width, 3)`"])
    ['    images: ``(n, height,', '        width, 3)``']
    """
    found: list[str] = []
    for line in lines:
        begins = line.startswith("    ") and len(found) > 1 and not found[-1] and found[-2][:1].strip()
        if begins and not found[-2].endswith("::"):
            found += ["::", ""]
        found.append(line)
    return "".join(map(marked, CODE.split("\n".join(found)))).split("\n")


def marked(part: str) -> str:
    """Return a piece of a text, code or not, as reStructuredText."""
    if not part.startswith("`"):
        lines = part.split("\n")
        return "\n".join(line if line.startswith("    ") else line.replace("|", r"\|") for line in lines)
    return part if part.startswith("``") or NAME.fullmatch(part) else f"`{part}`"


def process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Change the lines of a docstring before napoleon reads its sections."""
    lines[:] = readable(lines)


def shown(app: Sphinx, what: str, name: str, thing: Any, options: Any, given: str, returned: str) -> Any:
    """Return the signature of a class of Keras: its own, where Keras puts (*args, **kwargs) before it."""
    if what == "class" and given == "(*args, **kwargs)":
        own = signature(thing.__init__, bound_method=True)
        return stringify_signature(own.replace(return_annotation=own.empty)), returned
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect before napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("autodoc-process-signature", shown)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
