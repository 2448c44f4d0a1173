"""A folder of images and a table of their labels: a row for each image, a column for each task."""

import unicodedata
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkit.data.dataset import Dataset, Split
from tlkit.data.folder import as_dataset, read_files
from tlkit.data.layout import SPLIT_OF, images_below
from tlkit.data.splits import stratified
from tlkit.errors import DataError, TlkitWarning

if TYPE_CHECKING:
    import pandas as pd

SPLIT_COLUMN = "split"
SEPARATORS = (",", ";", "\t")
UNMATCHED_LIMIT = 0.5  # share of the rows without a file beyond which the table is of other images


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
    """Read a folder of images, and what a CSV file says about them.

    The first column has the file names, relative to the folder; a name without its folders will do where
    only one file has it. Each further column is a task: its values are kept as text in `Split.attributes`,
    "" where one is missing. A column "split" with train, validation (val, valid) and test decides the splits
    as folders of these names do; else they are drawn at random. What the table and the folder do not both
    have is left out, named by a warning and in `Dataset.skipped`.

    Args:
        path: the folder; the images may lie at any depth. The table may lie in it too.
        labels: the table: UTF-8 with a header, by commas, semicolons or tabs; its path from here or
            from the folder.
        image_size: height and width in pixels.
        validation, test: fractions to split off; 0 for no such split.
        seed: another seed, another split. It depends on the names of the files alone.
        in_memory: keep the decoded images (True), or decode them at each access (False); None keeps up
            to 0.5 GB.
        progress: show a progress bar.

    Returns:
        A data set without classes: its splits have attributes and no labels.

    Raises:
        DataError: folder or table is missing or cannot be read; a column has no name, one with a slash, or
            one twice; a file has two rows or a name fits two files; more than half of the rows have no file;
            more than 10 % of the images are unreadable.
    """
    root, table = Path(path).expanduser(), Path(labels).expanduser()
    if not root.is_dir():
        raise DataError(
            f"There is no folder at {root}. Check the spelling; the working folder is {Path.cwd()}."
        )
    beside = root / table  # written as seen from the folder
    rows = _read(beside if beside.is_file() and not table.is_file() else table)
    by_name = {_normal(file.relative_to(root).as_posix()): file for file in images_below(root)}
    if not by_name:
        raise DataError(f"There are no images below {root}. Expected files such as .jpg or .png.")
    row_of, lost = _matched(rows.iloc[:, 0].to_dict(), list(by_name), table.name, root)
    unlabelled = [name for name in by_name if name not in row_of]
    _say(lost, "row", f"of {table.name} named no image below {root}")
    _say(unlabelled, "image", f"below {root} had no row in {table.name}")

    found = [(name, file) for name, file in by_name.items() if name in row_of]
    pixels, digests, kept, skipped = read_files(
        root, [file for _, file in found], image_size, in_memory, progress
    )
    names = np.array([found[row][0] for row in kept])
    values = rows.loc[[row_of[name] for name in names]]
    attributes = {column: values[column].to_numpy(str) for column in rows.columns[1:]}
    part = _parts(attributes.pop(SPLIT_COLUMN, None), names, validation, test, seed)
    skipped += [f"{name}: in {table.name}, but there is no such image" for name in lost]
    skipped += [f"{name}: no row in {table.name}" for name in unlabelled]
    whole = Split(pixels, None, names, attributes)
    described = f"A folder of images with the labels in {table.name}."
    return as_dataset(root, whole, part, [], digests, skipped, name=str(path), description=described)


