"""Frozen features: tlkit beside Keras's `predict`, PyTorch, and the usual `fit` of a frozen base.

    .venv/bin/python benchmarks/speed/frozen_features.py

EfficientNetLite0 with ImageNet weights on emoji of 128 pixels, in float32; and in bfloat16, which
`tlkit.extract` takes by default where the processor has units for it. The usual fit is that of the Keras
guide "Transfer learning & fine-tuning": the frozen base runs in inference mode in every step of 10 epochs.
"""

import math
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TLKIT_CACHE"] = tempfile.mkdtemp()  # nothing is kept from an earlier run
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from learning_curves import Curve, emoji, first_time, start_curve
from measuring import ROUNDS, Comparison, Peer, Report, absent, main, rate, take_turns
from tqdm import tqdm

SIZE, EPOCHS, BFLOAT16 = 128, 10, "tlkit, bfloat16"
TORCH = Path(__file__).parent / "peers" / "torch_features.py"


def measure(full: bool) -> Report:
    report = Report("Frozen features: extraction, and training a head on them")
    extraction(report, 4096 if full else 1024)
    head(report, ("twemoji", "openmoji", "line") if full else ("twemoji",))
    return report


def extraction(report: Report, n: int) -> None:
    """Images per second of each engine, and the fraction of the processor's peak."""
    import numpy as np

    import tlkit
    from tlkit.backbones.engines import has_bfloat16

    backbone = tlkit.load_backbone("EfficientNetLite0", image_size=SIZE)
    few = emoji(("twemoji",), SIZE)[0].images
    images = np.resize(few, (n, *few.shape[1:]))
    features: dict[str, np.ndarray] = {}

    def extract(side: str, engine: str, precision: str = "float32") -> Callable[[], None]:
        def job() -> None:
            found = tlkit.extract(backbone, images, engine=engine, precision=precision, keep=False)
            features[side] = found

        return job

    matrix = np.random.default_rng(0).standard_normal((4096, 4096), dtype="float32")

    def product() -> float:
        start = time.perf_counter()
        matrix @ matrix
        return time.perf_counter() - start

    jobs: dict[str, Any] = {"tlkit": extract("tlkit", "auto"), "predict": extract("predict", "predict")}
    if has_bfloat16():
        jobs[BFLOAT16] = extract(BFLOAT16, "auto", "bfloat16")
    report.missing |= absent("torch")
    with tempfile.TemporaryDirectory() as folder:
        pixels, written = Path(folder, "pixels.npy"), Path(folder, "features.npy")
        np.save(pixels, images)
        if not report.missing:
            jobs["torch"] = peer = Peer("torch", TORCH, str(pixels), str(written))
        seconds = take_turns({**jobs, "product": product})
        if not report.missing:
            peer.__exit__()
            features["torch"] = np.load(written)
    for side, theirs in features.items():
        if side == BFLOAT16:
            same = np.corrcoef(theirs.ravel(), features["tlkit"].ravel())[0, 1] > 0.99
        else:
            same = np.abs(theirs - features["tlkit"]).max() < 1e-3 * np.abs(theirs).max()
        assert same, f"{side}: other features"
    products = rate(2 * len(matrix) ** 3 / 1e9, {"": seconds.pop("product")})[""]
    work = f"Features of {n:,} images of {SIZE} pixels"
    images_a_second = rate(n, seconds)
    report.comparisons.append(Comparison(work, "images/s", "tlkit", images_a_second, better="more"))
    if BFLOAT16 in images_a_second:
        halves = {BFLOAT16: images_a_second[BFLOAT16], "float32": images_a_second["tlkit"]}
        title = f"{work}, in bfloat16 beside float32"
        report.comparisons.append(Comparison(title, "images/s", BFLOAT16, halves, better="more"))
    billions = operations(backbone) / 1e9
    reached = {"tlkit": [billions * each for each in images_a_second["tlkit"]], "matrix product": products}
    title = f"{work}: arithmetic beside numpy's float32 matrix product, which is the peak"
    report.comparisons.append(Comparison(title, "GFLOP/s", "tlkit", reached, better="more"))
    report.notes.append(f"One image takes {billions:.2f} GFLOP in the convolutions of the network.")


def operations(network: Any) -> int:
    """Multiplications and additions of the convolutions for one image."""
    total = 0
    for layer in network.layers:
        if hasattr(layer, "kernel") and len(layer.output.shape) == 4:
            _, height, width, _ = layer.output.shape
            total += 2 * height * width * math.prod(layer.kernel.shape)
    return total


def head(report: Report, styles: tuple[str, ...]) -> None:
    """Seconds until the validation accuracy is within a point of the usual fit's last."""
    train, held_out = emoji(styles, SIZE)
    kept_features(train, held_out, seed=0)  # keeps them
    sides = {"tlkit": empty_cache, "tlkit, features kept": kept_features, "usual fit": usual_fit}
    runs: dict[str, list[Curve]] = {side: [] for side in sides}
    for seed in tqdm(range(ROUNDS), desc="head", unit="seed", leave=False):
        for side, learn in sides.items():
            runs[side].append(learn(train, held_out, seed))
    goals = [curve[-1][1] - 0.01 for curve in runs["usual fit"]]
    reached = {
        side: [first_time(curve, goal) for curve, goal in zip(curves, goals, strict=True)]
        for side, curves in runs.items()
    }
    work = f"A head on {len(train)} images"
    last = {side: [100 * curve[-1][1] for curve in curves] for side, curves in runs.items()}
    whole = {side: [curve[-1][0] for curve in curves] for side, curves in runs.items()}
    report.comparisons += [
        Comparison(f"{work}: within a point of the usual fit's last accuracy", "s", "tlkit", reached),
        Comparison(
            f"{work}: all epochs, {EPOCHS} of the usual fit and up to 50 of tlkit", "s", "tlkit", whole
        ),
        Comparison(
            f"{work}: last accuracy on {len(held_out)} other images", "%", "tlkit", last, better="more"
        ),
    ]


def empty_cache(train: Any, held_out: Any, seed: int) -> Curve:
    """Seconds and accuracy at the end of each epoch: export, extraction and head."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ["TLKIT_CACHE"]
        os.environ["TLKIT_CACHE"] = folder
        try:
            return kept_features(train, held_out, seed)
        finally:
            os.environ["TLKIT_CACHE"] = before


def kept_features(train: Any, held_out: Any, seed: int) -> Curve:
    """The same, with features that an earlier run has kept."""
    import tlkit

    model = classifier(train, seed)
    curve, watch = start_curve()
    tlkit.train_head(model, train, held_out, callbacks=[watch])
    return curve


def usual_fit(train: Any, held_out: Any, seed: int) -> Curve:
    """The same of the guide's way."""
    import tlkit

    model = classifier(train, seed)
    tlkit.freeze(model)
    curve, watch = start_curve()
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    shown, validation = (train.images, train.labels), (held_out.images, held_out.labels)
    model.fit(*shown, epochs=EPOCHS, validation_data=validation, callbacks=[watch], verbose=0)
    return curve


def classifier(train: Any, seed: int) -> Any:
    import keras

    import tlkit

    keras.utils.set_random_seed(seed)
    return tlkit.build_classifier("EfficientNetLite0", int(train.labels.max()) + 1, image_size=SIZE)


if __name__ == "__main__":
    main(measure)
