"""Make a class pack: one zip file with everything that a laptop without network needs for the course."""

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
from tlkit.course.solved import SolvedLesson
from tlkit.course.wheels import COURSE, collect, installed, oldest_system, source
from tlkit.data import clothing
from tlkit.errors import OutputError, TlkitError, UnknownNameError

NOT_COMMERCIAL = ("elpv-dataset",)  # packages whose licence forbids commercial use
PACKING_FRACTION = 0.5  # disk space for making a pack, as a fraction of the installed size; measured: 0.32


def pack(
    out: Path,
    numbers: Iterable[str] | None = None,
    notebooks: Path | None = None,
    *,
    data: Iterable[str] = (),
    wheels: bool = True,
    commercial: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write a class pack: students' notebooks, packages with the data, weights, checksums and an installer.

    The pack holds the package versions of this machine, for laptops with the same system and version of
    Python. If packing fails, no partial file remains.

    Args:
        out: the zip file to write.
        numbers: of the lessons, such as `["00", "02"]`; None packs all lessons.
        notebooks: folder of the solved notebooks; None packs those of tlkit.
        data: data sets to take along that do not come with a package: `["clothing"]`. They are downloaded
            first if they are not on this machine.
        wheels: include packages and weights, about a gigabyte. Without them, pip on the laptop downloads the
            packages from its index, and the pack fits every system.
        commercial: leave out the photos of solar cells, whose licence forbids commercial courses.
        overwrite: replace an earlier pack.
        progress: show progress bars.

    Returns:
        The path of the zip file.

    Raises:
        OutputError: the file exists already, or the disk has too little free space.
        TlkitError: a package is not installed here, or pip's index does not have it; or `commercial` is given
            without wheels.
        UnknownNameError: there is no lesson with this number, or no downloaded data set of this name.
        DataError: a notebook was edited so that it cannot be copied, or a data set cannot be downloaded.
    """
    out = Path(out)
    if out.suffix != ".zip" or out.is_dir():
        raise OutputError(f"{out} is not the name of a zip file; expected a name such as class.zip.")
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists already. Pass --overwrite to replace it, or another --out.")
    if commercial and not wheels:
        raise TlkitError(
            "commercial=True was given without wheels. Then pip on the laptop would install the photos of "
            "solar cells with the lessons. Pack the wheels too."
        )
    lessons, packages = solved_lessons(numbers, notebooks), installed()
    packages = {name: each for name, each in packages.items() if not (commercial and name in NOT_COMMERCIAL)}
    folders = {name: folder_of(name) for name in data}
    size = sum(file.size or 0 for each in packages.values() for file in each.files or ())
    photos = sum(
        file.stat().st_size for each in folders.values() for file in each.rglob("*") if file.is_file()
    )
    versions = {name: each.version for name, each in packages.items()}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if wheels:
            refuse_full_disk(out.parent, size * PACKING_FRACTION + 2 * photos)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".packing-") as temporary:
            folder = Path(temporary)
            about = write_contents(folder, lessons, versions, wheels=wheels, progress=progress)
            about |= {"data": write_data(folder / "data", folders), "solar": not commercial}
            # measured: 1.18 of the packages; the photos are in the pack and in the environment
            about["installed_megabytes"] = round((1.2 * size + 2 * photos) / 1e6)
            write_instructions(folder, out.stem, about)
            with atomic(out) as path:
                compress(folder, path, out.stem, progress)
    except OSError as error:
        raise OutputError(
            f"The pack could not be written to {out}: {error.strerror or error}. No partial file remains. "
            "Make room, or choose another --out."
        ) from error
    return out


def refuse_full_disk(folder: Path, needed: float) -> None:
    """Check that the disk of a folder has enough free space.

    Args:
        folder: any folder on the disk.
        needed: space in bytes.

    Raises:
        OutputError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"Making a pack needs about {needed / 1e6:,.0f} MB of disk space; {free / 1e6:,.0f} MB are free "
            f"in {folder}. Make room, choose another --out, or pass --without-wheels."
        )


def write_contents(
    folder: Path,
    lessons: list[SolvedLesson],
    versions: dict[str, str],
    *,
    wheels: bool,
    progress: bool = False,
) -> dict[str, Any]:
    """Write the contents of a pack into a folder, and return what the installer needs to know about them."""
    for name in ("notebooks", "wheels", "weights"):
        (folder / name).mkdir()
    for lesson in lessons:
        write_text(folder / "notebooks" / lesson.path.name, nbformat.writes(student(lesson)) + "\n")
    pins = [f"{name}=={version}" for name, version in versions.items()]
    if wheels:
        write_text(folder / "requirements.txt", "\n".join(pins) + "\n")
        others = [pin for pin in pins if not pin.startswith("tlkit==")]
    else:
        write_text(folder / "constraints.txt", "\n".join(pins) + "\n")
        requirements = f"--constraint constraints.txt\n{COURSE}=={tlkit.__version__}\n"
        write_text(folder / "requirements.txt", requirements)
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


def folder_of(name: str) -> Path:
    """Return the folder of a downloaded data set; it is downloaded if it is not on this machine."""
    if name != clothing.NAME:
        raise UnknownNameError("data set to pack", name, [clothing.NAME])
    return clothing.folder()


def write_data(folder: Path, folders: dict[str, Path]) -> list[str]:
    """Copy the folders of data sets into a pack, and return their names."""
    for name, photos in folders.items():
        shutil.copytree(photos, folder / name)
    return list(folders)


def convert(folder: Path, progress: bool = False) -> list[str]:
    """Save the installed pretrained networks as Keras models, and return the names of the files."""
    import_keras()
    from tlkit.backbones import list_backbones, load_backbone

    names = [each.name for each in list_backbones() if each.wheel and each.available]
    for name in tqdm(names, "weights", unit="network", disable=not progress):
        load_backbone(name).save(folder / f"{name}.keras")
    return [f"{name}.keras" for name in names]


def write_instructions(folder: Path, name: str, about: dict[str, Any]) -> None:
    """Write the installer, its settings `pack.json`, and the README."""
    course = files("tlkit.course")
    template = (course / "install.md.jinja").read_text("utf-8")
    readme = jinja2.Environment(trim_blocks=True).from_string(template).render(name=name, **about)
    write_text(folder / "install.py", (course / "install.py").read_text("utf-8"))
    write_text(folder / "pack.json", json.dumps(about, indent=2) + "\n")
    write_text(folder / "README.md", readme + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file with the same bytes on every system."""
    path.write_text(text, "utf-8", newline="\n")


def compress(folder: Path, path: Path, name: str, progress: bool = False) -> None:
    """Zip a folder under a name, with a list of SHA-256 checksums; each file is deleted once it is zipped."""
    members = sorted(file for file in folder.rglob("*") if file.is_file())
    places = {file: file.relative_to(folder).as_posix() for file in members}
    sums = "".join(f"{digest(file)}  {places[file]}\n" for file in members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/SHA256SUMS", sums)
        for file in tqdm(members, "zip", unit="file", disable=not progress):
            compressed = file.suffix in (".whl", ".keras", ".jpg")  # the first two are zip files
            archive.write(
                file, f"{name}/{places[file]}", zipfile.ZIP_STORED if compressed else zipfile.ZIP_DEFLATED
            )
            file.unlink()  # so that no file takes disk space twice


def digest(file: Path) -> str:
    """Return the SHA-256 checksum of a file as hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
