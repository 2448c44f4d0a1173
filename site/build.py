"""Build the web site of the executed lessons: `make site`, and open build/site/index.html."""

import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

from tlkit.errors import TlkitError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from sources import lay_out  # noqa: E402


def build(pages: Path, site: Path) -> int:
    """Lay the pages out in one folder and write the site into another; return sphinx's exit code.

    A broken reference or a docstring that cannot be read is an error; all of them are named.
    """
    shutil.rmtree(pages, ignore_errors=True)
    lay_out(pages)
    shutil.rmtree(site, ignore_errors=True)
    strict = ["-q", "-E", "-W", "--keep-going"]
    read_once = ["-c", str(HERE), "-d", str(pages.parent / "doctrees")]
    return sphinx([*strict, *read_once, str(pages), str(site)])


if __name__ == "__main__":
    out = HERE.parent / "build"
    try:
        code = build(out / "pages", out / "site")
    except TlkitError as error:
        sys.exit(f"Error: {error}")
    if code == 0:
        print("The site is in build/site; open build/site/index.html.")
    sys.exit(code)
