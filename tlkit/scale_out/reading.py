"""Features from shards back into memory, and the proof that each image is there once."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlkit.errors import DataError
from tlkit.scale_out import plan, shards
from tlkit.scale_out.plan import Plan


class Features(NamedTuple):
    """Features of images, and what is known about each of them.

    Attributes:
        features: float32 (n, d).
        names: (n,) paths relative to the folder of images.
        labels: int32 (n,) class indices; None where there are no classes.
        class_names: in the order of the labels; empty where there are no classes.
    """

    features: np.ndarray
    names: np.ndarray
    labels: np.ndarray | None
    class_names: list[str]


def read(out: str | Path) -> Features:
    """Read all shards of a folder that `tlkit features` has written; n * d * 4 bytes have to fit the memory.

    Raises:
        DataError: there are no features, or not all; or a shard is damaged.

    >>> import tempfile, tlkit
    >>> from PIL import Image
    >>> room = Path(tempfile.mkdtemp())
    >>> for name in ("cat", "dog"):
    ...     (room / "photos" / name).mkdir(parents=True)
    ...     Image.new("RGB", (40, 30), "teal").save(room / "photos" / name / "1.png")
    >>> from tlkit import scale_out
    >>> _ = scale_out.extract(room / "photos", room / "features", tlkit.load_backbone("LeNet", weights=None))
    >>> features, names, labels, class_names = scale_out.read(room / "features")
    >>> features.shape, names.tolist(), labels.tolist(), class_names
    ((2, 100), ['cat/1.png', 'dog/1.png'], [0, 1], ['cat', 'dog'])
    """
    known = _plan(Path(out))
    features = np.empty((known.images, known.width), "float32")  # untouched pages take no memory
    names, labels, n = [], [], 0
    for each in read_shards(out):
        features[n : n + len(each.names)] = each.features
        n += len(each.names)
        names.append(each.names)
        labels.append(each.labels)
    joined = None if not known.class_names else np.concatenate([each for each in labels if each is not None])
    return Features(features[:n], np.concatenate(names), joined, known.class_names)


def read_shards(out: str | Path) -> Iterator[Features]:
    """Read one shard after the other, for what does not fit the memory.

    Raises:
        DataError: there are no features, or not all; or a shard is damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    known = _plan(Path(out))
    columns = ["name", "class", "features"] if known.class_names else ["name", "features"]
    for file in _files(Path(out), known):
        table = shards.read(file, columns)
        values = table["features"].combine_chunks().flatten().to_numpy()
        labels = None
        if known.class_names:
            place = pc.index_in(table["class"], value_set=pa.array(known.class_names))
            labels = place.to_numpy().astype("int32")
        names = np.array(table["name"].to_pylist(), dtype=str)
        yield Features(values.reshape(-1, known.width), names, labels, known.class_names)


def verify(out: str | Path) -> tuple[int, int]:
    """Make sure that every image of the plan is in one shard once, or left out there as unreadable.

    Returns:
        The number of images with features, and of unreadable ones.

    Raises:
        DataError: a shard is missing, damaged or of another run; or images are lost or there twice.
    """
    known = _plan(Path(out))
    names: list[str] = []
    unreadable = 0
    for shard, file in enumerate(_files(Path(out), known)):
        table = shards.read(file)
        if shards.origin(table) != (known.key, shard):
            raise DataError(f"{file} is of another run. The same tlkit features command makes it again.")
        names += shards.planned(table)
        unreadable += len(shards.unreadable(table))
    if len(names) != known.images or plan.checksum(names) != known.checksum:
        twice = [name for name, times in Counter(names).items() if times > 1]
        raise DataError(
            f"{out} has {len(names):,} images, {len(twice):,} of them more than once, and {known.images:,} "
            "were planned. Make them again: tlkit features with --overwrite."
        )
    return len(names) - unreadable, unreadable


def _plan(out: Path) -> Plan:
    known = plan.load(out)
    if known is None:
        raise DataError(f"There are no features in {out}. Make them: tlkit features FOLDER --out {out}")
    return known


def _files(out: Path, known: Plan) -> list[Path]:
    expected = [shards.file(out, shard) for shard in range(known.shards)]
    if missing := [file for file in expected if not file.exists()]:
        raise DataError(
            f"{len(missing)} of {known.shards} shards are missing in {out}, such as {missing[0].name}. The "
            "same tlkit features command goes on with them."
        )
    return expected
