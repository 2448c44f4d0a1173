"""A shard: the features of a few hundred images in one Parquet file, whole or not at all."""

from __future__ import annotations

import json
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

KEY = b"tlkit"  # in the metadata of the file


class Unreadable(NamedTuple):
    """A file that was left out: its row among the planned ones of the shard, its name, and why.

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
    """What became of the images of a shard: how many it holds, and which were left out."""

    shard: int
    images: int
    unreadable: list[Unreadable]

    def __len__(self) -> int:
        return self.images + len(self.unreadable)


@once
def parquet() -> Any:
    """Import pyarrow.parquet and return it.

    Raises:
        TlkitError: it is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise TlkitError(
            'Shards are Parquet files, which needs pyarrow: pip install "tlkit[scale]"'
        ) from error
    return pyarrow.parquet


def file(out: Path, shard: int) -> Path:
    """Return where a shard lies.

    >>> file(Path("features"), 12).name
    'features-00012.parquet'
    """
    return out / f"features-{shard:05d}.parquet"


def files(out: Path) -> list[Path]:
    """Return the shards that are there, in their order."""
    return sorted(out.glob("features-*.parquet"), key=lambda path: (len(path.name), path.name))


def write(
    out: Path,
    plan: Plan,
    shard: int,
    names: Sequence[str],
    classes: Sequence[str] | None,
    digests: Sequence[bytes],
    features: np.ndarray,
    unreadable: list[Unreadable],
) -> Outcome:
    """Write a shard.

    Args:
        out: folder of the shards.
        plan: theirs.
        shard: its number.
        names, classes, digests: of each image that was read; the digest is of its pixels.
        features: float32 (n, d).
        unreadable: the planned files that were not read.

    Raises:
        OutputError: the disk is full, or another error of the system.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {"name": pa.array(names, pa.string())}
    if classes is not None:
        columns["class"] = pa.array(classes, pa.string())
    columns["digest"] = pa.array(digests, pa.binary(16))
    values = pa.array(np.ascontiguousarray(features, "float32").ravel())
    columns["features"] = pa.FixedSizeListArray.from_arrays(values, plan.width)
    told = {"plan": plan.key, "shard": shard, "unreadable": unreadable}
    table = pa.table(columns).replace_schema_metadata({KEY: json.dumps(told)})
    # neither compressed nor encoded, since features gain nothing: reading is then little more than copying
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with written_whole(out), atomic(file(out, shard)) as path:
        parquet().write_table(table, path, write_page_checksum=True, **options)
    return Outcome(shard, len(names), unreadable)


def read(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a shard; its pages' checksums are verified.

    Raises:
        DataError: it is missing, damaged, or not a shard of tlkit.
    """
    try:
        table = parquet().read_table(path, columns=columns, memory_map=True, page_checksum_verification=True)
        json.loads(table.schema.metadata[KEY])
    except (OSError, ValueError, TypeError, KeyError) as error:  # pyarrow's own errors are among these
        raise DataError(
            f"{path} is missing or damaged: {error}. The same tlkit features command makes it again."
        ) from error
    return table


def origin(table: pa.Table) -> tuple[str, int]:
    """Return the key of the plan of a shard that was read, and the shard's number."""
    told = json.loads(table.schema.metadata[KEY])
    return told["plan"], told["shard"]


def unreadable(table: pa.Table) -> list[Unreadable]:
    """Return the files that were left out of a shard that was read."""
    return [Unreadable(*each) for each in json.loads(table.schema.metadata[KEY])["unreadable"]]


def planned(table: pa.Table) -> list[str]:
    """Return the names of all files that were planned for a shard that was read, in the plan's order."""
    names = table["name"].to_pylist()
    for each in unreadable(table):  # by rising row
        names.insert(each.row, each.name)
    return names


def finished(out: Path, plan: Plan, shard: int, names: Sequence[str]) -> Outcome | None:
    """Return what became of a shard's images; None where it is missing or damaged, or has other ones.

    Args:
        out: folder of the shards.
        plan: theirs.
        shard: its number.
        names: of the images that are planned for it.
    """
    try:
        table = read(file(out, shard))
    except DataError:
        return None
    if origin(table) != (plan.key, shard) or planned(table) != list(names):
        return None
    return Outcome(shard, table.num_rows, unreadable(table))
