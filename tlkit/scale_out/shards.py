"""Write and read shards: Parquet files with the features of some images each."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlkit._internal.cache import atomic
from tlkit._internal.outputs import written_whole
from tlkit.errors import DataError, TlkitError
from tlkit.scale_out.plan import Plan

if TYPE_CHECKING:
    import pyarrow as pa

KEY = b"tlkit"  # of the entry in the metadata of the file
NAME = re.compile(r"features-\d{5,}\.parquet")


class Unreadable(NamedTuple):
    """An image file that was left out because it cannot be read.

    Attributes:
        row: its row among the planned images of the shard.
        name: its path relative to the folder of images.
        reason: why it cannot be read.

    >>> print(Unreadable(3, "cat/4.jpg", "image file is truncated"))
    cat/4.jpg: image file is truncated
    """

    row: int
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class Outcome:
    """The outcome of making a shard: the number of images with features, and the unreadable images.

    Its length is the number of all its planned images.
    """

    shard: int
    images: int
    unreadable: list[Unreadable]

    def __len__(self) -> int:
        return self.images + len(self.unreadable)


@once
def parquet() -> Any:
    """Import pyarrow.parquet and return it.

    Raises:
        TlkitError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise TlkitError('Writing Parquet files needs pyarrow: pip install "tlkit[scale]"') from error
    return pyarrow.parquet


def shard_path(out: Path, shard: int) -> Path:
    """Return the path of a shard.

    >>> shard_path(Path("features"), 12).name
    'features-00012.parquet'
    """
    return out / f"features-{shard:05d}.parquet"


def shard_paths(out: Path) -> list[Path]:
    """Return the paths of the existing files with the name of a shard, in order."""
    found = [path for path in out.glob("features-*.parquet") if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (len(path.name), path.name))


def is_ours(path: Path) -> bool | None:
    """Return whether tlkit wrote a Parquet file; None if it is no Parquet file or too damaged to tell."""
    try:
        schema = parquet().read_schema(path)
    except Exception:  # damage raises errors of many kinds
        return True if path.is_file() and b'{"plan": "' in path.read_bytes() else None
    return KEY in (schema.metadata or {}) or {"digest", "features"} <= set(schema.names)


def write_shard(
    out: Path,
    plan: Plan,
    shard: int,
    names: Sequence[str],
    classes: Sequence[str] | None,
    digests: Sequence[bytes],
    features: np.ndarray,
    unreadable: list[Unreadable],
) -> Outcome:
    """Write a shard atomically.

    Args:
        out: folder of the shards.
        plan: of the run.
        shard: number of the shard.
        names: of the images that were read, relative to the folder of images.
        classes: of these images; None if there are no classes.
        digests: of the pixels of these images, 16 bytes each.
        features: of these images, float32 `(n, d)`.
        unreadable: the planned images that cannot be read.

    Raises:
        OutputError: the disk is full, or the system reports another error.
    """
    import pyarrow as pa

    features = np.ascontiguousarray(features, "float32")
    columns: dict[str, Any] = {"name": pa.array(names, pa.string())}
    if classes is not None:
        columns["class"] = pa.array(classes, pa.string())
    columns["digest"] = pa.array(digests, pa.binary(16))
    columns["features"] = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), plan.width)
    metadata = {"plan": plan.key, "shard": shard, "unreadable": unreadable}
    metadata["checksum"] = _checksum(metadata)
    table = pa.table(columns).replace_schema_metadata({KEY: json.dumps(metadata)})
    # compression and encoding would not make features smaller, but would make reading slower
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with written_whole(out), atomic(shard_path(out, shard)) as path:
        parquet().write_table(table, path, write_page_checksum=True, **options)
    return Outcome(shard, len(names), unreadable)


def read_shard(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a shard, and verify the checksums of its pages.

    Args:
        path: of the shard.
        columns: names of the columns to read; None reads all columns.

    Raises:
        DataError: the file is missing, damaged, or not a shard of tlkit.
    """
    try:
        table = parquet().read_table(path, columns=columns, memory_map=True, page_checksum_verification=True)
        metadata = json.loads(table.schema.metadata[KEY])
        whole = metadata.pop("checksum", None) in (None, _checksum(metadata))  # none: of an earlier version
        if not whole or set(metadata) != {"plan", "shard", "unreadable"}:
            raise ValueError("its metadata have changed")
    except Exception as error:  # damage raises errors of many kinds
        raise DataError(
            f"{path} is missing or damaged: {' '.join(str(error).split())}. Run the same tlkit features "
            "command to replace it."
        ) from error
    return table


def _checksum(metadata: dict[str, Any]) -> str:
    """Return a digest of the metadata, which the checksums of the pages do not cover."""
    return hashlib.blake2b(json.dumps(metadata, sort_keys=True).encode(), digest_size=16).hexdigest()


def _schema(plan: Plan) -> pa.Schema:
    import pyarrow as pa

    columns = {"name": pa.string()} | ({"class": pa.string()} if plan.class_names else {})
    columns |= {"digest": pa.binary(16), "features": pa.list_(pa.float32(), plan.width)}
    return pa.schema(columns)


def origin(table: pa.Table) -> tuple[str, int]:
    """Return the key of the plan that a shard belongs to, and the number of the shard."""
    metadata = json.loads(table.schema.metadata[KEY])
    return metadata["plan"], metadata["shard"]


def unreadable(table: pa.Table) -> list[Unreadable]:
    """Return the unreadable images of a shard."""
    return [Unreadable(*each) for each in json.loads(table.schema.metadata[KEY])["unreadable"]]


def planned(table: pa.Table) -> list[str]:
    """Return the names of all planned images of a shard, readable or not, in the order of the plan."""
    names = table["name"].to_pylist()
    for each in unreadable(table):  # rows ascend
        names.insert(each.row, each.name)
    return names


def finished(out: Path, plan: Plan, shard: int, names: Sequence[str]) -> Outcome | None:
    """Return the outcome of a finished shard; None if it is missing, damaged, or holds other images.

    Args:
        out: folder of the shards.
        plan: of the run.
        shard: number of the shard.
        names: of its planned images.
    """
    try:
        table = read_shard(shard_path(out, shard))
    except DataError:
        return None
    if origin(table) != (plan.key, shard) or not table.schema.equals(_schema(plan)):
        return None
    if planned(table) != list(names) or any(column.null_count for column in table.columns):
        return None
    return Outcome(shard, table.num_rows, unreadable(table))
