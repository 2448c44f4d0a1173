"""Photos of clothes in ten classes, which are downloaded when they are first asked for."""

import os
import shutil
import sys
import tempfile
import warnings
import zipfile
import zlib
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from tlkit._internal import cache
from tlkit.data.cards import checksum, read_card
from tlkit.data.dataset import Dataset
from tlkit.data.decode import ordered_map
from tlkit.data.download import download, failed
from tlkit.data.folder import load_folder
from tlkit.errors import DataError, TlkitWarning

NAME = "clothing"
COMMIT = "11961516512414bf9f6c150a832cfd21b54a6b54"
URL = f"https://github.com/alexeygrigorev/clothing-dataset-small/archive/{COMMIT}.zip"
SIDE = 256  # pixels of the shorter side of a stored photo
PACKED = Path(sys.prefix) / "share" / "tlkit" / NAME  # where the installer of a class pack puts the photos
OTHERWISE = (
    "Go online once. Or download it on another machine, where tlkit.data.clothing.folder() returns its "
    "folder. Copy that folder here, and set TLKIT_DATA to the folder that contains the copy. Offline, use "
    "emoji or a folder of your own."
)
FEW_TRAIN, FEW_VALIDATION = 20, 10  # images per class of "clothing/few"
TOLERANCE = 0.5  # of a mean grey level, 0 to 255; resizing to half the size changes it by up to 0.1
# File names do not identify the content, and a checksum of bytes would reject a copy of another size. So the
# mean grey level of each class is compared, too.
LEVELS = {  # of the classes, in the order of the card
    "train": (128.9, 108.7, 126.4, 122.2, 126.3, 130.0, 125.1, 129.0, 130.2, 126.9),
    "validation": (131.3, 105.7, 120.8, 125.1, 124.5, 128.9, 123.3, 134.1, 123.8, 124.4),
    "test": (136.2, 139.0, 134.0, 133.9, 135.5, 130.8, 141.3, 140.5, 127.5, 132.9),
}


def load(name: str, image_size: int | None = None, *, seed: int = 0) -> Dataset:
    """Load "clothing", or "clothing/few" with 20 training photos of each class.

    If the environment variable `TLKIT_DATA` is set, the photos are read from its sub-folder `clothing`, and
    from nowhere else. Otherwise they are read from the environment of a class pack or from the cache. If
    neither has them, they are downloaded into the cache.

    Args:
        name: "clothing", or "clothing/few": 20 photos of each class for training, 10 for validation, and the
            whole test split.
        image_size: height and width in pixels; 128 by default. The shorter side of a stored photo has at most
            256 pixels.
        seed: chooses the photos of "clothing/few"; the splits are those of the source.

    Returns:
        A data set of uint8 RGB images `(n, image_size, image_size, 3)`, values 0 to 255.

    Raises:
        DataError: there is no network connection, the download failed, `TLKIT_DATA` names a folder without
            the photos, or the photos are of another version.

    Warns:
        TlkitWarning: the downloaded photos are damaged, and are downloaded again.
    """
    card = read_card(name)
    data = load_folder(folder(), image_size=image_size or card.image_size)
    train, validation = data.train, data.validation
    if name != NAME and validation is not None:
        train, validation = train.few(FEW_TRAIN, seed=seed), validation.few(FEW_VALIDATION, seed=seed)
    return Dataset(train, validation, data.test, data.class_names, card)


def is_here() -> bool:
    """Return whether a folder for the photos is on this machine; its content is not checked."""
    return any(place.is_dir() for place in _places())


