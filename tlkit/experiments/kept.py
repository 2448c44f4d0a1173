"""The finished rows of a comparison in a file, so that an interrupted comparison can be resumed."""

import hashlib
import importlib.util
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tlkit._internal.cache import atomic
from tlkit.errors import OutputError, TlkitError, TlkitWarning

CELL = ("arm", "seed")  # with the settings, what a row is the result of
CHECKSUM = "checksum"  # the column that verifies each row


class Kept:
    """A table on disk that is complete at every moment: a kill loses only the cell that was running.

    Each row has a checksum. A row that has changed since it was written is left out with a warning, so its
    cell is run again.

    Args:
        path: a `.csv` or `.parquet` file; its folder is made, and an earlier table there is read.

    Raises:
        TlkitError: another ending, no pyarrow for Parquet, or a file that is no such table.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if self.path.suffix not in (".csv", ".parquet"):
            raise TlkitError(
                f"{self.path} was given to keep a table in; expected a name in .csv or .parquet."
            )
        if self.path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
            raise TlkitError(f"{self.path} needs pyarrow: pip install pyarrow, or give a name in .csv.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[dict[str, Any]] = self._read() if self.path.exists() else []

    def row_of(self, cell: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the row of this arm, seed and settings, or None where it has not been run."""
        wanted = {name: _text(value) for name, value in cell.items()}
        for row in self.rows:
            if all(_text(row.get(name)) == text for name, text in wanted.items()):
                return row
        return None

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row, and write the table anew."""
        self.rows.append(dict(row))
        table = pd.DataFrame(self.rows)
        table[CHECKSUM] = checksums(as_texts(table))
        try:
            with atomic(self.path) as path:
                if self.path.suffix == ".csv":
                    table.to_csv(path, index=False)
                else:
                    table.astype({"arm": str}).to_parquet(path, index=False)
        except OSError as error:
            raise OutputError(
                f"The results could not be written to {self.path}: {error.strerror or error}. The earlier "
                "table is complete. Make room and run again; finished cells are not repeated."
            ) from error

    def _read(self) -> list[dict[str, Any]]:
        try:
            if self.path.suffix == ".csv":
                lenient: Any = {"encoding_errors": "replace", "on_bad_lines": "warn"}
                texts = pd.read_csv(self.path, dtype=str, keep_default_na=False, **lenient)
                table = pd.read_csv(io.StringIO(texts.to_csv(index=False)))
            else:
                table = pd.read_parquet(self.path)
                texts = as_texts(table)
        except (OSError, ValueError) as error:
            raise TlkitError(
                f"{self.path} cannot be read as a table ({error}). Delete it, or name another."
            ) from error
        if missing := set(CELL) - set(table):
            raise TlkitError(
                f"{self.path} is not the table of a comparison: it has no column {missing.pop()!r}. Name "
                "another file."
            )
        if CHECKSUM not in table:  # a table of an earlier version, or of the user
            return table.to_dict("records")
        intact = texts[CHECKSUM] == checksums(texts.drop(columns=CHECKSUM))
        if not intact.all():
            warnings.warn(
                f"{(~intact).sum()} of {len(table)} rows of {self.path} have changed since they were "
                "written. Their cells are run again.",
                TlkitWarning,
                stacklevel=3,
            )
        return table.drop(columns=CHECKSUM)[intact].to_dict("records")


def as_texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the texts that a CSV file of it would contain."""
    written = io.StringIO(table.to_csv(index=False))
    return pd.read_csv(written, dtype=str, keep_default_na=False)


def checksums(texts: pd.DataFrame) -> list[str]:
    """Return a checksum of each row of a table of texts."""
    rows = (json.dumps(row).encode() for row in texts.to_dict("records"))
    return [hashlib.blake2b(row, digest_size=8).hexdigest() for row in rows]


def _text(value: Any) -> str:
    """Return what tells settings apart in a file too, where 1, 1.0 and "1" are the same."""
    if value is None or value != value:  # a file has NaN for None
        return "None"
    try:
        return json.dumps(float(value))
    except (TypeError, ValueError):
        return str(value)
