"""Random files and arrays of images: the result is a correct array, or a DataError in one line."""

import io
import os
import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from tlkit.backbones.engines import infer
from tlkit.data.dataset import Split
from tlkit.data.decode import decode
from tlkit.data.folder import load_unsorted
from tlkit.data.labelled import check_labels, labelled
from tlkit.data.layout import ENDINGS, FORMATS
from tlkit.errors import DataError, TlkitError, TlkitWarning

MODES = {"JPEG": "RGB L CMYK", "PNG": "RGB L RGBA LA P 1 I;16", "GIF": "P L", "BMP": "RGB L P 1"}
MODES |= {"WEBP": "RGB RGBA", "AVIF": "RGB RGBA", "TIFF": "RGB RGBA CMYK L I;16 F 1 P", "PPM": "RGB L 1"}


def encoded(name, mode, size):
    """The bytes of an image file."""
    levels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype="uint8")
    image = Image.fromarray(levels)
    if mode == "I;16":
        image = Image.fromarray(levels[..., 0].astype("uint16") * 200)
    elif mode != "RGB":
        image = image.convert("L").convert(mode) if mode in ("LA", "F", "1") else image.convert(mode)
    file = io.BytesIO()
    options = {"TIFF": {"compression": "tiff_lzw"}, "JPEG": {"progressive": size[0] % 2 == 0}}
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(file, name, **options.get(name, {}), **({"exif": exif} if name in ("JPEG", "PNG") else {}))
    return file.getvalue()


FILES = {
    (name, mode, size): encoded(name, mode, size)
    for name in FORMATS
    for mode in MODES[name].split()
    for size in ((40, 30), (1, 70), (33, 2))
}


@st.composite
def damaged(draw):
    """The bytes of an image file, of which some are cut off, replaced, repeated or removed."""
    content = bytearray(FILES[draw(st.sampled_from(sorted(FILES)))])
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(["cut", "flip", "insert", "remove", "repeat"]))
        if kind == "cut":
            del content[place:]
        elif kind == "flip" and place < len(content):
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            content[place:place] = draw(st.binary(max_size=8))
        elif kind == "remove":
            del content[place : place + draw(st.integers(1, 50))]
        elif kind == "repeat":
            content[place:place] = content[place : place + draw(st.integers(1, 200))]
    return bytes(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("torture")


def check_decoded(path, size):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow
        try:
            pixels = decode(path, size)
        except DataError as error:
            pixels, said = None, str(error)
    if pixels is None:
        assert re.fullmatch(rf"{re.escape(str(path))}: \S.*", said)  # a dot matches no line end
        return None
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    return pixels


@pytest.mark.parametrize(("name", "mode", "size"), FILES)
def test_a_whole_file_is_read_whatever_its_ending(folder, name, mode, size):
    path = folder / f"whole{ENDINGS[len(mode) % len(ENDINGS)]}"
    path.write_bytes(FILES[name, mode, size])
    assert check_decoded(path, 8) is not None


@given(content=damaged(), ending=st.sampled_from(ENDINGS), size=st.integers(1, 64))
def test_a_damaged_file_is_read_or_named(folder, content, ending, size):
    path = folder / f"damaged{ending}"
    path.write_bytes(content)
    check_decoded(path, size)


STARTS = [each[:n] for each in FILES.values() for n in (0, 4, 12, 40)]


@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=400), ending=st.sampled_from(ENDINGS))
def test_random_bytes_are_read_or_named(folder, start, rest, ending):
    path = folder / f"random{ending}"
    path.write_bytes(start + rest)
    check_decoded(path, 8)


NAMES = st.binary(min_size=1, max_size=60).filter(lambda name: not set(name) & set(b"/\0") and name[0] != 46)


@given(names=st.lists(NAMES, min_size=1, max_size=3, unique=True))
def test_names_of_any_bytes_become_text(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("names")
    for name in names:
        (folder / os.fsdecode(name + b".png")).write_bytes(FILES["PNG", "RGB", (40, 30)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TlkitWarning)
        data = load_unsorted(folder, image_size=8)
    assert len(data.train) == len(names)
    for name in data.train.names.tolist():
        assert name.encode().splitlines() == [name.encode()]


DTYPES = ["uint8", "uint16", "int16", "int64", "float16", "float32", "float64"]
DTYPES += ["bool", "complex64", "O", "U1"]


@st.composite
def any_array(draw, shapes):
    kind = draw(st.sampled_from(DTYPES))
    shape = draw(shapes)
    if kind in ("O", "U1"):
        return np.full(shape, draw(st.sampled_from(["", "a"])), kind)
    values = draw(arrays.arrays(kind, shape, fill=arrays.from_dtype(np.dtype(kind))))
    return values if draw(st.booleans()) else np.nan_to_num(abs(values))


IMAGES = any_array(
    st.sampled_from([(0, 4, 4, 3), (2, 4, 4, 3), (3, 4, 4, 3), (2, 3, 4, 4), (2, 4, 4), (2, 4, 4, 1), ()])
)
LABELS = any_array(st.sampled_from([(0,), (2,), (3,), (2, 1), (2, 2), (2, 3), (2, 2, 2), ()]))


def raised(function, *arguments):
    """Whether a function refuses its arguments; the error has one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TlkitWarning)
        try:
            function(*arguments)
        except TlkitError as error:
            said = str(error)
        else:
            return False
    assert len(said.splitlines()) == 1
    return True


@given(images=IMAGES, labels=LABELS)
def test_arrays_that_are_accepted_are_finite_images_of_classes(images, labels):
    def checked():
        found = labelled((images, labels))
        check_labels(found.labels, 2, "train")

    if raised(checked):
        return
    assert len(images) == len(labels) > 0
    assert np.isfinite(images.astype("float64")).all()
    assert labels.min() >= 0
    assert labels.max() <= 1
    if labels.shape[1:] in ((), (1,)):
        assert set(labels.ravel().tolist()) <= {0, 1}


@given(images=IMAGES, labels=LABELS)
def test_a_split_is_refused_or_has_images_of_classes(images, labels):
    if not raised(Split, images, labels):
        split = Split(images, labels)
        assert split.images.dtype == np.uint8
        assert len(split.labels) == len(split.images)
        assert not len(split) or split.labels.min() >= 0


@pytest.fixture(scope="module")
def network():
    import keras

    return keras.Sequential([keras.Input((4, 4, 3)), keras.layers.GlobalAveragePooling2D()])


@given(images=IMAGES)
def test_features_are_finite_or_the_images_are_refused(network, images):
    if not raised(lambda: infer(network, images, engine="predict")):
        assert images.shape[1:] == (4, 4, 3)
        assert np.isfinite(images.astype("float64")).all()
