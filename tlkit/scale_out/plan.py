"""Which image goes into which shard: fixed before the first one is read, and the same in every later run."""

import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tlkit._internal.cache import atomic
from tlkit.data.layout import find_images, images_below
from tlkit.errors import DataError, OutputError, TlkitWarning

FILE = "_plan.json"  # readers of a folder of Parquet files pass over names with an underscore
SETTINGS = ("backbone", "weights", "image_size", "width", "shard_size")


@dataclass(frozen=True)
class Listing:
    """The image files of a folder in natural order, and the class of each where the layout has classes.

    Attributes:
        names: paths relative to the folder, with `/`.
        classes: the class of each, or None.
        class_names: in the order of the labels; empty without classes.
        size: of all files together, in bytes.
    """

    names: list[str]
    classes: list[str] | None
    class_names: list[str]
    size: int


@dataclass(frozen=True)
class Plan:
    """What is the same in every shard and every run; kept as `_plan.json` in the folder of the shards.

    Attributes:
        backbone: name of the network.
        weights: its fingerprint, see `tlkit.backbones.engines.fingerprint`.
        image_size: height and width in pixels.
        width: number of features of an image.
        shard_size: images in a shard; fewer in the last.
        images: number of files.
        size: of all files together, in bytes.
        checksum: of the files' names, in order.
        class_names: in the order of the labels; empty where there are no classes.
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
        """A digest of the plan: every shard carries it, so that none of another plan passes for one of it."""
        return hashlib.blake2b(json.dumps(asdict(self)).encode(), digest_size=16).hexdigest()

    def rows(self, shard: int) -> slice:
        """Return where the images of a shard stand in the listing."""
        return slice(shard * self.shard_size, min((shard + 1) * self.shard_size, self.images))


def checksum(names: Iterable[str]) -> str:
    """Return a digest of names in their order.

    >>> checksum(["cat/1.jpg", "cat/2.jpg"]) == checksum(["cat/2.jpg", "cat/1.jpg"])
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        digest.update(name.encode() + b"\0")
    return digest.hexdigest()


def listing(folder: Path) -> Listing:
    """List the images of a folder: those that `tlkit train` reads where it has classes, else all below it.

    Warns:
        TlkitWarning: there are no classes, and why; or images lie outside the folders of the classes.

    Raises:
        DataError: the folder is missing or without images, or a name is not valid Unicode.
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
            f"The features have no classes, since {folder} is not one sub-folder a class: {error}",
            TlkitWarning,
            stacklevel=3,
        )
    else:
        files, classes = [each.file for each in found], [each.class_name for each in found]
        if outside := sorted(set(everything) - set(files)):
            warnings.warn(
                f"{len(outside)} of {len(everything)} images lie outside the folders of the classes and are "
                f"left out, such as {outside[0]}.",
                TlkitWarning,
                stacklevel=3,
            )
    names = [file.relative_to(folder).as_posix() for file in files]
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"The file name {name!a} is not valid Unicode. Rename the file.") from error
    return Listing(names, classes, class_names, sum(file.stat().st_size for file in files))


def load(out: Path) -> Plan | None:
    """Return the plan of a folder of shards; None where there is none.

    Raises:
        OutputError: it is damaged, or of another version of tlkit.
    """
    try:
        return Plan(**json.loads((out / FILE).read_text("utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise OutputError(
            f"{out / FILE} cannot be read: {error}. Pass --overwrite to start anew, or another --out."
        ) from error


def adopt(out: Path, plan: Plan, known: Plan | None) -> None:
    """Write the plan into the folder of the shards, or compare it with the one that is known there.

    Raises:
        OutputError: what lies there was made from other images or with other settings.
    """
    if known is None:
        with atomic(out / FILE) as path:
            path.write_text(json.dumps(asdict(plan), indent=2), "utf-8")
        return
    then, now = asdict(known), asdict(plan)
    if names := [name for name in SETTINGS if then[name] != now[name]]:
        said = "; ".join(f"{name} {then[name]} then and {now[name]} now" for name in names)
        raise OutputError(
            f"{out} holds features of other settings: {said}. Give those of then to go on, --overwrite to "
            "start anew, or another --out."
        )
    if then != now:
        if plan.images != known.images:
            said = f"{known.images:,} images then and {plan.images:,} now"
        elif plan.checksum != known.checksum:
            said = "as many images as then, of other names"
        elif plan.size != known.size:
            said = f"files of the same names, {known.size:,} bytes then and {plan.size:,} now"
        else:
            said = f"the classes {', '.join(known.class_names)} then and {', '.join(plan.class_names)} now"
        raise OutputError(
            f"The folder of images has changed since {out} was begun: {said}. Put it back as it was to go "
            "on, pass --overwrite to start anew, or another --out."
        )
