"""Frozen features: tlkit beside Keras's predict, and beside the usual frozen-base fit.

    .venv/bin/python benchmarks/frozen_features.py

Both sides run in this one process on the same images: emoji in three styles and their mirror images,
128 pixels. Takes about a quarter of an hour on two cores, nearly all of it in the usual fit.
"""

import tempfile
import time
from collections.abc import Callable
from os import environ
from statistics import median

environ["TLKIT_CACHE"] = tempfile.mkdtemp()  # nothing is kept from an earlier run
environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tlkit
from tlkit.engines import infer

EPOCHS, ROUNDS, SIZE = 10, 5, 128


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def main() -> None:
    import numpy as np

    styles = [tlkit.load(f"emoji/{style}", image_size=SIZE) for style in ("twemoji", "openmoji", "line")]
    splits = [split for style in styles for split in style.splits.values()]
    images = np.concatenate([split.images for split in splits])
    images = np.concatenate([images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]])
    labels = np.tile(np.concatenate([split.labels for split in splits]), 4)
    data = type(splits[0])(images, labels)
    model = tlkit.build_classifier("EfficientNetLite0", classes=12, image_size=SIZE)
    backbone = model.get_layer("EfficientNetLite0")

    first = seconds(lambda: tlkit.train_head(model, data, epochs=EPOCHS))
    again = seconds(lambda: tlkit.train_head(model, data, epochs=EPOCHS))
    rates: dict[str, list[float]] = {"openvino": [], "predict": []}
    for name in rates:
        infer(backbone, images[:64], engine=name)  # graphs and exports are built here
    for _ in range(ROUNDS):
        for name, rate in rates.items():
            rate.append(512 / seconds(lambda name=name: infer(backbone, images[:512], engine=name)))
    print(f"{len(images)} images of {SIZE} pixels, EfficientNetLite0")
    for name, rate in rates.items():
        print(f"  {name:9} {median(rate):6.0f} images/s   (min {min(rate):.0f}, max {max(rate):.0f})")
    ratios = [ours / theirs for ours, theirs in zip(*rates.values(), strict=True)]
    print(f"  ratio     {median(ratios):6.2f}            (min {min(ratios):.2f}, max {max(ratios):.2f})")

    tlkit.freeze(model)
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    usual = seconds(lambda: model.fit(images, labels, epochs=EPOCHS, verbose=0))
    print(f"{EPOCHS} epochs of the head")
    print(f"  usual frozen-base fit      {usual:6.1f} s")
    print(f"  tlkit, empty cache, export {first:6.1f} s   ratio {usual / first:.1f}")
    print(f"  tlkit, features kept       {again:6.1f} s   ratio {usual / again:.1f}")


if __name__ == "__main__":
    main()
