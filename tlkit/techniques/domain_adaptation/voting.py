"""Adapt on features by the majority vote of several methods; one linear head learns from the vote.

Which method is the most accurate depends on the task, and without target labels nobody can tell. But the
methods make different errors, so their vote is usually about as accurate as the best of them:

1. Shift and scale the source features so that they have the mean and the standard deviation of the target
   features, and solve a head on them (`tlkit.solve_head`). If there are several sources, match each
   separately.
2. By each method, train a head with a hidden layer on the matched source and the target features.
3. The head of step 1 and these heads vote on the class of each target example.
4. Solve a head on the matched source features with their labels and on the target features with the classes
   of the vote. It is the result.

There are two exceptions. If the target shows hardly any structure along the features that tell the classes
apart (see `structure`), or little structure and a vote that differs much from the head of step 1, the result
is the head of the source alone. Otherwise, if the vote hardly agrees with the head of step 1, the result is
that head, the most cautious adaptation.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from sklearn.metrics import cohen_kappa_score
from tqdm import tqdm

from tlkit._internal.seeds import set_seed
from tlkit._internal.state import SavedState
from tlkit.callbacks import Backup
from tlkit.errors import DataError, TlkitError
from tlkit.models import build_head
from tlkit.techniques.domain_adaptation.adapter import DomainAdapter
from tlkit.techniques.domain_adaptation.methods import METHODS
from tlkit.techniques.domain_adaptation.pairs import pair
from tlkit.techniques.logistic_regression import SolvedHead, solve
from tlkit.techniques.resuming import trained_once
from tlkit.techniques.step_budget import Budget

VOTERS = ("jan", "mcc", "cdan-e", "cdan-e+mcc")
SOURCE_ONLY, MATCHED, VOTE = "source only", "matched features", "vote"
BUDGET = Budget(epochs=40, least_steps=400, most_steps=4_000)  # of each head with a hidden layer
BATCH_SIZE, LEARNING_RATE, BOTTLENECK = 32, 1e-3, 256
# measured on pretrained features of 13 pairs of domains: agreement (Cohen's kappa) 0.61 to 0.90, structure
# 0.27 to 0.73, and 0.19 for another split of one pair; on noise and images of none of the classes: 0.37 to
# 0.62 and 0.05 to 0.32, so these rules miss some: solar cells for a classifier of emoji had 0.62 and 0.32
LEAST_AGREEMENT, LEAST_STRUCTURE = 0.45, 0.1
DOUBTFUL_AGREEMENT, DOUBTFUL_STRUCTURE = 0.6, 0.2  # both together


@dataclass
class Vote:
    """The result of `vote_on_features`.

    Attributes:
        choice: `"vote"` (step 4), `"matched features"` (step 1) or `"source only"`.
        head: the solved head that was chosen, for features of the target.
        heads: all heads by name: `"source only"`, which does not vote, `"matched features"` and the methods.
            Each has `predict`.
        classes: the class of each target example by the vote, int `(m,)`.
        agreement: Cohen's kappa of the vote with each head; 1 is full agreement, 0 is chance.
        structure: `structure` of the target divided by that of the source; 0 is none.
        seconds: how long each head took.
    """

    choice: str
    head: SolvedHead
    heads: dict[str, Any]
    classes: np.ndarray
    agreement: dict[str, float]
    structure: float
    seconds: dict[str, float]

    def predict(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return the probabilities of each head, float32 `(n, classes)`, for features of the target."""
        return predictions(self.heads, features)

    def head_on(self, matched: np.ndarray, labels: np.ndarray, target: np.ndarray) -> SolvedHead:
        """Solve the kind of head that was chosen on other features of the same examples.

        Args:
            matched: features of the source that are matched to the target, float32 `(n, d)`; see
                `matched_moments`.
            labels: int `(n,)` class indices of the source.
            target: features of the target examples that were voted on, float32 `(m, d)`.

        Raises:
            TlkitError: the choice is `"source only"`, which takes no matched features.
        """
        if self.choice == SOURCE_ONLY:
            raise TlkitError(
                'The choice is "source only". Solve a head on the features of the source: tlkit.solve_head.'
            )
        cautious = solve(matched, labels, self.head.kernel.shape[1])
        if self.choice == MATCHED:
            return cautious
        return solve_with(self.classes, cautious, matched, labels, target)


