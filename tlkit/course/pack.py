"""A class pack: what a laptop without network needs for the course, in one zip file."""

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from tqdm import tqdm

import tlkit
from tlkit._internal.cache import atomic
from tlkit._internal.keras_import import import_keras
from tlkit.course.build import solved_lessons
from tlkit.course.copies import student
from tlkit.course.install import this_machine
from tlkit.course.solved import Solved
from tlkit.course.wheels import COURSE, collect, installed, oldest_system, source
from tlkit.errors import OutputError

ROOM = 0.5  # of the size that is installed, while a pack is made; 0.32 was measured


def pack(
    out: Path,
    numbers: Iterable[str] | None = None,
    place: Path | None = None,
    *,
    wheels: bool = True,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write a class pack: students' notebooks, packages with the data, weights, checksums and an installer.

    It holds the versions that are installed here, for laptops with this system and this version of Python.
    It is written whole or not at all.

    Args:
        out: the zip file.
        numbers: of the lessons, such as `["00", "05"]`; None takes all.
        place: folder of the solved notebooks; None takes those of tlkit.
        wheels: with packages and weights, about a gigabyte. Without, the laptop's pip takes the packages
            from its index, and the pack is for any system.
        overwrite: replace an earlier pack.
        progress: show progress bars.

    Returns:
        the zip file.

    Raises:
        OutputError: the file exists, or the disk has no room for it.
        TlkitError: a package is not installed here, or cannot be had from pip's index.
        UnknownNameError, DataError: there is no such lesson, or it cannot be copied.
    """
    out = Path(out)
    if out.suffix != ".zip" or out.is_dir():
        raise OutputError(f"{out} is no name of a zip file, expected one such as class.zip.")
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists. Pass --overwrite to replace it, or another --out.")
    lessons, packages = solved_lessons(numbers, place), installed()
    size = sum(file.size or 0 for each in packages.values() for file in each.files or ())
    versions = {name: each.version for name, each in packages.items()}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if wheels:
            refuse_full_disk(out.parent, size * ROOM)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".packing-") as temporary:
            folder = Path(temporary)
            about = fill(folder, lessons, versions, wheels=wheels, progress=progress)
            about["installed_megabytes"] = round(1.2 * size / 1e6)  # 1.18 was measured
            explain(folder, out.stem, about)
            with atomic(out) as path:
                compress(folder, path, out.stem, progress)
    except OSError as error:
        raise OutputError(
            f"The pack could not be written to {out}: {error.strerror or error}. Nothing of it was left "
            "there. Make room, or choose another --out."
        ) from error
    return out


def refuse_full_disk(folder: Path, needed: float) -> None:
    """Raise where `needed` bytes do not fit into a folder."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"A pack needs about {needed / 1e6:,.0f} MB while it is made; {free / 1e6:,.0f} MB are free in "
            f"{folder}. Make room, choose another --out, or pass --without-wheels."
        )


def fill(
    folder: Path, lessons: list[Solved], versions: dict[str, str], *, wheels: bool, progress: bool = False
) -> dict[str, Any]:
    """Write the content of a pack into a folder, and return what the installer has to know of it."""
    for name in ("notebooks", "wheels", "weights"):
        (folder / name).mkdir()
    for lesson in lessons:
        write(folder / "notebooks" / lesson.path.name, nbformat.writes(student(lesson)) + "\n")
    pins = [f"{name}=={version}" for name, version in versions.items()]
    if wheels:
        write(folder / "requirements.txt", "\n".join(pins) + "\n")
        others = [pin for pin in pins if not pin.startswith("tlkit==")]
    else:
        write(folder / "constraints.txt", "\n".join(pins) + "\n")
        write(folder / "requirements.txt", f"--constraint constraints.txt\n{COURSE}=={tlkit.__version__}\n")
        others = []
    collect([*others, source()], folder / "wheels", progress)
    return this_machine() | {
        "system_version": oldest_system(path.name for path in (folder / "wheels").iterdir()),
        "tlkit": tlkit.__version__,
        "made": date.today().isoformat(),
        "packages": len(pins),
        "wheels": wheels,
        "lessons": [lesson.path.name[:2] for lesson in lessons],
        "weights": convert(folder / "weights", progress) if wheels else [],
    }


def convert(folder: Path, progress: bool = False) -> list[str]:
    """Write the pretrained networks that are installed here as Keras models, and return the files' names."""
    import_keras()
    from tlkit.backbones import list_backbones, load_backbone

    names = [each.name for each in list_backbones() if each.wheel and each.available]
    for name in tqdm(names, "weights", unit="network", disable=not progress):
        load_backbone(name).save(folder / f"{name}.keras")
    return [f"{name}.keras" for name in names]


def explain(folder: Path, name: str, about: dict[str, Any]) -> None:
    """Write the installer, what it has to know, and the README."""
    course = files("tlkit.course")
    template = (course / "install.md.jinja").read_text("utf-8")
    readme = jinja2.Environment(trim_blocks=True).from_string(template).render(name=name, **about)
    write(folder / "install.py", (course / "install.py").read_text("utf-8"))
    write(folder / "pack.json", json.dumps(about, indent=2) + "\n")
    write(folder / "README.md", readme + "\n")


def write(path: Path, text: str) -> None:
    """Write a text with the same bytes on every system."""
    path.write_text(text, "utf-8", newline="\n")


def compress(folder: Path, path: Path, name: str, progress: bool = False) -> None:
    """Zip a folder under a name, with the SHA-256 of every file; what is in the zip leaves the folder."""
    members = sorted(file for file in folder.rglob("*") if file.is_file())
    places = {file: file.relative_to(folder).as_posix() for file in members}
    sums = "".join(f"{digest(file)}  {places[file]}\n" for file in members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/SHA256SUMS", sums)
        for file in tqdm(members, "zip", unit="file", disable=not progress):
            packed = file.suffix in (".whl", ".keras")  # zip files themselves
            archive.write(
                file, f"{name}/{places[file]}", zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            )
            file.unlink()  # so the disk holds everything once


def digest(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
