"""Choose a backbone: score every candidate on one pass of features, and measure its cost here."""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit import backbones
from tlkit._internal.seeds import check_seed, set_seed
from tlkit.backbones import engines
from tlkit.challenges import model_selection
from tlkit.challenges.dataset_size import nested_subsets
from tlkit.challenges.model_selection import (
    PROBE,
    SCORES,
    SPEED,
    Candidate,
    default_candidates,
    multiply_adds,
    near_best,
    pareto_optimal,
    recommend,
    scores_named,
)
from tlkit.challenges.model_selection.choice import FASTEST, MULTIPLY_ADDS, SLOWEST
from tlkit.challenges.model_selection.probes import probe_predictions
from tlkit.challenges.model_selection.table import FEATURES
from tlkit.data import Dataset, Split
from tlkit.errors import DataError, TlkitError, TlkitWarning, WeightsError
from tlkit.models import pooled
from tlkit.reports.measures import measures
from tlkit.reports.selection import Selection
from tlkit.techniques.feature_extraction import extract, feature_precision

ROUNDS = 5  # of timings of the networks between which speed decides
FEW, SECONDS = 8, 0.25  # of a timing: different images, and its length
MIN_TIMED, MAX_TIMED = 256, 8192  # images of a timing


def select(
    data: Dataset,
    candidates: Iterable[Candidate] | None = None,
    *,
    scores: Sequence[str] | str | None = None,
    images: int = 2000,
    time_budget: float | None = None,
    seed: int = 0,
    report_line: Callable[[str], object] = lambda line: None,
    progress: bool = False,
) -> Selection:
    """Score backbones on the train images of a data set, and recommend one; test images are not used.

    Args:
        data: labelled; all candidates take images of its size.
        candidates: by default those whose weights are on this machine, and one with random weights as
            control.
        scores: names of `tlkit.challenges.model_selection.SCORES`, or `"all"`, which can take minutes. By
            default the linear probe, k-NN and LogME, which rank backbones best in seconds. The linear probe
            is always among them.
        images: of the train split, at most; a sample that keeps the proportions of the classes.
        time_budget: seconds; the smallest candidates come first. Each is timed on a few images, and one that
            would not fit is left out. None measures all.
        seed: of that sample, of random weights, and of scores that draw samples.
        report_line: is called with a line of text for each candidate.
        progress: show progress bars of the features.

    Returns:
        The candidates with their scores.

    Raises:
        NoLabelsError, DataError: no labels, fewer than two classes, or a class with one example.
        UnknownNameError: there is no such score.
        TlkitError: images too small for a network, or a time budget in which nothing could be measured.
        WeightsError: the weights of no candidate could be loaded.
    """
    check_seed(seed)
    names = scores_named(scores)
    chosen = list(dict.fromkeys(default_candidates() if candidates is None else candidates))
    for each in chosen:
        each.row.check_size(data.image_size)
    split = examples_of(data, images, seed)
    bench = _Bench(split, list(dict.fromkeys([*names, PROBE])), time_budget, seed, progress)
    for each in sorted(chosen, key=lambda each: each.row.parameters):
        report_line(bench.measure(each))
    if not bench.rows:
        raise _nothing_measured(bench.left_out, time_budget)
    table = pd.DataFrame(bench.rows)
    best = float(table[PROBE].max())
    deviation = float(np.sqrt(best * (1 - best) / len(split)))
    table = bench.timed_again(table, near_best(table, deviation)["backbone"])
    table = table.sort_values([PROBE, SPEED], ascending=False, ignore_index=True)
    table.insert(7, "optimal", pareto_optimal(table[SPEED], table[PROBE]))
    return Selection(
        data,
        table,
        pd.DataFrame(bench.score_seconds),
        recommend(table, deviation),
        deviation,
        len(split),
        bench.left_out,
        list(dict.fromkeys(bench.notes)),
        bench.measures,
        bench.precision,
        {"total": time.perf_counter() - bench.start},
    )


