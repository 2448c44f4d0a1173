"""Transferability scores: tlkit beside the algorithms of the papers, written plainly.

The plain ones are in `peers/scores_plain.py`. Features are float32, 1,280 of them: Gaussian classes that
overlap, with a spectrum that falls from 3 to 0.1. For LEEP there are probabilities of 1,000 source classes,
of which each target class has one that is likelier. Both sides give the same value, or this stops. Memory
is what NumPy holds at most beside what was given. NLEEP is left out: nearly all of it is scikit-learn's
mixture on both sides.
"""

import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from measuring import Comparison, Report, main, take_turns
from peers import scores_plain

from tlkit.challenges import model_selection
from tlkit.errors import TlkitWarning

DIMENSIONS, SOURCE_CLASSES = 1280, 1000
OURS, PLAIN = "tlkit", "as published"
SCORES = {
    "logme": ("LogME", 1e-5),
    "h_score": ("H-score", 1e-6),
    "leep": ("LEEP", 1e-6),
    "transrate": ("TransRate", 1e-6),
    "gbc": ("GBC", 1e-6),
}  # and how far the values may be apart, of their size or of 1
EVERYWHERE = ("logme", "h_score", "leep")
SHORT = ((1_000, 10), (10_000, 100))  # examples, classes
FULL = ((1_000, 10), (1_000, 100), (10_000, 10), (10_000, 100), (50_000, 10), (50_000, 100))
MOST_PLAIN = 10_000  # examples; beyond it the plain TransRate and GBC take minutes


def measure(full: bool) -> Report:
    report = Report("Transferability scores beside the published algorithms")
    apart: dict[str, list[float]] = {name: [] for name in SCORES}
    warnings.simplefilter("ignore", TlkitWarning)  # n below d: no score to trust, but one to time
    for n, k in FULL if full else SHORT:
        features, labels = gaussian_classes(n, k)
        probabilities = source_probabilities(labels)
        for name in SCORES if full and n <= MOST_PLAIN else EVERYWHERE:
            given = probabilities if name == "leep" else features
            apart[name].append(compare(report, name, given, labels))
    parts = [f"{SCORES[name][0]} {max(values):.0e}" for name, values in apart.items() if values]
    report.notes.append(f"The values differ by at most: {', '.join(parts)} (of their size, or of 1).")
    return report


def gaussian_classes(n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw features, float32 `(n, d)`, and labels of k classes of one size."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(n) % k)
    axes = np.linalg.qr(rng.normal(size=(DIMENSIONS, DIMENSIONS)))[0]
    axes = (axes * np.linspace(3.0, 0.1, DIMENSIONS)[:, None]).astype("float32")
    means = 0.5 * rng.standard_normal((k, DIMENSIONS), "float32")
    return rng.standard_normal((n, DIMENSIONS), "float32") @ axes + means[labels], labels


def source_probabilities(labels: np.ndarray) -> np.ndarray:
    """Draw probabilities of a source head, float32 `(n, source classes)`."""
    logits = 2 * np.random.default_rng(1).standard_normal((len(labels), SOURCE_CLASSES), "float32")
    logits[np.arange(len(labels)), labels] += 4
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def compare(report: Report, name: str, given: np.ndarray, labels: np.ndarray) -> float:
    """Add the tables of seconds and of memory; return how far the values are apart, or stop if too far."""
    label, tolerance = SCORES[name]
    sides = {
        OURS: partial(getattr(model_selection, name), given, labels),
        PLAIN: partial(getattr(scores_plain, name), given, labels),
    }
    values, peaks = zip(*(traced(side) for side in sides.values()), strict=True)
    apart = abs(values[0] - values[1]) / max(1.0, abs(values[1]))
    assert apart <= tolerance, f"{name}: {values}"
    seconds = take_turns({side: partial(run, job) for side, job in sides.items()})
    n, d = given.shape
    title = f"{label}, {n:,} examples, {len(np.unique(labels))} classes, {d:,} columns"
    held = {side: [peak] for side, peak in zip(sides, peaks, strict=True)}
    report.comparisons.append(Comparison(title, "s", OURS, seconds))
    report.comparisons.append(Comparison(f"{title}: memory", "MiB", OURS, held))
    return apart


def run(job: Callable[[], Any]) -> None:
    job()  # what it returns is no measurement


def traced(job: Callable[[], float]) -> tuple[float, float]:
    """Return what a job returns, and the most MiB that it held."""
    tracemalloc.start()
    value = job()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return value, peak / 2**20


if __name__ == "__main__":
    main(measure)
