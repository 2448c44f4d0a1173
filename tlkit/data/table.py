"""Load a folder of images with a table of labels: one row per image, one column per task."""

import math
import unicodedata
import warnings
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from tlkit.data.dataset import Dataset, Split
from tlkit.data.folder import as_dataset, read_files
from tlkit.data.layout import folder_at, images_below, printable, split_of
from tlkit.data.splits import strata, stratified
from tlkit.errors import DataError, TlkitWarning

if TYPE_CHECKING:
    import pandas as pd

SPLIT_COLUMN = "split"
SEPARATORS = (",", ";", "\t")
UNMATCHED_LIMIT = 0.5  # if a larger fraction of rows has no file, the table belongs to other images


def load_table(
    path: str | Path,
    labels: str | Path,
    *,
    image_size: int = 224,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    in_memory: bool | None = None,
    progress: bool = False,
) -> Dataset:
    """Load a folder of images with the labels of one or more tasks from a CSV file.

    The first column contains the file names, relative to the folder; a name without its folder, its ending
    (such as .png) or both is enough if it fits one file only. Each further column is a task. Its values are
    kept as text in `Split.attributes`, with "" for a missing label. Rows without an image and images without
    a row are left out; a warning and `Dataset.skipped` name them.

    A column "split" with the values train, validation (or val, valid) and test decides the splits, as folders
    of these names do. Without it, the splits are random and stratified: each has the same proportions of each
    combination of classes if there are enough images of each combination, else of each class of the first
    column of classes, else of small and large values of the first column of numbers.

    Args:
        path: the folder; its sub-folders are searched too. The table may be in the folder.
        labels: the table, UTF-8 with a header, separated by commas, semicolons or tabs. Its path is relative
            to the working folder or to `path`.
        image_size: height and width in pixels.
        validation, test: fractions to split off; 0 for no such split.
        seed: chooses the random split, which depends on the seed, the file names and the labels alone.
        in_memory: keep the decoded images in memory (True), or decode them at each access (False); None
            keeps up to 0.5 GB.
        progress: show a progress bar.

    Returns:
        A data set without classes: its splits have attributes, but no labels.

    Warns:
        TlkitWarning: rows, images or files are left out; identical images are in two splits; or, if the only
            column has classes, identical images have different classes.

    Raises:
        DataError: the folder or the table is missing or cannot be read; a column name is empty, contains a
            slash, or is repeated; a file has two rows; a name fits two files; more than half of the rows have
            no file; more than 10 % of the images are unreadable.
    """
    root, table = folder_at(path), Path(labels)
    rows = _read_table(_table_at(root, table))
    by_name = {_normal(printable(file.relative_to(root).as_posix())): file for file in images_below(root)}
    if not by_name:
        raise DataError(f"There are no images below {root}. Expected files such as .jpg or .png.")
    line_of, unmatched = _match(rows.iloc[:, 0].to_dict(), list(by_name), table.name, root)
    unlabelled = [name for name in by_name if name not in line_of]
    _warn_left_out(unmatched, "row", f"of {table.name} named no image below {root}")
    _warn_left_out(unlabelled, "image", f"below {root} had no row in {table.name}")

    found = [(name, file) for name, file in by_name.items() if name in line_of]
    pixels, digests, kept, skipped = read_files(
        root, [file for _, file in found], image_size, in_memory, progress
    )
    names = np.array([found[row][0] for row in kept])
    values = rows.loc[[line_of[name] for name in names]]
    attributes = {column: values[column].to_numpy(str) for column in rows.columns[1:]}
    part = _assign_splits(attributes.pop(SPLIT_COLUMN, None), names, attributes, validation, test, seed)
    skipped += [f"{name}: in {table.name}, but there is no such image" for name in unmatched]
    skipped += [f"{name}: no row in {table.name}" for name in unlabelled]
    whole = Split(pixels, None, names, attributes)
    description = f"A folder of images with the labels in {table.name}."
    return as_dataset(root, whole, part, [], digests, skipped, name=str(path), description=description)


def _table_at(root: Path, table: Path) -> Path:
    """Return the path of the table, relative to the working folder or to `root`."""
    try:
        table = table.expanduser()
        found = next((each for each in (table, root / table) if each.is_file()), None)
        reason = "no such file"
    except (OSError, RuntimeError, ValueError) as error:
        found, reason = None, getattr(error, "strerror", None) or str(error)
    if found is None:
        raise DataError(
            f"There is no table at {printable(table)}: {reason}. Give the path of a CSV file: the file name, "
            "then one column per task."
        )
    return found


def _read_table(table: Path) -> "pd.DataFrame":
    """Return the rows as text, by the number of their line in the file, with the header as columns."""
    import pandas as pd

    try:
        with table.open(encoding="utf-8-sig") as lines:
            header = lines.readline()
        separator = max(SEPARATORS, key=header.count)
        # Read the header as a row, since pandas would rename repeated columns.
        cells = pd.read_csv(
            table,
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",
        )
    except (UnicodeDecodeError, ValueError, OSError) as error:  # the errors of pandas are ValueErrors
        raise DataError(
            f"{table} cannot be read as a table: {error}. Save it as CSV in UTF-8 with as many fields in "
            "every row as in the header."
        ) from error
    cells = cells.fillna("").map(str.strip).set_axis(range(1, len(cells) + 1))  # numbers of the lines
    filled = cells != ""
    cells = cells.loc[filled.any(axis=1) | (cells.index == 1), filled.any(axis=0)]
    rows = cells.iloc[1:].set_axis(_column_names(cells.iloc[0].tolist(), table), axis=1)
    if separator == ";":  # then a comma may be the decimal point
        rows = rows.apply(_with_decimal_points)
    if rows.empty:
        raise DataError(f"{table} has a header and no rows. Write one row per image.")
    return rows


