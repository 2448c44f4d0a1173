"""Collect the wheels of a class pack, and find out on which systems they run."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from tqdm import tqdm

import tlkit
from tlkit.course.install import number
from tlkit.errors import OutputError, TlkitError

COURSE = "tlkit[tensorflow,lessons,lite]"  # the requirement of the lessons


def installed(requirement: str = COURSE) -> dict[str, Distribution]:
    """Return the installed packages that a requirement needs, including itself, by name.

    Raises:
        TlkitError: a package is not installed, so its version is not known.

    >>> sorted(installed("nbval"))[:3]
    ['asttokens', 'attrs', 'comm']
    """
    found: dict[str, Distribution] = {}
    todo, visited = [Requirement(requirement)], set()
    while todo:
        current = todo.pop()
        name, extras = canonicalize_name(current.name), ("", *sorted(current.extras))
        if (name, extras) in visited:
            continue
        visited.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError as error:
            raise TlkitError(
                f'{name} is not installed here, so it cannot be packed. Run: pip install "{requirement}"'
            ) from error
        required = map(Requirement, found[name].requires or ())
        todo += [
            each
            for each in required
            if not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in extras)
        ]
    return dict(sorted(found.items()))


def source() -> str:
    """Return the requirement that installs tlkit: the folder of the project, or a version in the index."""
    project = Path(tlkit.__file__).parents[1]
    return str(project) if (project / "pyproject.toml").is_file() else f"tlkit=={tlkit.__version__}"


def collect(requirements: list[str], folder: Path, progress: bool = False) -> None:
    """Collect the wheel of each requirement in a folder; pip builds a wheel if the index has none.

    Args:
        requirements: such as `"numpy==2.4.6"`, or the folder of a project.
        folder: for the wheels.
        progress: show a progress bar.

    Raises:
        TlkitError: pip is missing, or cannot collect a package.
        OutputError: the disk is full.
    """
    if importlib.util.find_spec("pip") is None:
        raise TlkitError("Packing needs pip, which is not installed here. Run: python -m ensurepip")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--disable-pip-version-check", "--no-input"]
    process = subprocess.Popen(
        [*pip, "--progress-bar", "off", "--wheel-dir", str(folder), *requirements],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    with process, tqdm(total=len(requirements), desc="packages", unit="package", disable=not progress) as bar:
        for line in process.stdout or ():
            lines.append(line.strip())
            bar.update(line.startswith(("Collecting ", "Processing ")))
    if process.returncode == 0:
        return
    if any("No space left on device" in line for line in lines):
        raise OutputError("The disk is full: the packages do not fit. Make room, or choose another --out.")
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = (errors or lines or ["it gave no reason"])[-1]
    raise TlkitError(
        f"pip could not collect every package: {reason}. Check the network and the index in pip's settings, "
        "or pass --without-wheels."
    )


def oldest_system(wheels: Iterable[str]) -> str:
    """Return the oldest version of glibc or macOS on which all wheels run; `""` if they run on all versions.

    Args:
        wheels: file names of the wheels.

    >>> oldest_system(["a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"])
    ''
    >>> oldest_system(["a-1-cp311-cp311-manylinux_2_28_x86_64.whl", "b-1-py3-none-any.whl"])
    '2.28'
    """
    needed = [""]
    for wheel in wheels:
        platforms = [tag.platform for tag in parse_wheel_filename(wheel)[3]]
        found = [re.match(r"(?:manylinux|macosx)_(\d+)_(\d+)_", each) for each in platforms]
        if all(found):
            needed.append(min((f"{each[1]}.{each[2]}" for each in found if each), key=number))
    return max(needed, key=number)