def folder() -> Path:
    """Return the folder with the photos, `SPLIT/CLASS/PHOTO.jpg`; download them if they are not here.

    Raises:
        DataError: as in `load`.
    """
    downloaded = cache.root() / NAME
    here = next((place for place in _places() if place.is_dir()), None)
    if here is None and _places() != [PACKED, downloaded]:
        raise DataError(
            f"TLKIT_DATA names {_places()[0].parent}, which has no folder {NAME!r}. Copy the folder {NAME!r} "
            "into it, or unset TLKIT_DATA to download the photos."
        )
    fault = _fault(here) if here else ""
    if here and not fault:
        return here
    if here and here != downloaded:
        advice = "Install the class pack again" if here == PACKED else "Copy the folder again"
        way = f"delete {here}" if here == PACKED else "unset TLKIT_DATA"
        raise DataError(
            f"{here} is not the data set {NAME!r}: {fault}. {advice}, or {way} to download the photos."
        )
    if fault:
        warnings.warn(f"{here} is damaged: {fault}. It is downloaded again.", TlkitWarning, stacklevel=2)
    return _download(downloaded)


def _places() -> list[Path]:
    """Return the folders where the photos may be; TLKIT_DATA takes precedence."""
    if named := os.environ.get("TLKIT_DATA"):
        return [Path(named).expanduser() / NAME]
    return [PACKED, cache.root() / NAME]


def _download(target: Path) -> Path:
    """Download the archive, resize and verify its photos, and move them to `target`: all of them or none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    what = f"The data set {NAME!r}"
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".downloading-") as temporary:
        archive = download(URL, Path(temporary), what=what, otherwise=OTHERWISE)
        photos = Path(temporary) / NAME
        try:
            levels = _unpack(archive, photos)
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise failed(what, target.parent, error) from error
        if fault := _fault(photos) or _other_content(levels):
            raise DataError(
                f"The archive at {URL} is not the data set {NAME!r} that tlkit expects: {fault}. Nothing was "
                "kept. Try again; if it fails again, please report it."
            )
        shutil.rmtree(target, ignore_errors=True)
        photos.replace(target)
    return target


def _unpack(archive: Path, photos: Path) -> dict[tuple[str, str], list[float]]:
    """Write the photos of a zip archive into a folder, with at most `SIDE` pixels on the shorter side.

    Returns:
        The mean grey level of each photo, 0 to 255, by split and class.
    """
    levels: dict[tuple[str, str], list[float]] = {}
    with zipfile.ZipFile(archive) as source:
        members = [each for each in source.namelist() if each.endswith(".jpg") and each.count("/") == 3]

        def resize(member: str) -> tuple[tuple[str, str], float]:
            _, split, kind, name = PurePosixPath(member).parts
            target = photos / split / kind
            target.mkdir(parents=True, exist_ok=True)
            with Image.open(BytesIO(source.read(member)), formats=["JPEG"]) as image:
                upright = ImageOps.exif_transpose(image).convert("RGB")
            level = float(np.asarray(upright.convert("L")).mean())
            factor = max(1.0, min(upright.size) / SIDE)
            upright.thumbnail((upright.width / factor, upright.height / factor), Image.Resampling.LANCZOS)
            upright.save(target / name, quality=95)
            return (split, kind), level

        resized = ordered_map(resize, members)
        for kind, level in tqdm(resized, "resizing photos", len(members), disable=not sys.stderr.isatty()):
            levels.setdefault(kind, []).append(level)
    return levels


def _fault(photos: Path) -> str:
    """Return how the files of a folder differ from the source's, or "" if they are the same."""
    names = sorted(each.relative_to(photos).as_posix() for each in photos.glob("*/*/*.jpg"))
    expected = read_card(NAME)
    if len(names) != sum(expected.counts.values()):
        return f"it has {len(names):,} photos, expected {sum(expected.counts.values()):,}"
    found = checksum(f"{name}\n".encode() for name in names)
    if found == expected.checksum:
        return ""
    return f"the checksum of its file names is {found}, expected {expected.checksum}"


def _other_content(levels: dict[tuple[str, str], list[float]]) -> str:
    """Return how the photos differ from the source's, or "" if they are the same."""
    for split, row in LEVELS.items():
        for kind, expected in zip(read_card(NAME).classes, row, strict=True):
            if abs((found := float(np.mean(levels[split, kind]))) - expected) > TOLERANCE:
                return (
                    f"the photos of {split}/{kind} have a mean grey level of {found:.1f}, expected {expected}"
                )
    return ""
