"""Temperature: correct the confidence of a trained classifier by one number.

Networks are often too confident. Temperature scaling divides the logits by T, chosen to maximise the
likelihood of the validation labels. The most probable class stays the same. The calibration error before and
after is measured on the test split, which takes no part in the choice of T. With fewer than some hundred test
images, the calibration error is noisy and too high; the cross-entropy is then the better guide.

Guo, Pleiss, Sun & Weinberger 2017, "On Calibration of Modern Neural Networks".
"""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

MODEL = "model.keras"  # saved by frozen-features, fine-tuning, discriminative-rates or many-workers
DATA = "path/of/folder"  # the same as in that recipe, with the same files
SEED = 0  # the same as in that recipe: the splits are then the same, without training images
OUT = "temperature.json"
BATCH_SIZE = 32
BINS = 15


def load_splits(size: tuple[int, int]) -> tuple[Any, Any]:
    """Return batches of the validation and test splits of that recipe: 15 % of the files each."""
    _, held_out = keras.utils.image_dataset_from_directory(
        DATA, image_size=size, batch_size=None, validation_split=0.3, subset="both", seed=SEED
    )
    half = len(held_out) // 2
    return held_out.take(half).batch(BATCH_SIZE), held_out.skip(half).batch(BATCH_SIZE)


def logits_of(model: keras.Model, dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return logits `(n, classes)` and labels `(n,)`; log probabilities are logits up to a constant."""
    batches = [(model.predict_on_batch(x), y) for x, y in dataset.as_numpy_iterator()]
    probabilities, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    return np.log(np.maximum(probabilities.astype("float64"), 1e-12)), labels


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities `(n, classes)`."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the T from 0.05 to 20 for which `softmax(logits / T)` gives the labels the highest likelihood.

    The negative log-likelihood is convex in 1 / T, so bisection on its slope finds the minimum.
    """
    low, high = 0.05, 20.0
    target = logits[np.arange(len(labels)), labels].mean()
    for _ in range(60):
        middle = (low * high) ** 0.5
        slope = (softmax(logits / middle) * logits).sum(axis=1).mean() - target  # with respect to 1 / T
        low, high = (middle, high) if slope > 0 else (low, middle)
    return (low * high) ** 0.5


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the expected calibration error, 0 to 1: the mean gap of confidence and accuracy over bins."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs((confidence - right)[bins == each].sum()) for each in range(BINS)]
    return float(sum(gaps) / len(labels))


def main() -> None:
    """Fit T on the validation split, report on the test split, and save T."""
    model = keras.models.load_model(MODEL)
    validation, test = load_splits(model.input_shape[1:3])
    logits, labels = logits_of(model, validation)
    temperature = fit_temperature(logits, labels)
    Path(OUT).write_text(json.dumps({"temperature": temperature}), "utf-8")
    print(f"{OUT}: T = {temperature:.3f}, fitted on {len(labels)} validation images")

    logits, labels = logits_of(model, test)
    for name, t in (("before", 1.0), ("after", temperature)):
        probabilities = softmax(logits / t)
        error = calibration_error(probabilities, labels)
        likelihood = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
        print(f"{name}: calibration error {error:.1%}, cross-entropy {likelihood:.3f}")
    accuracy = np.mean(logits.argmax(axis=1) == labels)
    print(f"both on {len(labels)} test images; test accuracy {accuracy:.1%}, which T does not change")
    print("calibrated probabilities: softmax(log(probabilities) / T)")


if __name__ == "__main__":
    main()