def _column_names(names: list[str], table: Path) -> list[str]:
    names = [SPLIT_COLUMN if name.lower() == SPLIT_COLUMN else name for name in names]
    tasks = [name for name in names[1:] if name != SPLIT_COLUMN]
    if not tasks:
        raise DataError(
            f"{table} has the columns {', '.join(names)}; expected the file name first, then one column per "
            "task."
        )
    for name in names[1:]:
        if not name or "/" in name or names.count(name) > 1:
            fault = "has no name" if not name else "has a slash" if "/" in name else "is repeated"
            raise DataError(
                f"Column {names.index(name, 1) + 1} of {table}, {name!r}, {fault}. Rename it in the header: "
                "the columns name the tasks."
            )
    return names


def _with_decimal_points(column: "pd.Series") -> "pd.Series":
    values = column[column != ""]
    numeric = len(values) and values.str.fullmatch(r"[+-]?\d+(,\d+)?").all()
    return column.str.replace(",", ".") if numeric else column


def _match(
    entries: dict[int, str], names: list[str], table: str, root: Path
) -> tuple[dict[str, int], list[str]]:
    """Match the file names in the table with the images.

    Args:
        entries: the file name in each line of the table.
        names: the paths of the images relative to `root`.
        table: the name of the table, for error messages.
        root: the folder, for error messages.

    Returns:
        The line of each image that has one; and the entries that match no image.
    """
    ways = [dict[str, list[str]]() for _ in range(4)]  # whole path, name, path without ending, name without
    for name in names:
        file = PurePosixPath(name)
        for way, key in zip(ways, (name, file.name, str(file.with_suffix("")), file.stem), strict=True):
            way.setdefault(key, []).append(name)
    line_of: dict[str, int] = {}
    unmatched = []
    for line, entry in entries.items():
        path = _normal(entry.replace("\\", "/").removeprefix("./"))
        matches = next((way[path] for way in ways if path in way), [])
        if len(matches) > 1:
            raise DataError(
                f"{entry!r} in {table} fits {matches[0]} and {matches[1]}. Write the path from {root}, "
                "with its ending."
            )
        if not matches:
            unmatched.append(entry or f"line {line} without a file name")
        elif matches[0] in line_of:
            raise DataError(
                f"{table} has two rows for {matches[0]}: lines {line_of[matches[0]]} and {line}. Remove one."
            )
        else:
            line_of[matches[0]] = line
    if len(unmatched) > UNMATCHED_LIMIT * len(entries):
        image = next((name for name in names if name not in line_of), names[0])
        raise DataError(
            f"{len(unmatched)} of {len(entries)} rows of {table} name no image below {root}. For example, a "
            f"row names {unmatched[0]!r}, and an image is {image!r}. The first column must contain the path "
            "of each file from that folder; its ending may be omitted."
        )
    return line_of, unmatched


def _assign_splits(
    column: np.ndarray | None,
    names: np.ndarray,
    labels: Mapping[str, np.ndarray],
    validation: float,
    test: float,
    seed: int,
) -> np.ndarray:
    """Return the split of each image: that of the table's split column if there is one, or a random one."""
    part = np.full(len(names), "train", "U10")
    if column is not None:
        for row, (name, value) in enumerate(zip(names, column, strict=True)):
            if (split := split_of(value)) is None:
                raise DataError(
                    f"Column {SPLIT_COLUMN!r} has {str(value)!r} for {name}; expected train, validation (or "
                    "val, valid) or test."
                )
            part[row] = split
        if "train" not in part:
            raise DataError(
                f"Column {SPLIT_COLUMN!r} never says train. Write train in the rows of the training images."
            )
    fractions = {
        "validation": 0 if "validation" in part else validation,
        "test": test if column is None else 0,
    }
    drawn = [fraction for fraction in fractions.values() if fraction > 0]
    to_split = part == "train"
    groups = strata(
        {task: values[to_split] for task, values in labels.items()},
        fewest=1 + len(drawn),
        enough=math.ceil(1 / min(drawn, default=1)),
    )
    part[to_split] = stratified(
        [f"{seed}/{name}" for name in names[to_split]],
        groups,
        ["all images"] * (groups.max() + 1),  # an error names them only if there is one group
        **fractions,
    )
    return part


def _warn_left_out(names: list[str], kind: str, reason: str) -> None:
    if names:
        count, verb = (f"1 {kind}", "was") if len(names) == 1 else (f"{len(names)} {kind}s", "were")
        shown = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        warnings.warn(f"{count} {reason} and {verb} left out: {shown}.", TlkitWarning, stacklevel=3)


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # macOS stores an umlaut as two characters
