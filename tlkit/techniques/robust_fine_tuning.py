"""Fine-tuning for few labels: it starts at the solved head, and held-out labels decide how far it goes.

With few labels, fine-tuning can be less accurate than the frozen network. This technique compares the two on
labels that are held out from both:

1. Solve the head on the frozen features of all labels (`tlkit.solve_head`). This is the start.
2. Solve a head on some of the labels with the same C, fine-tune from there, and predict the others.
   With few labels, do so in several folds, so that each label is held out once (cross-validation). With
   fewer than 100 labels, repeat this with two or three random divisions into folds, because the choice from
   a single division varies.
3. Between the start and the fine-tuned weights lie the models w = (1 - mix) w_start + mix w_tuned; the mix is
   the interpolation coefficient. Choose the mix with the lowest log loss of the held-out labels, after
   temperature scaling. A mix of 0 is the frozen network with its solved head.
4. Fine-tune on all labels, from the start, and mix the weights. If the result is less accurate on these
   labels than the frozen network was on held-out ones, the training failed, and the network stays frozen.

Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (the mix); Kumar et al. 2022, "Fine-Tuning can
Distort Pretrained Features and Underperform Out-of-Distribution" (the start).
"""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.model_selection import StratifiedKFold
from tqdm import tqdm

from tlkit._internal.sizes import check_length
from tlkit._internal.state import SavedState, packed, unpacked
from tlkit.data.images import joined
from tlkit.data.labelled import Labelled, both
from tlkit.errors import TlkitError
from tlkit.models import feature_network, freeze
from tlkit.techniques.feature_extraction import Features, labelled_features
from tlkit.techniques.interpolation import interpolated
from tlkit.techniques.logistic_regression import SolvedHead
from tlkit.techniques.repeated_training import Recipe, RepeatedTraining, Weights
from tlkit.techniques.solved_head import indices, solve_on_features

MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
PREDICTION = 1 / 3  # duration of predicting images, relative to a training step on them
FOLDS, MOST_IN_FOLDS = 3, 1_000  # with more labels, one part of them is held out once
FEW_LABELS, MOST_DIVISIONS = 100, 3  # with fewer labels, there are several random divisions into folds
HELD_OUT = 5  # with one fold and no validation data, one of so many parts is held out


@dataclass
class RobustFineTuning:
    """The result of `robust_fine_tune`.

    Attributes:
        solved: the head of the frozen network.
        mix: the interpolation coefficient, 0 (frozen network) to 1 (fine-tuned network).
        rows: int `(m,)`: the held-out images, as rows of the training images and then the validation images.
        labels: int `(m,)`: their labels.
        held_out: float32 `(m, classes)` by mix: probabilities of models that did not learn from the image.
            If there are several divisions into folds, those of the first.
        log_losses: log loss in nats by mix after temperature scaling, of the held-out predictions of all
            divisions; see `log_loss`. A class with a single label does not count: the network that predicts
            its only image was trained without this class.
        folds: how many parts of the labels were held out in turn, in all divisions together.
        steps: planned steps of the training on all labels; the trainings of the folds make proportionally
            fewer. 0 if there was no time to fine-tune.
        history: Keras's history of the training on all labels; empty if `mix` is 0.
        seconds: duration of the fine-tuning, without the features and the head.
        failed: after the training on all labels, the network was less accurate on them than the frozen
            network on held-out ones, or a prediction was not finite, so `mix` was set to 0.
        interrupted: Ctrl-C stopped it, caught by a `tlkit.callbacks.Interruptible` among the callbacks; the
            model is the frozen network with its solved head.
    """

    solved: SolvedHead
    mix: float = 0.0
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    labels: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    held_out: dict[float, np.ndarray] = field(default_factory=dict)
    log_losses: dict[float, float] = field(default_factory=dict)
    folds: int = 0
    steps: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    failed: bool = False
    interrupted: bool = False


