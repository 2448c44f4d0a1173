"""Adaptation by the majority vote of several methods, of a head on features or of a whole network."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from tlkit.callbacks import Backup, Interruptible
from tlkit.data import Dataset, Split
from tlkit.experiments import phases
from tlkit.experiments.adaptation_arms import COMPILE, Arms, predicted_by, sample
from tlkit.experiments.fitting import AUTO, FROZEN, SCRATCH, Fitted, fit_classifier
from tlkit.models import build_classifier, cut_last, feature_network, freeze, head_of
from tlkit.reports.adaptation import Adaptation
from tlkit.reports.votes import INTERRUPTED, Candidate
from tlkit.techniques.domain_adaptation import DomainAdapter, Pairs
from tlkit.techniques.domain_adaptation.voting import (
    MATCHED,
    SOURCE_ONLY,
    Vote,
    kappa,
    majority,
    matched_moments,
    vote_on_features,
)
from tlkit.techniques.logistic_regression import SolvedHead, solve
from tlkit.techniques.resuming import trained_once
from tlkit.techniques.step_budget import StepBudget

# the methods that train networks from random weights. The first two had the highest mean accuracy on three
# pairs of digits, one seed; the third also aligns the features, and was tried on one of these pairs
NETWORKS = ("adamatch+mcc", "pseudo-label+mcc", "cdan-e+pseudo-label")


class Voter(NamedTuple):
    """A network that one method trained from random weights, the seconds that this took, and the history."""

    adapter: DomainAdapter
    seconds: float
    history: dict[str, list[float]]


def adapt_head(
    found: Adaptation,
    arms: Arms,
    source: Dataset,
    unlabelled: Split,
    ceiling: Dataset | None,
    watch: Interruptible,
) -> None:
    """Adapt a linear head on features by vote, and write what it reaches into the result."""
    found.model = build_classifier(arms.backbone, arms.classes)
    freeze(found.model)
    features = _of_each(arms.features, source, unlabelled, found.target)
    vote = _vote_on_features(arms, features["train"], source.train.labels, features["unlabelled"], watch)
    predicted = vote.predict(features["target"])
    found.before = predicted[SOURCE_ONLY]
    found.candidates = _candidates(predicted, vote.agreement, vote.seconds)
    _use_head(found, arms, vote, vote.head, features)
    if ceiling is not None:
        best = solve(arms.features(ceiling.train), ceiling.train.labels, arms.classes)
        found.ceiling = best.predict(features["target"]).argmax(axis=1)


def adapt_fine_tuned(
    found: Adaptation,
    arms: Arms,
    source: Dataset,
    unlabelled: Split,
    ceiling: Dataset | None,
    minutes: float | None,
    watch: Interruptible,
) -> None:
    """Fine-tune a pretrained network on the source, and adapt its head by vote.

    The fine-tuned network itself is the control. The voters learn from fine-tuned and from pretrained
    features, side by side: fine-tuned features separate the classes of the source better, and pretrained ones
    depend less on the source. The head of the result learns from the fine-tuned features alone.
    """
    control, seconds = _control(found, arms, source, minutes, watch)
    found.model = control.model
    network, parts = feature_network(found.model), (source, unlabelled, found.target)
    features = _of_each(partial(predicted_by, network), *parts)
    both = features  # if the network stayed frozen, there is only one kind
    if control.technique != FROZEN:
        both = _side_by_side(_of_each(arms.features, *parts), features)
    labels, target = source.train.labels, features["unlabelled"]
    vote = _vote_on_features(arms, both["train"], labels, both["unlabelled"], watch)
    of_control = head_of(found.model).predict(target, verbose=0).argmax(axis=1)
    found.candidates = _candidates(
        vote.predict(both["target"]) | {SOURCE_ONLY: found.before},
        vote.agreement | {SOURCE_ONLY: kappa(of_control, vote.classes)},
        vote.seconds | {SOURCE_ONLY: seconds},
    )
    head = None
    if vote.choice != SOURCE_ONLY:
        matched = matched_moments(features["train"], target, arms.domains)
        head = vote.head_on(matched, labels, target)
    _use_head(found, arms, vote, head, features)
    _add_ceiling(found, arms, ceiling, minutes, watch)


def adapt_network(
    found: Adaptation,
    arms: Arms,
    source: Dataset,
    unlabelled: Split,
    ceiling: Dataset | None,
    minutes: float | None,
    watch: Interruptible,
) -> None:
    """Train networks from random weights by several methods, and keep the one that agrees most with the vote.

    This choice needs no target labels. It is that of EnsV, here with a majority vote and Cohen's kappa: Hu et
    al. 2024, "Towards Reliable Model Selection for Unsupervised Domain Adaptation: An Empirical Study and A
    Certified Baseline". If Ctrl-C stops the training of a network, those that were trained before vote.
    """
    control, seconds = _control(found, arms, source, minutes, watch)
    found.model, found.choice = control.model, INTERRUPTED
    samples = source.train.subset(sample(source.train)), unlabelled.subset(sample(unlabelled))
    network = feature_network(control.model)
    found.features["before"] = predicted_by(network, samples[0]), predicted_by(network, samples[1])
    voters = {} if watch.interrupted else _voters(arms, source.train, unlabelled, watch)
    if voters:
        models = {SOURCE_ONLY: control.model} | {
            name: each.adapter.classifier for name, each in voters.items()
        }
        on_target = {name: predicted_by(each, unlabelled) for name, each in models.items()}
        voted = majority([on_target[name] for name in voters])
        agreement = {name: kappa(each.argmax(axis=1), voted) for name, each in on_target.items()}
        found.choice = max(voters, key=agreement.__getitem__)
        chosen = voters[found.choice]
        found.model, found.history["adaptation"] = models[found.choice], chosen.history
        found.target_frequencies = _frequencies(on_target[found.choice].argmax(axis=1), arms.classes)
        predicted = on_target
        if found.target is not unlabelled:
            predicted = {name: predicted_by(each, found.target) for name, each in models.items()}
        times = {SOURCE_ONLY: seconds} | {name: each.seconds for name, each in voters.items()}
        found.candidates = _candidates(predicted, agreement, times)
        of_source, of_target = samples[0].images[:], samples[1].images[:]
        found.features["after"] = (
            chosen.adapter.source_outputs(of_source).features,
            chosen.adapter.target_outputs(of_target).features,
        )
    parts = {name: each for name, each in source.splits.items() if name != "test"} | {"target": found.target}
    found.probabilities = {name: predicted_by(found.model, each) for name, each in parts.items()}
    _add_ceiling(found, arms, ceiling, minutes, watch)


def _control(
    found: Adaptation, arms: Arms, source: Dataset, minutes: float | None, watch: Interruptible
) -> tuple[Fitted, float]:
    """Train on the source alone, record what that reaches, and return the network and its seconds."""
    began = time.perf_counter()
    control = _trained("control", arms, source, minutes, watch)
    seconds = time.perf_counter() - began
    found.history = _history(SOURCE_ONLY, control)
    found.before = predicted_by(control.model, found.target)
    return control, seconds


def _add_ceiling(
    found: Adaptation, arms: Arms, ceiling: Dataset | None, minutes: float | None, watch: Interruptible
) -> None:
    """Train on target labels, if there are any, and record what that reaches, unless Ctrl-C stopped it."""
    if ceiling is not None and not watch.interrupted:
        best = _trained("ceiling", arms, ceiling, minutes, watch)
        if not watch.interrupted:
            found.ceiling = predicted_by(best.model, found.target).argmax(axis=1)


def _trained(name: str, arms: Arms, data: Dataset, minutes: float | None, watch: Interruptible) -> Fitted:
    """Train as `tlkit.train` does, on the training split alone, and pass Ctrl-C on to `watch`."""
    fitted = fit_classifier(
        replace(data, validation=None, test=None),
        AUTO if arms.pretrained else SCRATCH,
        backbone=arms.copy(),
        weights=None,
        epochs=arms.epochs,
        minutes=minutes,
        seed=arms.seed,
        verbose=arms.verbose,
        state=None if arms.state is None else arms.state.within(f"{name}-"),
    )
    watch.interrupted = watch.interrupted or fitted.interrupted
    return fitted


def _of_each(
    features: Callable[[Split], np.ndarray], source: Dataset, unlabelled: Split, evaluated: Split
) -> dict[str, np.ndarray]:
    """Return the features of the source except its test split, and of the target: unlabelled, evaluated."""
    found = {name: features(each) for name, each in source.splits.items() if name != "test"}
    found["unlabelled"] = features(unlabelled)
    found["target"] = found["unlabelled"] if evaluated is unlabelled else features(evaluated)
    return found


def _side_by_side(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Join two kinds of features. The second is scaled: both have the same mean norm on the train split."""
    lengths = [np.linalg.norm(kind["train"], axis=1).mean() for kind in (first, second)]
    scale = np.float32(lengths[0] / max(lengths[1], 1e-12))
    return {name: np.concatenate([each, scale * second[name]], axis=1) for name, each in first.items()}