def vote_on_features(
    source: np.ndarray,
    labels: np.ndarray,
    target: np.ndarray,
    classes: int,
    *,
    domains: np.ndarray | None = None,
    methods: Sequence[str] = VOTERS,
    epochs: int | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = False,
    state: SavedState | None = None,
) -> Vote:
    """Adapt a linear head to the target by the majority vote of several methods. See the module.

    Args:
        source: features float32 `(n, d)`.
        labels: int `(n,)` class indices of the source.
        target: features float32 `(m, d)`; no labels are needed.
        classes: number of classes.
        domains: int `(n,)`: which of several source domains each example comes from; by default there is one.
        methods: names of `METHODS`, or several joined by `+`, such as `"cdan-e+mcc"`.
        epochs: of the training by each method; by default 40, but at least 400 and at most 4,000 steps.
        seed: of the weights and the order of the examples.
        callbacks: Keras callbacks for the training by each method. If Ctrl-C stops one of them, caught by a
            `tlkit.callbacks.Interruptible`, only the methods that were trained before vote.
        progress: show a progress bar.
        state: the trained heads are saved here, and read from there; None saves nothing.

    Raises:
        DataError: the domains differ in their number of features, one has fewer than 2 examples, all
            source examples belong to one class, or `domains` has another length than the source.
        UnknownNameError: there is no such method.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 2
    >>> source = (rng.normal(size=(60, 8)) + 2 * labels[:, None]).astype("float32")
    >>> vote = vote_on_features(source, labels, 3 * source + 5, classes=2, methods=["mcc"], epochs=9)
    >>> bool(np.mean(vote.head.predict(3 * source + 5).argmax(axis=1) == labels) > 0.95)
    True
    """
    for method in methods:
        METHODS.find(method)
    labels = pair((source, labels), target, batch_size=1).labels  # checks what was given
    matched = matched_moments(source, target, domains)
    if state is not None:  # heads on other features do not count
        digest = hashlib.blake2b(matched.tobytes() + np.ascontiguousarray(target).tobytes(), digest_size=4)
        state = state.within(f"{digest.hexdigest()}-")
    heads: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    bar = tqdm([SOURCE_ONLY, MATCHED, *methods], "adaptation", unit="head", disable=not progress)
    for name in bar:
        if name in methods and any(getattr(each, "interrupted", False) for each in callbacks):
            break
        bar.set_postfix_str(name)
        began = time.perf_counter()
        if name in methods:
            head = trained_head(name, (matched, labels), target, classes, epochs, seed, callbacks, state)
            if any(getattr(each, "interrupted", False) for each in callbacks):
                break
            heads[name] = head
        else:
            heads[name] = solve(source if name == SOURCE_ONLY else matched, labels, classes)
        seconds[name] = time.perf_counter() - began
    found = predictions(heads, target)
    chosen = majority([each for name, each in found.items() if name != SOURCE_ONLY])
    agreement = {name: kappa(each.argmax(axis=1), chosen) for name, each in found.items()}
    kernel = heads[MATCHED].kernel
    relative = structure(kernel, target) / max(structure(kernel, matched), 1e-12)
    doubtful = relative < DOUBTFUL_STRUCTURE and agreement[MATCHED] < DOUBTFUL_AGREEMENT
    if relative < LEAST_STRUCTURE or doubtful:
        choice, head = SOURCE_ONLY, heads[SOURCE_ONLY]
    elif agreement[MATCHED] < LEAST_AGREEMENT or (methods and len(heads) == 2):  # Ctrl-C: no method trained
        choice, head = MATCHED, heads[MATCHED]
    else:
        choice, head = VOTE, solve_with(chosen, heads[MATCHED], matched, labels, target)
    return Vote(choice, head, heads, chosen, agreement, relative, seconds)


def solve_with(
    voted: np.ndarray, cautious: SolvedHead, matched: np.ndarray, labels: np.ndarray, target: np.ndarray
) -> SolvedHead:
    """Solve a head on the matched source with its labels and on the target with the classes of the vote.

    Args:
        voted: int `(m,)`, the class of each target example by the vote.
        cautious: the head that was solved on the matched source alone; its C is used again.
        matched, target: features, float32 `(n, d)` and `(m, d)`.
        labels: int `(n,)` class indices of the source.
    """
    both, known = np.concatenate([matched, target]), np.concatenate([labels, voted])
    return solve(both, known, cautious.kernel.shape[1], Cs=[cautious.C], held_out=False)


