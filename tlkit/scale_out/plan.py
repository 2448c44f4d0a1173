"""Plan which image belongs to which shard, before any image is read; later runs use the same plan."""

import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tlkit._internal.cache import atomic
from tlkit.data.layout import find_images, images_below
from tlkit.errors import DataError, OutputError, TlkitWarning

FILE = "_plan.json"  # other readers of Parquet folders ignore names that begin with an underscore
SETTINGS = ("backbone", "weights", "image_size", "width", "shard_size")


@dataclass(frozen=True)
class Listing:
    """The image files of a folder in natural order, and their classes if the folder has classes.

    Attributes:
        names: paths relative to the folder, with `/`.
        classes: the class of each image, or None.
        class_names: in the order of the labels; empty if there are no classes.
        size: total size of the files in bytes.
    """

    names: list[str]
    classes: list[str] | None
    class_names: list[str]
    size: int


@dataclass(frozen=True)
class Plan:
    """The settings that all shards and all runs share; saved as `_plan.json` in the folder of the shards.

    Attributes:
        backbone: name of the network.
        weights: fingerprint of the network, see `tlkit.backbones.engines.fingerprint`.
        image_size: height and width in pixels.
        width: number of features of each image.
        shard_size: number of images in a shard; the last shard may have fewer.
        images: number of image files.
        size: total size of the files in bytes.
        checksum: of the file names, in order.
        class_names: in the order of the labels; empty if there are no classes.
    """

    backbone: str
    weights: str
    image_size: int
    width: int
    shard_size: int
    images: int
    size: int
    checksum: str
    class_names: list[str]

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-self.images // self.shard_size)

    @property
    def key(self) -> str:
        """A digest of the plan, which every shard stores, so that shards of another plan are recognised."""
        return hashlib.blake2b(json.dumps(asdict(self)).encode(), digest_size=16).hexdigest()

    def rows(self, shard: int) -> slice:
        """Return the rows of the listing that belong to a shard."""
        return slice(shard * self.shard_size, min((shard + 1) * self.shard_size, self.images))


def checksum(names: Iterable[str]) -> str:
    """Return a digest of names, which depends on their order.

    >>> checksum(["cat/1.jpg", "cat/2.jpg"]) == checksum(["cat/2.jpg", "cat/1.jpg"])
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        digest.update(name.encode() + b"\0")
    return digest.hexdigest()


def list_images(folder: Path) -> Listing:
    """List the images of a folder: the images in its class folders, or all images if it has no classes.

    Warns:
        TlkitWarning: the folder has no classes, or some images are outside the class folders.

    Raises:
        DataError: the folder is missing, has no images, or has a file name that is not valid Unicode.
    """
    if not folder.is_dir():
        raise DataError(
            f"There is no folder at {folder}. Check the spelling; the working folder is {Path.cwd()}."
        )
    files = everything = images_below(folder)
    if not everything:
        raise DataError(f"There are no images below {folder}. Expected files such as .jpg or .png.")
    classes, class_names = None, list[str]()
    try:
        found, class_names = find_images(folder)
    except DataError as error:
        warnings.warn(
            f"The features have no classes, because {folder} lacks a sub-folder for each class: {error}",
            TlkitWarning,
            stacklevel=3,
        )
    else:
        files, classes = [each.file for each in found], [each.class_name for each in found]
        if outside := sorted(set(everything) - set(files)):
            warnings.warn(
                f"{len(outside)} of {len(everything)} images are outside the class folders and are left out, "
                f"such as {outside[0]}.",
                TlkitWarning,
                stacklevel=3,
            )
    names = [file.relative_to(folder).as_posix() for file in files]
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"The file name {name!a} is not valid Unicode. Rename the file.") from error
    return Listing(names, classes, class_names, sum(map(_size, files)))


def _size(file: Path) -> int:
    """Return the bytes of a file; 0 for a link that leads nowhere, which the worker names."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def read_plan(out: Path) -> Plan | None:
    """Read the plan of a folder of shards; return None if there is none.

    Raises:
        OutputError: the plan is damaged, belongs to another version of tlkit, or is not a plan of tlkit.
    """
    try:
        saved = json.loads((out / FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(
            f"{out / FILE} cannot be read: {error}. Pass --overwrite to start again, or another --out."
        ) from error
    if not _is_ours(saved):
        raise OutputError(
            f"{out / FILE} was not written by tlkit features, which needs a file of this name. Move or "
            "rename it, or choose another --out."
        )
    if not _is_valid(saved):
        raise OutputError(
            f"{out / FILE} is damaged, or was written by another version of tlkit. Pass --overwrite to start "
            "again, or another --out."
        )
    return Plan(**saved)


def _is_ours(saved: Any) -> bool:
    """Return whether parsed JSON is a plan of tlkit, possibly a damaged one or one of another version."""
    names = {each.name for each in fields(Plan)}
    return isinstance(saved, dict) and 2 * len(names & set(saved)) >= len(names)


def _is_valid(saved: dict[str, Any]) -> bool:
    if set(saved) != {each.name for each in fields(Plan)}:
        return False
    counts = [saved[name] for name in ("image_size", "width", "shard_size", "images", "size")]
    texts = [saved["backbone"], saved["weights"], saved["checksum"]]
    names = saved["class_names"]
    return (
        all(type(each) is int and each >= 0 for each in counts)
        and saved["shard_size"] > 0
        and isinstance(names, list)
        and all(isinstance(each, str) for each in [*texts, *names])
    )


def can_be_replaced(out: Path) -> bool:
    """Return whether the plan of a folder may be replaced: not if another program wrote that file."""
    try:
        return _is_ours(json.loads((out / FILE).read_bytes()))
    except (OSError, ValueError, RecursionError):
        return True  # missing, or damaged


def write_or_compare(out: Path, plan: Plan, earlier: Plan | None) -> None:
    """Write the plan into the folder of the shards; if an earlier run wrote one, check that both are equal.

    Args:
        out: folder of the shards.
        plan: of this run.
        earlier: the plan in the folder; None if there is none.

    Raises:
        OutputError: the earlier run used other images or other settings.
    """
    if earlier is None:
        with atomic(out / FILE) as path:
            path.write_text(json.dumps(asdict(plan), indent=2), "utf-8")
        return
    before, now = asdict(earlier), asdict(plan)
    if names := [name for name in SETTINGS if before[name] != now[name]]:
        change = "; ".join(f"{name} was {before[name]} and is now {now[name]}" for name in names)
        raise OutputError(
            f"{out} holds features with other settings: {change}. Pass the earlier settings to continue, "
            "--overwrite to start again, or another --out."
        )
    if before != now:
        if plan.images != earlier.images:
            change = f"there were {earlier.images:,} images and are now {plan.images:,}"
        elif plan.checksum != earlier.checksum:
            change = "the number of images is the same, but some names differ"
        elif plan.size != earlier.size:
            change = (
                f"the names are the same, but the files had {earlier.size:,} bytes and now have {plan.size:,}"
            )
        else:
            classes = (", ".join(each.class_names) for each in (earlier, plan))
            change = "the classes were {} and are now {}".format(*classes)
        raise OutputError(
            f"The folder of images has changed since {out} was started: {change}. Restore the images to "
            "continue, pass --overwrite to start again, or another --out."
        )
