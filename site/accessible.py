"""What the theme leaves to be mended so that everybody can use the pages."""

from typing import Any

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Register nothing yet."""
    return {"parallel_read_safe": True, "parallel_write_safe": True}
