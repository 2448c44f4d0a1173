"""Which backbone to borrow: every candidate's scores from one pass of features, and what it costs here."""

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit import backbones, engines
from tlkit.challenges.dataset_size import nested_subsets
from tlkit.challenges.model_selection import (
    SCORES,
    Candidate,
    default_candidates,
    find,
    pareto_optimal,
    recommend,
    scores,
)
from tlkit.data import Dataset, Split
from tlkit.errors import DataError, TlkitError, TlkitWarning, WeightsError
from tlkit.models import pooled
from tlkit.techniques.feature_extraction import extract

PROBE = "linear-probe"
RANKED_BY = PROBE  # in benchmarks/model_selection.py it agrees best with measured accuracy
SPEED = "images per second"
REPEATS, FEW, LONG_ENOUGH = 5, 8, 0.5  # of a timing: passes, different images, and seconds of a pass
MOST_TIMED = 8192  # images


@dataclass
class Selection:
    """What was found out about the candidates.

    Attributes:
        table: one row a candidate, the best first: `backbone`, `parameters`, `megabytes` of its float32
            weights, `images per second` on this machine, `optimal` (no other is both faster and better),
            `random` (its weights), and a column a score.
        seconds: what each score took, one row a candidate.
        recommended: a name of the table, by the rule of `tlkit.challenges.model_selection.recommend`.
        standard_error: of the best accuracy of the linear probe.
        images: how many labelled ones the scores saw.
        left_out: name to why it was not measured.
        notes: what the scores warn of, and what is missing.
    """

    table: pd.DataFrame
    seconds: pd.DataFrame
    recommended: str
    standard_error: float
    images: int
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def select(
    data: Dataset,
    candidates: Iterable[Candidate] | None = None,
    *,
    names: Sequence[str] | None = None,
    images: int = 2000,
    time_budget: float | None = None,
    seed: int = 0,
    say: Callable[[str], object] = lambda line: None,
    progress: bool = False,
) -> Selection:
    """Score backbones on the train images of a data set, and recommend one; test images are not looked at.

    Args:
        data: labelled; its image size is that of all candidates.
        candidates: by default those whose weights are here, and a random twin as control.
        names: of scores; by default all. The linear probe is always among them.
        images: of the train split, at most; a draw that keeps the classes' shares.
        time_budget: seconds, in which the cheapest candidates come first. Each is timed on a few images, and
            one that would not fit is left out. None measures all.
        seed: of that draw, of random weights, and of scores that draw.
        say: gets a line for each candidate.
        progress: show progress bars of the features.

    Raises:
        NoLabelsError, DataError: no labels, fewer than two classes, or a class with one example.
        UnknownNameError: a name that is no score's.
        TlkitError: images too small for a network, or a time budget in which nothing could be measured.
        WeightsError: of no candidate could the weights be loaded.
    """
    start = time.perf_counter()
    wanted = [find(name).name for name in names or [score.name for score in SCORES]]
    wanted = list(dict.fromkeys([*wanted, RANKED_BY, PROBE]))
    chosen = list(dict.fromkeys(default_candidates() if candidates is None else candidates))
    for each in chosen:
        each.row.check_size(data.image_size)
    split = examples_of(data, images, seed)
    rows: list[dict[str, Any]] = []
    took: list[dict[str, Any]] = []
    speeds: dict[str, float] = {}
    left_out: dict[str, str] = {}
    notes: list[str] = []
    for each in sorted(chosen, key=lambda each: each.row.parameters):
        began = time.perf_counter()
        left = np.inf if time_budget is None else time_budget - (began - start)
        if left <= 0:
            left_out[each.name] = "no time was left"
            continue
        keras.utils.set_random_seed(seed)
        try:
            backbone = backbones.get(each.row.name, weights=each.weights, image_size=data.image_size)
        except WeightsError as error:
            left_out[each.name] = str(error)
            continue
        if each.row.name not in speeds:  # the same for all weights
            speeds[each.row.name] = images_per_second(backbone, split)
        speed = speeds[each.row.name]
        scoring = max((np.nansum(list(row.values())[1:]) for row in took), default=0.0)
        estimate = time.perf_counter() - began + len(split) / speed + scoring
        if estimate > left:
            left_out[each.name] = f"would take about {estimate:.0f} s, and {left:.0f} s were left"
            continue
        features = extract(backbone, split, progress=progress)
        theta, why = _source_probabilities(each, features) if {"leep", "nce"} & set(wanted) else (None, [])
        notes += why
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", TlkitWarning)
            found = scores(features, split.labels, source_probabilities=theta, names=wanted)
        notes += [str(one.message) for one in said]
        parameters = backbone.count_params()
        row = {"backbone": each.name, "parameters": parameters, "megabytes": 4 * parameters / 1e6}
        rows.append(row | {SPEED: speed, "random": each.weights is None} | found["value"].to_dict())
        took.append({"backbone": each.name} | found["seconds"].to_dict())
        probe, lasted = rows[-1][PROBE], time.perf_counter() - began
        say(f"{each.name}: linear probe {probe:.3f}, {speed:,.0f} images/s; took {lasted:.0f} s")
    for name, reason in left_out.items():
        say(f"{name}: left out, {reason}")
    if not rows:
        raise _nothing_measured(left_out, time_budget)
    table = pd.DataFrame(rows).sort_values([RANKED_BY, SPEED], ascending=False, ignore_index=True)
    table.insert(4, "optimal", pareto_optimal(table[SPEED], table[PROBE]))
    best = float(table[PROBE].max())
    deviation = float(np.sqrt(best * (1 - best) / len(split)))
    chosen_name = recommend(table, deviation)
    return Selection(
        table, pd.DataFrame(took), chosen_name, deviation, len(split), left_out, list(dict.fromkeys(notes))
    )