def structure(kernel: np.ndarray, features: np.ndarray) -> float:
    """Return by how much the logits vary more than they would if the features were independent of each other.

    Examples of different classes differ in many features at once, so the contributions of these features to a
    logit add up. If each feature were shuffled among the examples by itself, its contributions would mostly
    cancel out.

    Args:
        kernel: `(d, classes)` of a linear head.
        features: `(n, d)`.

    Returns:
        The variance of the logits divided by that with independent features, minus 1; at least 0.

    >>> rng = np.random.default_rng(0)
    >>> kernel, noise = rng.normal(size=(50, 3)), rng.normal(size=(400, 50))
    >>> classes = kernel.T[rng.integers(3, size=400)]
    >>> round(structure(kernel, noise)), round(structure(kernel, noise + classes))
    (0, 7)
    """
    centred = kernel - kernel.mean(axis=1, keepdims=True)  # what all classes share changes no probability
    independent = np.sum(np.square(centred) * features.var(axis=0)[:, None])
    return max(0.0, float(np.var(features @ centred, axis=0).sum() / max(independent, 1e-12)) - 1)


def matched_moments(source: np.ndarray, target: np.ndarray, domains: np.ndarray | None = None) -> np.ndarray:
    """Return the source features, shifted and scaled to the mean and standard deviation of the target.

    This is CORAL without the correlations: each feature changes by itself. Sun et al. 2016, "Return of
    Frustratingly Easy Domain Adaptation".

    Args:
        source, target: `(n, d)` and `(m, d)`.
        domains: int `(n,)`: which of several source domains each example comes from. Each domain is matched
            separately. By default there is one.

    Raises:
        DataError: `domains` has another length than the source.

    >>> source, target = np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([[5.0, 0.0], [7.0, 4.0]])
    >>> matched_moments(source, target).tolist()
    [[5.0, 2.0], [7.0, 2.0]]
    """
    if domains is not None:
        if len(domains) != len(source):
            raise DataError(
                f"domains has {len(domains)} values, and the source {len(source)} examples; expected one "
                "value for each example."
            )
        matched = np.empty_like(source)
        for each in np.unique(domains):
            matched[domains == each] = matched_moments(source[domains == each], target)
        return matched
    scale = target.std(axis=0) / np.maximum(source.std(axis=0), 1e-6)
    return ((source - source.mean(axis=0)) * scale + target.mean(axis=0)).astype(source.dtype)


def majority(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Return the class that most predictions vote for; the mean of the probabilities decides a tie.

    Args:
        probabilities: `(n, classes)` of each voter.

    Returns:
        int `(n,)`.

    >>> first, second, third = np.array([[0.6, 0.4]]), np.array([[0.6, 0.4]]), np.array([[0.0, 1.0]])
    >>> majority([first, second, third]).tolist(), majority([first, third]).tolist()
    ([0], [1])
    """
    classes = probabilities[0].shape[1]
    votes = np.sum([np.eye(classes)[each.argmax(axis=1)] for each in probabilities], axis=0)
    return (votes + 0.5 * np.mean(probabilities, axis=0)).argmax(axis=1)


def kappa(predicted: np.ndarray, others: np.ndarray) -> float:
    """Return Cohen's kappa: 1 where all predictions agree, 0 where they agree as often as by chance."""
    if (predicted == others).all():
        return 1.0  # it is undefined if all belong to one class
    return float(cohen_kappa_score(predicted, others))


def predictions(heads: Mapping[str, Any], features: np.ndarray) -> dict[str, np.ndarray]:
    """Return the probabilities of each head, float32 `(n, classes)`."""
    quiet = {"batch_size": 256, "verbose": 0}
    return {
        name: head.predict(features, **(quiet if isinstance(head, keras.Model) else {}))
        for name, head in heads.items()
    }


def trained_head(
    method: str,
    source: tuple[np.ndarray, np.ndarray],
    target: np.ndarray,
    classes: int,
    epochs: int | None,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    state: SavedState | None = None,
) -> keras.Model:
    """Train a head with a hidden layer by a method of domain adaptation, or read it from a saved state."""
    set_seed(seed)
    head = build_head(target.shape[1], classes, bottleneck=BOTTLENECK)
    size = min(BATCH_SIZE, len(source[1]), len(target))
    pairs = pair(source, target, batch_size=size, seed=seed)
    epochs = epochs or BUDGET.epochs_for(len(pairs))
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * len(pairs))
    adapter = DomainAdapter(head, method)
    adapter.compile(keras.optimizers.Adam(schedule))

    def fit(backup: Backup | None) -> dict[str, list[float]]:  # takes seconds, so no epoch is saved
        return adapter.fit(pairs, epochs=epochs, callbacks=list(callbacks), verbose=0).history

    trained_once(state, f"voter-{method}", head, callbacks, fit)
    return head
