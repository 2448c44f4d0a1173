"""What the benchmarks of training share: the images, and the time at which an accuracy was reached."""

import time
from typing import Any

Curve = list[
    tuple[float, float]
]  # of each epoch: seconds since the start, and accuracy on the held-out images


def emoji(styles: tuple[str, ...], image_size: int) -> tuple[Any, Any]:
    """The training images of these styles, and all their others."""
    import numpy as np

    import tlkit
    from tlkit.data import Split

    loaded = [tlkit.load(f"emoji/{style}", image_size=image_size) for style in styles]

    def joined(*names: str) -> Split:
        parts = [data.splits[name] for data in loaded for name in names]
        return Split(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))

    return joined("train"), joined("validation", "test")


def start_curve() -> tuple[Curve, Any]:
    """A curve that is still empty and whose time starts now, and the callback that fills it."""
    import keras

    curve: Curve = []
    start = time.perf_counter()
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: curve.append((time.perf_counter() - start, logs["val_accuracy"]))
    )
    return curve, watch


def first_time(curve: Curve, goal: float) -> float:
    """The seconds at which the accuracy was reached, or those of the end."""
    return next((seconds for seconds, accuracy in curve if accuracy >= goal), curve[-1][0])


def best(curve: Curve) -> float:
    """The best accuracy."""
    return max(accuracy for _, accuracy in curve)