def _use_head(
    found: Adaptation, arms: Arms, vote: Vote, head: SolvedHead | None, features: Mapping[str, np.ndarray]
) -> None:
    """Copy a head into the network of the result, and record what it predicts.

    Args:
        head: None keeps the head that the network has.
        features: the inputs of the head, as `_of_each` returns them.
    """
    if head is not None:
        _, last = cut_last(head_of(found.model))
        last.kernel.assign(head.kernel)
        last.bias.assign(head.bias)
    adapted = vote.choice != SOURCE_ONLY
    source, target = features["train"], features["unlabelled"]
    matched = matched_moments(source, target, arms.domains)
    known = {**features} | ({"train": matched} if adapted else {})  # the head expects matched features
    found.probabilities = {
        name: head_of(found.model).predict(each, batch_size=256, verbose=0) for name, each in known.items()
    }
    on_target = found.probabilities.pop("unlabelled")
    found.target_frequencies = _frequencies(on_target.argmax(axis=1), arms.classes)
    found.choice, found.structure = vote.choice, vote.structure
    if set(vote.heads) == {SOURCE_ONLY, MATCHED}:  # Ctrl-C came before the first method was trained
        found.choice = INTERRUPTED
    rows, others = sample(source), sample(target)
    found.features["before"] = source[rows], target[others]
    if adapted:
        found.features["after"] = matched[rows], target[others]


