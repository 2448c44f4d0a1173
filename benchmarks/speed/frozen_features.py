"""Frozen features: tlkit beside Keras's predict, and beside the usual frozen-base fit.

    .venv/bin/python benchmarks/frozen_features.py

Both sides run in this one process on the same images: emoji in three styles, turned and mirrored,
128 pixels. Nearly all of its minutes are those of the usual fit.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from os import environ
from statistics import median
from typing import Any

environ["TLKIT_CACHE"] = tempfile.mkdtemp()  # nothing is kept from an earlier run
environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tlkit

EPOCHS, ROUNDS, IMAGES, SIZE = 10, 5, 2048, 128


def main() -> None:
    import numpy as np

    styles = [tlkit.load(f"emoji/{style}", image_size=SIZE) for style in ("twemoji", "openmoji", "line")]
    splits = [split for style in styles for split in style.splits.values()]
    images = np.concatenate([split.images for split in splits])
    images = np.concatenate([images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]])
    images = np.concatenate([images, images.swapaxes(1, 2)])
    labels = np.tile(np.concatenate([split.labels for split in splits]), 8)
    data = type(splits[0])(images, labels)
    models = [tlkit.build_classifier("EfficientNetLite0", classes=12, image_size=SIZE) for _ in range(3)]
    backbone = models[0].get_layer("EfficientNetLite0")

    first, learned = timed(lambda: tlkit.train_head(models[0], data, epochs=EPOCHS))
    again, _ = timed(lambda: tlkit.train_head(models[1], data, epochs=EPOCHS))
    rates: dict[str, list[float]] = {"openvino": [], "predict": []}
    for name in rates:
        tlkit.extract(backbone, images[:64], engine=name, keep=False)  # graphs and exports are built here
    for _ in range(ROUNDS):
        for name, rate in rates.items():
            job = partial(tlkit.extract, backbone, images[:IMAGES], engine=name, keep=False)
            rate.append(IMAGES / timed(job)[0])
    print(f"{len(images)} images of {SIZE} pixels, EfficientNetLite0")
    for name, rate in rates.items():
        print(f"  {name:9} {median(rate):6.0f} images/s   (min {min(rate):.0f}, max {max(rate):.0f})")
    ratios = [ours / theirs for ours, theirs in zip(*rates.values(), strict=True)]
    print(f"  ratio     {median(ratios):6.2f}            (min {min(ratios):.2f}, max {max(ratios):.2f})")

    tlkit.freeze(models[2])
    models[2].compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    usual, as_usual = timed(lambda: models[2].fit(images, labels, epochs=EPOCHS, verbose=0))
    print(f"{EPOCHS} epochs of the head; accuracy on what it learned from at the end")
    print(f"  usual frozen-base fit      {usual:6.1f} s              {accuracy(as_usual)}")
    print(f"  tlkit, empty cache, export {first:6.1f} s   ratio {usual / first:4.1f}   {accuracy(learned)}")
    print(f"  tlkit, features kept       {again:6.1f} s   ratio {usual / again:4.1f}")


def timed(job: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = job()
    return time.perf_counter() - start, result


def accuracy(history: Any) -> str:
    return f"{history.history['accuracy'][-1]:.3f}"


if __name__ == "__main__":
    main()
