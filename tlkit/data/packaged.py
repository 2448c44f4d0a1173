"""Find data files inside installed packages without importing the packages."""

from importlib.util import find_spec
from pathlib import Path

from tlkit.errors import DataError


def packaged(package: str, path: str, distribution: str) -> Path:
    """Return the path of a file or folder inside an installed package.

    The package is not imported, since importing some packages takes seconds.

    Args:
        package: the name of a top-level package, such as "sklearn".
        path: relative to the package's folder.
        distribution: the name to install, such as "scikit-learn".

    Raises:
        DataError: the package is missing, or has no such file.

    >>> packaged("sklearn", "datasets/data/digits.csv.gz", "scikit-learn").name
    'digits.csv.gz'
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(folder) / path).exists():
            return found
    made = f"This data set is made from the package {distribution!r}, which"
    if spec is None:
        raise DataError(f"{made} is not installed. Install it: pip install {distribution}")
    raise DataError(
        f"{made} has no file {path!r} in the installed version. Install it again: "
        f"pip install --force-reinstall {distribution}"
    )