def robust_fine_tune(
    model: keras.Model,
    train: Any,
    validation_data: Any = None,
    *,
    minutes: float | None = None,
    folds: int | None = None,
    class_weight: Any = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = False,
    **recipe: Any,
) -> RobustFineTuning:
    """Fine-tune a pretrained classifier, but only as far as this lowers the log loss of held-out labels.

    At the end, the network is trained on all labels, including those of `validation_data`, and gets the
    weights of the chosen mix. It is exactly the frozen network with its solved head if no mix is better, if
    the training fails or is interrupted, or if time is too short. The compile state is restored. Fine-tuned
    layers stay trainable; with a mix of 0, the whole backbone is frozen.

    Args:
        model: a classifier of `build_classifier`, or any functional or `Sequential` classifier whose head is
            a single `Dense` layer that outputs class probabilities or logits.
        train, validation_data: labelled images: a split, or arrays `(images, labels)`: uint8 RGB `(n, height,
            width, 3)`, and class indices `(n,)` or one-hot labels `(n, classes)`.
        minutes: time limit, including the features and the head; None for no limit. If it is short, there is
            only one division into folds, or only one part of the labels is held out. If that still takes too
            long, each training makes fewer steps. If there is no time for the minimum (`least_steps` of the
            recipe, 120), the network stays frozen.
        folds: number of parts of the labels that are held out in turn, in one random division. By default 3
            for up to 1,000 labels (training and validation together) and 1 for more; below 100 labels, there
            are two or three divisions into 3 folds. With 1, `validation_data` is held out, or a fifth of the
            labels if there is none.
        class_weight: see `solve_head`. It does not weight the log loss that chooses the mix.
        seed: of the folds, the order of the images and the augmentation.
        callbacks: Keras callbacks for all trainings. The recipe sets the learning rate of each step, so they
            cannot change it; there is no validation loss to monitor.
        progress: show progress bars with the time left.
        recipe: settings of `Recipe`, such as `learning_rate=3e-4`. For exactly n steps, set `least_steps` and
            `most_steps` to n.

    Returns:
        The mix, the held-out probabilities and the history.

    Raises:
        DataError: the images or labels do not fit the model, or all labels belong to one class.
        TlkitError: the data are batches or have sample weights, every class has a single label, the model has
            a single output, the head cannot be solved (see `solve_head`), `folds` is below 1, or the recipe
            has no such setting or value.
    """
    began = time.perf_counter()
    check_length(minutes=minutes)
    settings = checked(folds, **recipe)
    data, held_out = both(model, train, validation_data)
    parts = [each for each in (data, held_out) if each is not None]
    for each in parts:
        if each.images is None:
            raise TlkitError(
                "Batches were given, but the labels must be split into folds. Give a split, or arrays "
                "(images, labels)."
            )
        if each.weights is not None:
            raise TlkitError(
                "Sample weights were given, but robust_fine_tune does not support them. Omit them, or use "
                "class_weight=."
            )
    if model.outputs[0].shape[-1] == 1:
        raise TlkitError(
            f"{model.name!r} has a single output; expected one for each class. Build its head with 2 outputs "
            "and softmax, or use fine_tune."
        )
    freeze(model)
    network = feature_network(model)
    inference = {"engine": "auto", "precision": "auto", "progress": progress}
    known = [labelled_features(network, each, **inference) for each in parts]
    solved = solve_on_features(model, known, class_weight=class_weight, progress=progress)
    seconds = math.inf if minutes is None else 60 * minutes - (time.perf_counter() - began)
    tuner = Tuner(model, parts, known, solved, settings, class_weight, seed, callbacks, int(progress))
    return tuner.run(seconds, folds)


def checked(folds: int | None = None, **recipe: Any) -> Recipe:
    """Return the recipe, or raise a `TlkitError` if it has no such setting or `folds` is below 1."""
    if folds is not None and folds < 1:
        raise TlkitError(f"folds={folds} was given; expected at least 1, such as {FOLDS}.")
    return Recipe.of(**recipe)