def _read(table: Path) -> "pd.DataFrame":
    import pandas as pd

    if not table.is_file():
        raise DataError(
            f"There is no table at {table}. Give the path of a CSV file: file name, then a column a task."
        )
    try:
        with table.open(encoding="utf-8-sig") as lines:
            header = lines.readline()
        separator = max(SEPARATORS, key=header.count)
        # no header for pandas, which would rename columns that are there twice
        cells = pd.read_csv(
            table,
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",
        )
    except (UnicodeDecodeError, ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        raise DataError(
            f"{table} cannot be read as a table: {error}. Save it as CSV in UTF-8 with as many fields in "
            "every row as in the header."
        ) from error
    cells = cells.fillna("").map(str.strip).set_axis(range(1, len(cells) + 1))  # lines of the file
    filled = cells != ""
    cells = cells.loc[filled.any(axis=1) | (cells.index == 1), filled.any(axis=0)]
    rows = cells.iloc[1:].set_axis(_columns(cells.iloc[0].tolist(), table), axis=1)
    if separator == ";":  # then a comma may be the decimal point
        rows = rows.apply(_with_points)
    if rows.empty:
        raise DataError(f"{table} has a header and no rows. Write a row for each image.")
    return rows


def _columns(names: list[str], table: Path) -> list[str]:
    names = [SPLIT_COLUMN if name.lower() == SPLIT_COLUMN else name for name in names]
    tasks = [name for name in names[1:] if name != SPLIT_COLUMN]
    if not tasks:
        raise DataError(
            f"{table} has the columns {', '.join(names)}; expected the file name first, then a column a task."
        )
    for name in names[1:]:
        if not name or "/" in name or names.count(name) > 1:
            wrong = "has no name" if not name else "has a slash" if "/" in name else "is there twice"
            raise DataError(
                f"Column {names.index(name, 1) + 1} of {table}, {name!r}, {wrong}. Rename it in the header: "
                "the columns name the tasks."
            )
    return names


def _with_points(column: "pd.Series") -> "pd.Series":
    given = column[column != ""]
    numeric = len(given) and given.str.fullmatch(r"[+-]?\d+(,\d+)?").all()
    return column.str.replace(",", ".") if numeric else column


def _matched(
    given: dict[int, str], names: list[str], table: str, root: Path
) -> tuple[dict[str, int], list[str]]:
    """Return the line of each image that has one, and what the rows without an image say."""
    by_bare: dict[str, list[str]] = {}
    for name in names:
        by_bare.setdefault(name.rsplit("/", 1)[-1], []).append(name)
    known = set(names)
    row_of: dict[str, int] = {}
    lost = []
    for line, text in given.items():
        wanted = _normal(text.replace("\\", "/").removeprefix("./"))
        fitting = [wanted] if wanted in known else by_bare.get(wanted, [])
        if len(fitting) > 1:
            raise DataError(
                f"{text!r} in {table} fits {fitting[0]} and {fitting[1]}. Write the path from {root}."
            )
        if not fitting:
            lost.append(text or f"line {line} without a file name")
        elif fitting[0] in row_of:
            raise DataError(
                f"{table} has two rows for {fitting[0]}: lines {row_of[fitting[0]]} and {line}. Remove one."
            )
        else:
            row_of[fitting[0]] = line
    if len(lost) > UNMATCHED_LIMIT * len(given):
        spare = next((name for name in names if name not in row_of), names[0])
        raise DataError(
            f"{len(lost)} of {len(given)} rows of {table} name no image below {root}. A row says "
            f"{lost[0]!r}, an image is {spare!r}. The first column must be the file's path from that folder."
        )
    return row_of, lost


def _parts(
    given: np.ndarray | None, names: np.ndarray, validation: float, test: float, seed: int
) -> np.ndarray:
    part = np.full(len(names), "train", "U10")
    if given is not None:
        for row, (name, value) in enumerate(zip(names, given, strict=True)):
            if value.lower() not in SPLIT_OF:
                raise DataError(
                    f"Column {SPLIT_COLUMN!r} says {str(value)!r} for {name}; expected {', '.join(SPLIT_OF)}."
                )
            part[row] = SPLIT_OF[value.lower()]
        if "train" not in part:
            raise DataError(f"Column {SPLIT_COLUMN!r} has no train. Mark the images to learn from with it.")
    is_open = part == "train"
    part[is_open] = stratified(
        [f"{seed}/{name}" for name in names[is_open]],
        np.zeros(is_open.sum(), int),
        ["all images"],
        validation=0 if "validation" in part else validation,
        test=test if given is None else 0,
    )
    return part


def _say(names: list[str], what: str, why: str) -> None:
    if names:
        count = f"1 {what}" if len(names) == 1 else f"{len(names)} {what}s"
        shown = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        warnings.warn(f"{count} {why}, left out: {shown}.", TlkitWarning, stacklevel=3)


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # macOS writes an umlaut as two characters