class _Bench:
    """Measures candidates one after the other on the same images, within a time budget."""

    def __init__(
        self, split: Split, names: list[str], time_budget: float | None, seed: int, progress: bool
    ) -> None:
        self.split, self.names, self.seed, self.progress = split, names, seed, progress
        self.time_budget, self.start = time_budget, time.perf_counter()
        self.rows: list[dict[str, Any]] = []
        self.score_seconds: list[dict[str, Any]] = []
        self.speeds: dict[str, float] = {}
        self.candidates: dict[str, Candidate] = {}
        self.left_out: dict[str, str] = {}
        self.notes: list[str] = []
        self.measures: dict[str, dict[str, dict[str, float]]] = {}
        self.precision: dict[str, str] = {}

    def measure(self, each: Candidate) -> str:
        """Measure a candidate or leave it out, and return a line about it."""
        began = time.perf_counter()
        reason = self._measured(each)
        if reason is not None:
            self.left_out[each.name] = reason
            return f"{each.name}: left out, {reason}"
        row, took = self.rows[-1], time.perf_counter() - began
        return f"{each.name}: linear probe {row[PROBE]:.3f}, {row[SPEED]:,.0f} images/s; took {took:.0f} s"

    def _measured(self, each: Candidate) -> str | None:
        """Add the row of a candidate, or return the reason why it is left out."""
        began = time.perf_counter()
        left = np.inf if self.time_budget is None else self.time_budget - (began - self.start)
        if left <= 0:
            return "no time was left"
        set_seed(self.seed)
        size = self.split.images.shape[1]
        try:
            backbone = backbones.load_backbone(each.row.name, weights=each.weights, image_size=size)
        except WeightsError as error:
            return str(error)
        self.precision[each.name] = precision = feature_precision(backbone, self.split)
        if each.row.name not in self.speeds:  # the same for all weights
            self.speeds[each.row.name] = images_per_second(backbone, self.split, precision=precision)
        speed = self.speeds[each.row.name]
        scoring = max((np.nansum(list(row.values())[1:]) for row in self.score_seconds), default=0.0)
        estimate = time.perf_counter() - began + len(self.split) / speed + scoring
        if estimate > left:
            return f"would take about {estimate:.0f} s, and {left:.0f} s were left"
        features = extract(backbone, self.split, precision=precision, progress=self.progress)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TlkitWarning)
            found = model_selection.scores(
                features,
                self.split.labels,
                source_probabilities=self._source_probabilities(each, features),
                names=[name for name in self.names if name != PROBE],
            )
            start = time.perf_counter()
            predicted, accuracy = probe_predictions(features, self.split.labels)
            found.loc[PROBE, ["value", "seconds"]] = accuracy, time.perf_counter() - start
        found = found.reindex(self.names)
        self.measures[each.name] = measures(self.split.labels, predicted)
        self.notes += [str(one.message) for one in caught]
        parameters = backbone.count_params()
        row = {"backbone": each.name, "parameters": parameters, "megabytes": 4 * parameters / 1e6}
        row |= {MULTIPLY_ADDS: multiply_adds(backbone), SPEED: speed, SLOWEST: np.nan, FASTEST: np.nan}
        self.rows.append(row | {"random": each.weights is None} | found["value"].to_dict())
        self.candidates[each.name] = each
        self.score_seconds.append({"backbone": each.name} | found["seconds"].to_dict())
        return None

    def timed_again(self, table: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
        """Time the networks of some candidates in turn, several rounds, and return the table with the speeds.

        All networks meet the same load of the machine, and the spread of the timings shows that load. If the
        time budget ends first, the spread stays NaN, and `recommend` decides by the multiply-adds.

        Args:
            table: of all candidates.
            names: of the candidates between which speed decides.
        """
        near = {each.row.name: each for each in map(self.candidates.__getitem__, names)}
        if len(near) < 2:
            return table
        size = self.split.images.shape[1]
        networks = {
            name: backbones.load_backbone(name, weights=each.weights, image_size=size)
            for name, each in near.items()
        }
        rounds: list[dict[str, float]] = []
        longest = 0.0
        while len(rounds) < ROUNDS:
            began = time.perf_counter()
            if self.time_budget is not None and began - self.start + longest > self.time_budget:
                return table
            rounds.append({name: self._timed(near[name], each) for name, each in networks.items()})
            longest = max(longest, time.perf_counter() - began)
        timings = pd.DataFrame(rounds)
        network = table["backbone"].map(lambda name: self.candidates[name].row.name)
        found = {SPEED: timings.median(), SLOWEST: timings.min(), FASTEST: timings.max()}
        again = {column: network.map(values).fillna(table[column]) for column, values in found.items()}
        return table.assign(**again)

    def _timed(self, each: Candidate, backbone: keras.Model) -> float:
        precision, expected = self.precision[each.name], self.speeds[each.row.name]
        return images_per_second(backbone, self.split, precision=precision, expected=expected)

    def _source_probabilities(self, each: Candidate, features: np.ndarray) -> np.ndarray | None:
        """Return the predictions of the source head; None where no score needs them or there is no head."""
        needing = [name for name in self.names if SCORES.find(name).needs != FEATURES]
        if not needing or each.weights != "imagenet":
            return None
        try:
            return backbones.source_head(each.row.name).predict(features, verbose=0)
        except WeightsError as error:
            self.notes.append(f"No {' and '.join(needing)} of {each.name}: {error}")
            return None


def images_per_second(
    backbone: keras.Model, split: Split, *, precision: str = "auto", expected: float | None = None
) -> float:
    """Return how many images a second the network runs on this machine, by the engine that `extract` takes.

    This times one run over images in memory, without the cache. Only the time between the engine's requests
    for images is counted; its start-up and the decoding of files are excluded.

    Args:
        backbone: its pooled features are computed.
        split: of it, the first images are used.
        precision: `"float32"` or `"bfloat16"`; `"auto"` is that of `extract`.
        expected: images per second in an earlier timing, for the length of this one; None measures it first.
    """
    network, few = pooled(backbone), split.images[:FEW]
    if precision == "auto":
        precision = feature_precision(backbone, split)
    if expected is None:
        expected = _speed(network, few, MIN_TIMED, precision)
    return _speed(network, few, int(np.clip(expected * SECONDS, MIN_TIMED, MAX_TIMED)), precision)


def _speed(network: keras.Model, few: np.ndarray, count: int, precision: str) -> float:
    images, start = _Watched(few, count), time.perf_counter()
    engines.infer(network, images, precision=precision)
    asked = images.asked[len(images.asked) // 4 :]
    if len(asked) < 4:  # by windows of thousands, behind a start that is short beside them
        return count / (time.perf_counter() - start)
    (first, since), (last, until) = asked[0], asked[-1]
    return (until - since) / max(last - first, 1e-6)


class _Watched:
    """A few images, repeated, that record when and at which index each slice was read."""

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


def _nothing_measured(left_out: Mapping[str, str], time_budget: float | None) -> TlkitError:
    reasons = "; ".join(f"{name} {reason}" for name, reason in left_out.items())
    if time_budget is not None:
        return TlkitError(
            f"In {time_budget:g} s no backbone could be measured: {reasons}. Give more time, fewer images or "
            "a smaller image size."
        )
    return WeightsError(reasons)
