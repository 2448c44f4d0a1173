"""Photos of solar cells of two types, with the experts' probability that each cell is defective."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlkit._internal import cache
from tlkit.data.cards import checksum, read_card, verify
from tlkit.data.dataset import Dataset, Split
from tlkit.data.decode import decode, ordered_map
from tlkit.data.packaged import packaged
from tlkit.data.splits import hash_order, stratified
from tlkit.errors import DataError

DISTRIBUTION, TABLE = "elpv-dataset", "labels.csv"
DEFECT = 0.5  # probability of a defect from which a cell counts as defective
GRADES = {"0": 0.0, "1/3": 1 / 3, "2/3": 2 / 3, "1": 1.0}  # experts' certainty that the cell has a defect
TYPES = ("mono", "poly")
VALIDATION, TEST = 0.15, 0.25  # the test fraction is that of Deitsch et al. 2019


class Cell(NamedTuple):
    """One photo: its file, its grade (an index into `GRADES`), and its type (one of `TYPES`)."""

    file: Path
    grade: int
    type: str


def is_here() -> bool:
    """Return whether the package with the photos is installed."""
    return find_spec("elpv_dataset") is not None


def load(name: str, image_size: int | None = None, *, seed: int = 0) -> Dataset:
    """Load "solar", "solar/mono", "solar/poly" or "solar/grades".

    The photos are electroluminescence images: a current makes the cell emit infrared light, and cracked or
    inactive areas stay dark. "solar" tells defective cells from intact ones. "solar/mono" and "solar/poly"
    are its two domains, monocrystalline and polycrystalline cells. "solar/grades" has four classes, the
    experts' probability of a defect.

    The images are uint8 `(n, image_size, image_size, 3)`, values 0 to 255, with three equal channels. A
    quarter of the cells are for testing and 15 % for validation, stratified by type and grade. For the same
    seed, a cell is in the same split in every view. The attributes are labels for several tasks: "defect"
    (defective or intact), "type" (mono or poly) and "probability" (of a defect: 0, 1/3, 2/3 or 1).

    Args:
        name: the name of the view.
        image_size: height and width in pixels; 128 by default. The original photos are 300 x 300.
        seed: chooses the split.

    Raises:
        DataError: the package elpv-dataset is not installed, is incomplete, or has an unreadable photo.

    Warns:
        TlkitWarning: the photos differ from the checksum of the card.
    """
    card, cells = read_card(name), all_cells()
    files = [cell.file for cell in cells]
    found = checksum(_contents([files[0].parents[1] / TABLE, *files]))
    verify(card, found)
    pixels = _pixels(files, image_size or card.image_size, found)
    kinds = np.array([f"{cell.type} {cell.grade}" for cell in cells])
    strata, stratum = np.unique(kinds, return_inverse=True)
    keys = [f"{seed}/{file.stem}" for file in files]
    part = stratified(keys, stratum, strata.tolist(), VALIDATION, TEST)
    order = hash_order([file.stem for file in files], b"order")  # the source is sorted by module
    view = name.partition("/")[2]
    chosen = [row for row in order.tolist() if view not in TYPES or cells[row].type == view]
    train, validation, test = (
        _split(pixels, cells, [row for row in chosen if part[row] == split], view == "grades")
        for split in ("train", "validation", "test")
    )
    return Dataset(train, validation, test, card.classes, card)


def all_cells() -> list[Cell]:
    """Return every cell in the order of the source's table.

    Raises:
        DataError: the package is not installed, is incomplete, or its table has another form.
    """
    table = packaged("elpv_dataset", f"data/{TABLE}", DISTRIBUTION)
    grade_of = {round(value, 3): grade for grade, value in enumerate(GRADES.values())}
    cells = []
    for line in table.read_text("utf-8").splitlines():
        try:
            path, probability, kind = line.split()
            cell = Cell(table.parent / path, grade_of[round(float(probability), 3)], kind)
        except (ValueError, KeyError) as error:
            raise DataError(_broken(f"its table {table.name} has the line {line!r}")) from error
        if not cell.file.is_file():
            raise DataError(_broken(f"the photo {path} is missing"))
        cells.append(cell)
    if not cells:
        raise DataError(_broken(f"its table {table.name} is empty"))
    return cells


def _split(pixels: np.ndarray, cells: list[Cell], rows: list[int], grades: bool) -> Split:
    """Return the cells of these rows as a split; `pixels` is grey, `(n, height, width)`."""
    chosen = [cells[row] for row in rows]
    probability = np.array([*GRADES.values()])[[cell.grade for cell in chosen]]
    defective = probability >= DEFECT
    attributes = {
        "defect": np.where(defective, "defective", "intact"),
        "type": np.array([cell.type for cell in chosen]),
        "probability": probability,
    }
    labels = [cell.grade for cell in chosen] if grades else defective.astype("int32")
    images = np.repeat(pixels[rows][..., None], 3, axis=-1)
    return Split(images, labels, [cell.file.stem for cell in chosen], attributes)


def _contents(files: list[Path]) -> list[bytes]:
    try:
        return [file.read_bytes() for file in files]
    except OSError as error:
        raise DataError(_broken(str(error))) from error


def _pixels(files: list[Path], image_size: int, content: str) -> np.ndarray:
    """Return the grey levels of the photos, uint8 `(n, image_size, image_size)`, from the cache if there."""

    def decode_all() -> dict[str, np.ndarray]:
        try:
            images = ordered_map(lambda file: decode(file, image_size)[..., 0], files)
            return {"pixels": np.stack(list(images))}
        except DataError as error:
            raise DataError(_broken(f"a photo cannot be read: {error}")) from error

    return cache.arrays("data", f"solar-{image_size}-{content}-bilinear", decode_all)["pixels"]


def _broken(fault: str) -> str:
    try:
        installed = version(DISTRIBUTION)
    except PackageNotFoundError:
        installed = "of an unknown version"
    return (
        f"The package {DISTRIBUTION} {installed} is damaged: {fault}. Install it again: "
        f"pip install --force-reinstall {DISTRIBUTION}"
    )