class Tuner:
    """Fine-tunes a classifier several times, each time from a solved head; it is compiled only once.

    Args:
        model: a classifier with a frozen backbone and a solved head.
        parts: the training images and, if there are any, the validation images; in memory or in files,
            without sample weights.
        features: of the same images, which the head was solved on.
        solved: what `solve_on_features` returned.
        recipe: how to train.
        class_weight, seed, callbacks: as for `robust_fine_tune`.
        verbose: 0 is silent, 1 shows progress bars, 2 prints a line after each fold.
        state: the trainings are saved here, and continue from there; None saves nothing.
    """

    def __init__(
        self,
        model: keras.Model,
        parts: Sequence[Labelled],
        features: Sequence[Features],
        solved: SolvedHead,
        recipe: Recipe,
        class_weight: Any = None,
        seed: int = 0,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: int = 0,
        state: SavedState | None = None,
    ) -> None:
        self.model, self.solved, self.seed, self.verbose, self.state = model, solved, seed, verbose, state
        self.recipe, self.class_weight, self.callbacks = recipe, class_weight, callbacks
        self.images = joined([each.images for each in parts if each.images is not None])
        self.labels = np.concatenate([indices(each.labels) for each in parts])
        self.in_train = np.repeat([True, False][: len(parts)], [len(each) for each in parts])
        self.values = np.concatenate([each.values for each in features])
        self.frozen = model.get_weights()

    def run(
        self, seconds: float = math.inf, folds: int | None = None, *, forced: bool = False
    ) -> RobustFineTuning:
        """Choose the mix, fine-tune on all labels, and set the weights of the mix.

        Args:
            seconds: time for everything that this method does.
            folds: see `robust_fine_tune`.
            forced: make the least number of steps even if they take longer.
        """
        began, found, weights = time.perf_counter(), RobustFineTuning(self.solved), self.frozen
        if seconds <= 0 and not forced:
            return found
        plan = None if self.state is None else self.state.load("plan")
        self.training = RepeatedTraining(
            self.model,
            self.images,
            self.labels,
            self.recipe,
            class_weight=self.class_weight,
            seed=self.seed,
            callbacks=self.callbacks,
            seconds=seconds,
            progress=self.verbose == 1,
            state=self.state,
            planned_views=None if plan is None else int(plan["views"]),
        )
        try:
            with self.training:
                each_step = self.training.seconds_per_step()
                left = seconds - (time.perf_counter() - began)
                splits, found.steps = self._plan(plan, folds, each_step, left, forced)
                if found.steps:
                    ends = math.inf if forced else began + seconds
                    weights = self._tuned(found, splits, each_step, ends)
        finally:
            self.model.set_weights(weights)
            if not found.mix:
                freeze(self.model)
        found.seconds = time.perf_counter() - began
        return found

    def _plan(
        self,
        saved: dict[str, np.ndarray] | None,
        folds: int | None,
        each_step: float,
        left: float,
        forced: bool,
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
        """Return the splits that choose the mix, and the number of steps on all labels; 0 if time is short.

        A training that continues follows the plan that was saved.
        """
        few = math.ceil(FEW_LABELS / len(self.labels)) if folds is None else 1
        divisions = range(min(few, MOST_DIVISIONS), 0, -1)
        alternatives = [*(self._splits(folds, each) for each in divisions), self._splits(1)]
        if saved is not None:
            return alternatives[int(saved["alternative"])], int(saved["steps"])
        splits, steps = affordable(alternatives, self.recipe, len(self.labels), each_step, left)
        if forced and not steps:
            splits, steps = alternatives[-1], self.recipe.least_steps
        if self.state is not None:
            alternative = next((i for i, each in enumerate(alternatives) if each is splits), 0)
            plan = {"alternative": alternative, "steps": steps, "views": self.training.views}
            self.state.save("plan", plan)
        return splits, steps

    def _tuned(
        self,
        found: RobustFineTuning,
        splits: Sequence[tuple[np.ndarray, np.ndarray]],
        each_step: float,
        ends: float,
    ) -> Weights:
        """Fill in the result, and return the weights of the chosen mix."""
        total = found.steps + sum(self._steps(known, found) for known, _ in splits)
        if self.verbose:
            minutes = total * each_step / 60
            tqdm.write(f"fine-tuning: {len(splits) + 1} trainings, {total} steps, about {minutes:.1f} min")
        tuned = self.frozen
        with tqdm(total=total, desc="fine-tuning", unit="step", disable=self.verbose != 1) as bar:
            self._choose(found, splits, ends, bar)
            if found.mix:
                trained = self._once("all", partial(self._train_on_all, found.steps, bar), found.steps, bar)
                if trained is not None:
                    tuned, found.history = unpacked(trained)
        found.interrupted = self.training.interrupted
        weights = interpolated(self.frozen, tuned, found.mix)
        found.failed = found.mix > 0 and not found.interrupted and not self._fits(weights, found)
        if found.interrupted or found.failed:
            found.mix, found.history = 0.0, {}
        return weights if found.mix else self.frozen

    def _fits(self, weights: Weights, found: RobustFineTuning) -> bool:
        """Whether a network is as accurate on its training labels as the frozen one on held-out ones."""
        predicted = self.training.predict(weights, np.arange(len(self.labels)))
        accuracy = np.mean(predicted.argmax(axis=1) == self.labels)
        frozen = np.mean(found.held_out[0.0].argmax(axis=1) == found.labels)
        return bool(np.isfinite(predicted).all() and accuracy >= frozen)

    def _steps(self, known: np.ndarray, found: RobustFineTuning) -> int:
        """Return the number of steps on some labels: as many epochs as on all labels."""
        return max(1, round(found.steps * len(known) / len(self.labels)))

    def _choose(
        self,
        found: RobustFineTuning,
        splits: Sequence[tuple[np.ndarray, np.ndarray]],
        ends: float,
        bar: tqdm,
    ) -> None:
        """Fine-tune on the known part of each split, and choose the mix by the other part.

        If the trainings take longer than estimated, the last splits are left out, and their images are not
        predicted.
        """
        began, made = time.perf_counter(), 0
        chosen = None if self.state is None else self.state.load("chosen")
        if chosen is not None:  # the time limit has left out the other splits
            splits, ends = splits[: int(chosen["splits"])], math.inf
        parts: dict[float, list[np.ndarray]] = {mix: [] for mix in MIXES}
        for done, (known, new) in enumerate(splits):
            steps, now = self._steps(known, found), time.perf_counter()
            if done and now + (steps + found.steps) * (now - began) / made > ends:
                splits, bar.total = splits[:done], made + found.steps
                break
            made += steps
            name = f"fold-{done}"
            held_out = self._once(name, partial(self._held_out, name, known, new, steps, bar), steps, bar)
            if held_out is None:
                return
            if self.verbose == 2:
                so_far = time.perf_counter() - began
                left = (so_far / made) * (bar.total - made) / 60
                tqdm.write(f"fold {done + 1} of {len(splits)} is trained; about {left:.1f} min left")
            for mix, predicted in parts.items():
                predicted.append(held_out[str(mix)])
        if self.state is not None:
            self.state.save("chosen", {"splits": len(splits)})
        rows = np.concatenate([new for _, new in splits])
        whole = {mix: np.concatenate(predicted) for mix, predicted in parts.items()}
        labels = self.labels[rows]
        counted = np.bincount(self.labels)[labels] > 1  # the only image of a class is predicted without it
        counted = counted if counted.any() else ~counted
        found.log_losses = {mix: log_loss(each[counted], labels[counted]) for mix, each in whole.items()}
        found.mix = min(MIXES, key=found.log_losses.__getitem__)
        first = np.sort(np.unique(rows, return_index=True)[1])
        found.folds, found.rows, found.labels = len(splits), rows[first], self.labels[rows[first]]
        found.held_out = {mix: each[first] for mix, each in whole.items()}

    def _held_out(
        self, name: str, known: np.ndarray, new: np.ndarray, steps: int, bar: tqdm
    ) -> dict[str, np.ndarray] | None:
        """Fine-tune on some labels, and return the probabilities of the others by mix; None after Ctrl-C."""
        self.model.set_weights(self.frozen)
        solve_on_features(
            self.model,
            [Features(self.values[known], self.labels[known])],
            class_weight=self.class_weight,
            Cs=[self.solved.C],
            held_out=False,
        )
        start = self.model.get_weights()
        self.training.train(start, known, steps, bar, name)
        end = self.model.get_weights()
        if self.training.interrupted:
            return None
        return {str(mix): self.training.predict(interpolated(start, end, mix), new) for mix in MIXES}

    def _train_on_all(self, steps: int, bar: tqdm) -> dict[str, Any] | None:
        """Fine-tune on all labels, and return history and weights as arrays by name; None after Ctrl-C."""
        history = self.training.train(self.frozen, np.arange(len(self.labels)), steps, bar, "all")
        if self.training.interrupted:
            return None
        return packed(self.model.get_weights(), history)

    def _once(
        self, name: str, train: Callable[[], dict[str, Any] | None], steps: int, bar: tqdm
    ) -> dict[str, Any] | None:
        """Return what `train` returns, or what an earlier run saved of it; the bar moves by its steps."""
        if self.state is None:
            return train()
        known = name in self.state.names(name)
        found = self.state.once(name, train)
        if known:
            bar.update(steps)
        return found

    def _splits(self, folds: int | None, divisions: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the known and the held-out rows of each training that chooses the mix."""
        n, most = len(self.labels), int(np.bincount(self.labels).max())
        if folds is None:
            folds = FOLDS if n <= MOST_IN_FOLDS else 1
        if folds == 1 and not self.in_train.all() and len(np.unique(self.labels[self.in_train])) > 1:
            return [(np.flatnonzero(self.in_train), np.flatnonzero(~self.in_train))]
        parts = min(folds if folds > 1 else HELD_OUT, most)
        if parts < 2:
            raise TlkitError(
                "Every class has a single label, so none can be held out to judge the fine-tuning. Give more "
                "labels, or keep the network frozen (solve_head, technique='feature-extraction')."
            )
        splitter = StratifiedKFold(parts, shuffle=True, random_state=np.random.RandomState(self.seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class has fewer labels than there are folds
            splits = [each for _ in range(divisions) for each in splitter.split(self.labels, self.labels)]
        # where one of two classes has a single label, no head can be solved on the others
        splits = [(known, new) for known, new in splits if len(np.unique(self.labels[known])) > 1]
        return splits if folds > 1 else splits[:1]


def affordable(
    alternatives: Sequence[list[tuple[np.ndarray, np.ndarray]]],
    recipe: Recipe,
    images: int,
    each_step: float,
    seconds: float,
) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """Return the splits that fit into a time and the steps of the last training; or no split and 0 steps.

    Args:
        alternatives: lists of splits, the best one first. There is a training for each split, which chooses
            the mix, and then one on all labels. All have the same number of epochs. The held-out images are
            predicted with each mix, and all images once at the end.
        recipe: the least and the desired number of steps.
        images: number of labels.
        each_step: seconds of a step.
        seconds: the time for all this.

    >>> splits = [(np.arange(40), np.arange(40, 60))] * 3
    >>> alternatives = [splits, splits[:1]]
    >>> [affordable(alternatives, Recipe(), 60, 0.1, seconds)[1] for seconds in (math.inf, 60, 25, 15)]
    [120, 120, 120, 0]
    """
    wanted = recipe.steps(images)
    for chosen in alternatives:
        trainings = 1 + sum(len(known) for known, _ in chosen) / images  # of the length of the last one
        predicted = images + len(MIXES) * sum(len(new) for _, new in chosen)
        left = seconds - predicted / recipe.batch_size * each_step * PREDICTION
        steps = int(min(max(left, 0) / (trainings * each_step), wanted))
        if steps == wanted:
            return chosen, wanted
    return (chosen, steps) if steps >= recipe.least_steps else ([], 0)


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean log loss in nats after temperature scaling; infinite if a probability is not finite.

    Without the scaling, an overconfident network could lose to a less accurate one. Guo et al. 2017, "On
    Calibration of Modern Neural Networks".

    >>> probabilities = np.array([[0.999, 0.001], [0.999, 0.001], [0.001, 0.999], [0.999, 0.001]])
    >>> round(log_loss(probabilities, np.array([0, 0, 1, 1])), 3)  # three of four are right
    0.562
    """
    if not np.isfinite(probabilities).all():
        return math.inf
    logs = np.log(np.clip(probabilities, 1e-7, 1))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logs / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(labels)), labels].mean())

    return float(minimize_scalar(loss, bounds=(-3, 3), method="bounded").fun)
