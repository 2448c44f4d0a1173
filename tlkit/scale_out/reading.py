"""Read features from shards, and verify that every image occurs exactly once."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlkit.errors import DataError
from tlkit.scale_out import plan, shards
from tlkit.scale_out.plan import Plan


class Features(NamedTuple):
    """The features of some images, with their names and labels.

    Attributes:
        features: float32 `(n, d)`.
        names: `(n,)` paths relative to the folder of images.
        labels: int32 `(n,)` class indices; None if there are no classes.
        class_names: in the order of the labels; empty if there are no classes.
    """

    features: np.ndarray
    names: np.ndarray
    labels: np.ndarray | None
    class_names: list[str]


def read(out: str | Path) -> Features:
    """Read the features in all shards of a folder, which `tlkit features` or `extract` wrote.

    The features of n images take n * d * 4 bytes of memory.

    Raises:
        DataError: there are no features, a shard is missing, or a shard is damaged.

    >>> import tempfile, tlkit
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("cat", "dog"):
    ...     (folder / "photos" / name).mkdir(parents=True)
    ...     Image.new("RGB", (40, 30), "teal").save(folder / "photos" / name / "1.png")
    >>> from tlkit import scale_out
    >>> backbone = tlkit.load_backbone("LeNet", weights=None)
    >>> summary = scale_out.extract(folder / "photos", folder / "features", backbone)
    >>> features, names, labels, class_names = scale_out.read(folder / "features")
    >>> features.shape, names.tolist(), labels.tolist(), class_names
    ((2, 100), ['cat/1.png', 'dog/1.png'], [0, 1], ['cat', 'dog'])
    """
    saved = _saved_plan(Path(out))
    features = np.empty((saved.images, saved.width), "float32")  # unused rows take no physical memory
    names, labels, n = [], [], 0
    for each in read_shards(out):
        features[n : n + len(each.names)] = each.features
        n += len(each.names)
        names.append(each.names)
        labels.append(each.labels)
    indices = None if not saved.class_names else np.concatenate([each for each in labels if each is not None])
    return Features(features[:n], np.concatenate(names), indices, saved.class_names)


def read_shards(out: str | Path) -> Iterator[Features]:
    """Read one shard after the other, for features that do not fit into memory.

    Yields:
        The features of one shard.

    Raises:
        DataError: there are no features, a shard is missing, or a shard is damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    saved = _saved_plan(Path(out))
    columns = ["name", "class", "features"] if saved.class_names else ["name", "features"]
    for shard, file in enumerate(_files(Path(out), saved)):
        table = shards.read_shard(file, columns)
        if shards.origin(table) != (saved.key, shard):
            raise DataError(f"{file} is from another run. Run the same tlkit features command to replace it.")
        values = table["features"].combine_chunks().flatten().to_numpy()
        labels = None
        if saved.class_names:
            place = pc.index_in(table["class"], value_set=pa.array(saved.class_names))
            labels = place.to_numpy().astype("int32")
        names = np.array(table["name"].to_pylist(), dtype=str)
        yield Features(values.reshape(-1, saved.width), names, labels, saved.class_names)


def verify(out: str | Path) -> tuple[int, int]:
    """Verify that every image of the plan occurs exactly once, with features or as an unreadable image.

    Returns:
        The number of images with features, and the number of unreadable images.

    Raises:
        DataError: a shard is missing, damaged or from another run; or an image is missing or occurs twice.
    """
    saved = _saved_plan(Path(out))
    names: list[str] = []
    unreadable = 0
    for shard, file in enumerate(_files(Path(out), saved)):
        table = shards.read_shard(file)
        if shards.origin(table) != (saved.key, shard):
            raise DataError(f"{file} is from another run. Run the same tlkit features command to replace it.")
        names += shards.planned(table)
        unreadable += len(shards.unreadable(table))
    if len(names) != saved.images or plan.checksum(names) != saved.checksum:
        repeated = [name for name, count in Counter(names).items() if count > 1]
        raise DataError(
            f"{out} has {len(names):,} images, {len(repeated):,} of them more than once, but "
            f"{saved.images:,} were planned. Run tlkit features with --overwrite to compute them again."
        )
    return len(names) - unreadable, unreadable


def _saved_plan(out: Path) -> Plan:
    saved = plan.read_plan(out)
    if saved is None:
        raise DataError(f"There are no features in {out}. Run: tlkit features FOLDER --out {out}")
    return saved


def _files(out: Path, saved: Plan) -> list[Path]:
    expected = [shards.shard_path(out, shard) for shard in range(saved.shards)]
    if missing := [file for file in expected if not file.exists()]:
        raise DataError(
            f"{len(missing)} of {saved.shards} shards are missing in {out}, such as {missing[0].name}. Run "
            "the same tlkit features command to compute them."
        )
    return expected
