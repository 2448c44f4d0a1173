"""Build the web site of the executed lessons: `python site/build.py`, and open build/site/index.html."""

import argparse
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from sources import lay_out  # noqa: E402


def build(pages: Path, site: Path) -> int:
    """Lay the pages out in one folder and write the site into another; return sphinx's exit code.

    A broken reference or a docstring that cannot be read is an error; all of them are named.
    """
    for folder in (pages, site):
        shutil.rmtree(folder, ignore_errors=True)
    lay_out(pages)
    strict = ["-q", "-E", "-W", "--keep-going"]
    places = ["-c", str(HERE), "-d", str(pages.parent / "doctrees"), "-D", f"html_favicon={pages / 'icon.png'}"]
    return sphinx([*strict, *places, str(pages), str(site)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=HERE.parent / "build" / "site", help="default: build/site"
    )
    out = parser.parse_args().out.resolve()
    code = build(out.parent / "pages", out)
    if code == 0:
        print(f"The site is in {out / 'index.html'}")
    sys.exit(code)
