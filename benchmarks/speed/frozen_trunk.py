"""Fine-tuning the top stages: the frozen trunk runs once, beside a run of the whole network in every epoch.

    .venv/bin/python benchmarks/speed/frozen_trunk.py

EfficientNetLite0 on emoji of 128 pixels, with random flips, shifts, rotations, zooms and contrast. All sides
have the same head and learning rates. One round is one seed. Keras's `fit` of the whole network sees the
same number of views, made once and kept in memory (the same budget); in the full run a third side has new
views in every epoch.
"""

import os
import tempfile
from typing import Any

os.environ["TLKIT_CACHE"] = tempfile.mkdtemp()
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from learning_curves import Curve, best, emoji, first_time, start_curve
from measuring import Comparison, Report, main
from tqdm import tqdm

SIZE, BATCH, ROUNDS = 128, 32, 5
OURS, SAME, NEW = ("tlkit", "fit, same views", "fit, new views")


def measure(full: bool) -> Report:
    train, held_out = emoji(("twemoji", "openmoji", "line") if full else ("twemoji",), SIZE)
    report = Report("Fine-tuning the top stages: the frozen trunk runs once")
    epochs, views = (20, 4) if full else (15, 3)
    for stage in ("block7", "block6") if full else ("block7",):
        compare(report, train, held_out, stage, epochs, views, (OURS, SAME, NEW) if full else (OURS, SAME))
    return report


def compare(
    report: Report, train: Any, held_out: Any, stage: str, epochs: int, views: int, sides: tuple[str, ...]
) -> None:
    """Add the tables of one freeze line."""
    runs: dict[str, list[Curve]] = {side: [] for side in sides}
    for seed in tqdm(range(-1, ROUNDS), desc=f"from {stage}", unit="seed", leave=False):
        for side in sides:
            curve = learn(side, train, held_out, stage, epochs if seed >= 0 else 1, views, max(seed, 0))
            if seed >= 0:  # the first only warms up
                runs[side].append(curve)
    goals = [curve[-1][1] - 0.01 for curve in runs[SAME]]
    work = f"{len(train)} images, {epochs} epochs, {views} views, learning from {stage}"
    reached = {
        side: [first_time(curve, goal) for curve, goal in zip(curves, goals, strict=True)]
        for side, curves in runs.items()
    }
    report.comparisons += [
        Comparison(f"{work}: all of it", "s", OURS, {s: [c[-1][0] for c in cs] for s, cs in runs.items()}),
        Comparison(
            f"{work}: within a point of the last accuracy of fit on the same views", "s", OURS, reached
        ),
        Comparison(
            f"{work}: last accuracy on {len(held_out)} other images",
            "%",
            OURS,
            {side: [100 * curve[-1][1] for curve in curves] for side, curves in runs.items()},
            better="more",
        ),
    ]
    missed = sum(best(curve) < goal for curve, goal in zip(runs[OURS], goals, strict=True))
    if missed:
        report.notes.append(
            f"From {stage}, {missed} of {ROUNDS} runs of tlkit did not come within a point of fit; their "
            "whole time is counted."
        )


def learn(side: str, train: Any, held_out: Any, stage: str, epochs: int, views: int, seed: int) -> Curve:
    """Seconds since the start and accuracy at the end of each epoch."""
    import keras
    import numpy as np

    import tlkit
    from tlkit.models import backbone_of
    from tlkit.optimizers import warmup_cosine
    from tlkit.techniques.views import ViewBatches, Views, training_augmentation

    keras.utils.set_random_seed(seed)
    classes = int(train.labels.max()) + 1
    model = tlkit.build_classifier(
        "EfficientNetLite0", classes, image_size=SIZE, augmentation=tlkit.augmentation()
    )
    tlkit.train_head(model, train)
    curve, watch = start_curve()
    if side != SAME:
        late = keras.callbacks.EarlyStopping("val_loss", patience=epochs, restore_best_weights=True)
        options: dict[str, Any] = {"from_stage": stage, "epochs": epochs, "callbacks": [late, watch]}
        tlkit.fine_tune(model, train, held_out, views=views if side == OURS else None, **options)
        return curve
    images = Views(train.images, views, training_augmentation(model, None))[:]
    images = np.rint(images.reshape(len(train), views, *images.shape[1:])).astype("uint8")
    model = tlkit.attach_head(backbone_of(model), model.get_layer("head"))
    tlkit.unfreeze(model, from_stage=stage)
    steps = epochs * -(-len(train) // BATCH)
    adam = keras.optimizers.Adam(warmup_cosine(1e-3, steps))
    model.compile(adam, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    shown = ViewBatches(images, train.labels, BATCH, shuffle=True, seed=seed)
    validation = (held_out.images, held_out.labels)
    model.fit(shown, epochs=epochs, validation_data=validation, callbacks=[watch], verbose=0)
    return curve


if __name__ == "__main__":
    main(measure)
