"""Load images and labels: `load(name or folder)` returns a `Dataset`.

>>> from tlkit import data
>>> data.load("digits/optical", image_size=32).train.images.shape
(1079, 32, 32, 3)
"""

from tlkit.data.cards import Card
from tlkit.data.catalog import is_folder, is_here, list_datasets, load, load_unlabelled
from tlkit.data.dataset import Dataset, Split
from tlkit.data.folder import load_unsorted
from tlkit.data.images import ImageFiles
from tlkit.data.photos import photos
from tlkit.data.table import load_table

__all__ = [
    "Card",
    "Dataset",
    "ImageFiles",
    "Split",
    "is_folder",
    "is_here",
    "list_datasets",
    "load",
    "load_table",
    "load_unlabelled",
    "load_unsorted",
    "photos",
]