def _vote_on_features(
    arms: Arms, source: np.ndarray, labels: np.ndarray, target: np.ndarray, watch: Interruptible
) -> Vote:
    return vote_on_features(
        source,
        labels,
        target,
        arms.classes,
        domains=arms.domains,
        epochs=arms.epochs,
        seed=arms.seed,
        callbacks=[watch],
        progress=phases.shows_progress(arms.verbose),
        state=arms.state,
    )


def _voters(arms: Arms, source: Split, target: Split, watch: Interruptible) -> dict[str, Voter]:
    """Train a network by each method; one that Ctrl-C stopped is left out, and so are those after it."""
    voters: dict[str, Voter] = {}
    shown = phases.shows_progress(arms.verbose)
    each = len(arms.pairs(source.images, source.labels, target.images))
    steps = arms.epochs_for(each) * each
    with tqdm(total=steps * len(NETWORKS), desc="adaptation", unit="step", disable=not shown) as bar:
        for method in NETWORKS:
            bar.set_postfix_str(method)
            adapter = DomainAdapter(arms.build()[0], method)
            adapter.compile(arms.optimizer(steps), **COMPILE)
            pairs = arms.pairs(source.images, source.labels, target.images)
            fit = partial(_fit_voter, adapter, pairs, steps, bar, watch, 0 if shown else arms.verbose)
            history = trained_once(arms.state, f"voter-{method}", adapter, [watch], fit)
            if watch.interrupted:
                break
            voters[method] = Voter(adapter, history.pop("seconds")[0], history)
    return voters


def _fit_voter(
    adapter: DomainAdapter,
    pairs: Pairs,
    steps: int,
    bar: tqdm,
    watch: Interruptible,
    verbose: int | str,
    backup: Backup | None,
) -> dict[str, list[float]]:
    """Train a network by one method, and return Keras's history with the seconds that it took."""
    began, budget = time.perf_counter(), StepBudget(None, steps, bar=bar)
    options: dict[str, Any] = {"callbacks": [budget, watch]}
    if backup is not None:
        backup.also.append(budget)
        options = {"callbacks": [budget, watch, backup], "initial_epoch": backup.epoch}
    history = adapter.fit(pairs, epochs=steps // len(pairs), verbose=verbose, **options).history
    return history | {"seconds": [time.perf_counter() - began]}


def _candidates(
    predicted: Mapping[str, np.ndarray], agreement: Mapping[str, float], seconds: Mapping[str, float]
) -> list[Candidate]:
    """Return a row for each candidate, given its probabilities for the evaluated images."""
    return [
        Candidate(name, agreement[name], seconds[name], each.argmax(axis=1))
        for name, each in predicted.items()
    ]


def _frequencies(classes: np.ndarray, number: int) -> np.ndarray:
    return np.bincount(classes, minlength=number) / len(classes)


def _history(name: str, fitted: Fitted) -> dict[str, dict[str, list[float]]]:
    """Return Keras's history of the last phase under this name; nothing if only a head was solved."""
    return {name: list(fitted.history.values())[-1]} if fitted.history else {}