def images_per_second(backbone: keras.Model, split: Split) -> float:
    """Return how many images a second the network runs on this machine, by the engine that `extract` takes.

    The median of a few passes over images in memory; nothing is taken from the cache. What counts is the time
    between the engine's requests for images, so that neither its start nor the decoding of files does.
    """
    network, few = pooled(backbone), split.images[:FEW]
    count = MOST_TIMED // 32
    count = int(np.clip(_speed(network, few, count) * LONG_ENOUGH, count, MOST_TIMED))
    return median(_speed(network, few, count) for _ in range(REPEATS))


def _speed(network: keras.Model, few: np.ndarray, count: int) -> float:
    images, start = _Watched(few, count), time.perf_counter()
    engines.infer(network, images)
    asked = images.asked[len(images.asked) // 4 :]
    if len(asked) < 4:  # by windows of thousands, behind a start that is short beside them
        return count / (time.perf_counter() - start)
    (first, since), (last, until) = asked[0], asked[-1]
    return (until - since) / max(last - first, 1e-6)


class _Watched:
    """The same few images again and again, with a note of when and from where on each slice was asked for."""

    def __init__(self, few: np.ndarray, count: int) -> None:
        self.few, self.shape, self.dtype = few, (count, *few.shape[1:]), few.dtype
        self.asked: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: slice) -> np.ndarray:
        start, stop, _ = places.indices(len(self))
        self.asked.append((time.perf_counter(), start))
        return np.resize(self.few, (stop - start, *self.shape[1:]))


def examples_of(data: Dataset, images: int, seed: int) -> Split:
    """Return at most this many labelled train images, of each class at least two.

    Raises:
        NoLabelsError, DataError: no labels, fewer than two classes, or a class with one example.
    """
    split = data.train
    counts = np.bincount(split.labels, minlength=len(data.class_names))
    if np.count_nonzero(counts) < 2:
        raise DataError(
            f"All {len(split)} train images of {data.card.name} are of one class; a choice needs two or more "
            "classes to tell apart. Add images of another class."
        )
    if images < len(split):
        split = nested_subsets(split, [images], seed=seed)[images]
        counts = np.bincount(split.labels, minlength=len(data.class_names))
    if len(rare := np.flatnonzero(counts == 1)):
        names = ", ".join(repr(data.class_names[place]) for place in rare[:5])
        raise DataError(
            f"{len(rare)} of {len(counts)} classes have 1 train image, such as {names}: nothing is left to "
            f"ask after learning from it. Add images, leave these classes out{_more(images, data)}."
        )
    return split


def _more(images: int, data: Dataset) -> str:
    return f", or take more than {images} images" if images < len(data.train) else ""


def _source_probabilities(each: Candidate, features: np.ndarray) -> tuple[np.ndarray | None, list[str]]:
    """Return what the source head says of the features; or None, and why where there should be one."""
    if each.weights != "imagenet":
        return None, []
    try:
        head = backbones.source_head(each.row.name)
    except WeightsError as error:
        return None, [f"No LEEP and NCE of {each.name}: {error}"]
    return head.predict(features, verbose=0), []


def _nothing_measured(left_out: dict[str, str], time_budget: float | None) -> TlkitError:
    reasons = "; ".join(f"{name} {reason}" for name, reason in left_out.items())
    if time_budget is not None:
        return TlkitError(
            f"In {time_budget:g} s no backbone could be measured: {reasons}. Give more time, fewer images or "
            "a smaller image size."
        )
    return WeightsError(reasons)
