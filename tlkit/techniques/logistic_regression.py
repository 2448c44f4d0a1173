"""Regularised logistic regression with a cross-validated C, for features of any size."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from tlkit.errors import DataError, TlkitError
from tlkit.techniques.training import class_weights

CS = tuple(np.logspace(-5, 2, 15).tolist())  # of scikit-learn's C: the first regularises most
FOLDS = 5
FEW_ROWS, MOST_REPEATS = 200, 5  # with fewer rows, the folds are drawn several times
WITHOUT_FOLDS = 0.01  # C if every class has a single label, so that nothing can be cross-validated
PATIENCE = 2  # stop after this many values of C in a row without a lower log loss
MOST_ROWS = 5_000  # at most this many rows are used to choose C
IN_MEMORY = 10_000_000  # values (n x d); larger features are read in chunks
CHUNK = 4096  # rows
ABSENT = -1e4  # bias of a class without labels
LEAST_SCALE = 0.5  # of the median standard deviation


@dataclass(frozen=True)
class SolvedHead:
    """A linear head with softmax, the solution of a regularised logistic regression.

    Attributes:
        kernel: float32 `(d, classes)`, for features that are not standardised.
        bias: float32 `(classes,)`.
        C: the inverse of the strength of the regularisation, as in scikit-learn: smaller values regularise
            more.
        log_losses: the cross-validated log loss in nats by `C`, for the values that were tried.
        held_out: the cross-validated probabilities, float32 `(n, classes)`: each image is predicted by a head
            that was not trained on it. None if every class has a single label.
    """

    kernel: np.ndarray
    bias: np.ndarray
    C: float
    log_losses: dict[float, float]
    held_out: np.ndarray | None

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return probabilities, float32 `(n, classes)`, of features `(n, d)`."""
        return softmax(features @ self.kernel + self.bias, axis=1).astype("float32")


def solve(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    class_weight: Any = None,
    sample_weight: np.ndarray | None = None,
    Cs: Sequence[float] = CS,
    folds: int = FOLDS,
    least_scale: float = LEAST_SCALE,
    held_out: bool = True,
    progress: bool = False,
) -> SolvedHead:
    """Choose C, the inverse regularisation strength, by cross-validation, and solve the head on all labels.

    C is chosen on at most 5,000 rows. With fewer than 200 rows, the cross-validation is repeated with up to 5
    random divisions into folds. If every class has a single label, nothing can be held out, and C is 0.01, a
    strong regularisation. Features of more than 10 million values are read in chunks, so they may be
    memory-mapped.

    Args:
        features: float `(n, d)`.
        labels: int `(n,)` class indices.
        classes: number of classes; a class without labels gets a probability near 0.
        class_weight, Cs, folds, least_scale, progress: see `tlkit.solve_head`.
        sample_weight: `(n,)`, or None.
        held_out: also return cross-validated probabilities if there is only one C to choose from.

    Raises:
        DataError: features that are not finite, labels of a single class, or weights that are negative or all
            zero.
        TlkitError: `Cs`, `folds`, `least_scale` or `class_weight` are out of range.

    >>> features = np.random.default_rng(0).normal(size=(40, 3)) + np.arange(40)[:, None] % 2
    >>> solved = solve(features, np.arange(40) % 2, classes=2)
    >>> solved.kernel.shape, solved.held_out.shape
    ((3, 2), (40, 2))
    """
    _check(features, labels, Cs, folds, least_scale)
    weights = _weights(labels, class_weight, sample_weight)
    problem = _Problem(features, labels, weights, classes, least_scale)
    Cs, everything = sorted(Cs), np.arange(len(labels))
    C, predicted = Cs[0], None
    log_losses: dict[float, float] = {}
    folds = min(folds, int(np.bincount(labels).max()))
    # the matrix products are small, so several threads would mostly wait for each other
    with threadpool_limits(1 if features.size <= IN_MEMORY else None):
        if folds > 1 and (held_out or len(Cs) > 1):
            rows = np.sort(np.random.default_rng(0).permutation(everything)[:MOST_ROWS])
            log_losses, predicted = _cross_validated(problem, rows, Cs, folds, progress)
            C = min(log_losses, key=log_losses.__getitem__)
            if len(rows) < len(labels):
                _, predicted = _cross_validated(problem, everything, [C], folds, progress)
        elif len(Cs) > 1:
            C = WITHOUT_FOLDS
        ((kernel, bias),) = problem.solutions(everything, [C], exact=True)
    return SolvedHead(kernel.astype("float32"), bias.astype("float32"), C, log_losses, predicted)


@dataclass(frozen=True)
class _Problem:
    """Features `(n, d)`, class indices `(n,)`, weights `(n,)`, the number of classes and the least scale."""

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    classes: int
    least_scale: float

    def solutions(
        self, rows: np.ndarray, Cs: Sequence[float], *, exact: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield kernel `(d, classes)` and bias `(classes,)` for some rows, for each C in turn.

        Approximate solutions are enough to choose C, and take a fraction of the time.
        """
        present = np.unique(self.labels[rows])
        if len(present) == 1:  # a fold without the only label of the other class
            bias = np.full(self.classes, ABSENT)
            bias[present] = 0
            return iter([(np.zeros((self.features.shape[1], self.classes)), bias)] * len(Cs))
        in_memory = len(rows) * self.features.shape[1] <= IN_MEMORY
        solver = _in_memory if in_memory else _in_chunks
        return solver(self, rows, Cs, exact)

    def held_out(self, rows: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Return the probabilities of some rows, float32 `(n, classes)`."""
        kernel, bias = kernel.astype("float32"), bias.astype("float32")
        return np.concatenate(
            [softmax(self.features[part] @ kernel + bias, axis=1) for part in _chunks(rows)]
        ).astype("float32")


def _cross_validated(
    problem: _Problem, rows: np.ndarray, Cs: Sequence[float], folds: int, progress: bool
) -> tuple[dict[float, float], np.ndarray]:
    """Return the log loss in nats by C, and the held-out probabilities at the best C.

    With few labels, there are several random divisions into folds. The log loss is the mean of all; the
    probabilities are those of the first. A class with a single label is left out, since the head that
    predicts it was not trained on that class.
    """
    labels, weights = problem.labels[rows], problem.weights[rows]
    folds = min(folds, int(np.bincount(labels).max()))
    repeats = 1 if len(Cs) == 1 else min(math.ceil(FEW_ROWS / len(rows)), MOST_REPEATS)
    parts: list[tuple[int, np.ndarray]] = []
    paths = []
    for repeat in range(repeats):
        splitter = StratifiedKFold(folds, shuffle=True, random_state=repeat)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class has fewer labels than there are folds
            for known, new in splitter.split(rows, labels):
                parts.append((repeat, new))
                paths.append(problem.solutions(rows[known], Cs))
    counted = np.bincount(labels)[labels] > 1
    losses: dict[float, float] = {}
    best, without_gain = np.zeros((len(rows), problem.classes), "float32"), 0
    bar = tqdm(Cs, "head", unit="C", disable=not progress)
    for C, *heads in zip(bar, *paths, strict=True):
        found = np.zeros((repeats, *best.shape), "float32")
        for (repeat, new), head in zip(parts, heads, strict=True):
            found[repeat, new] = problem.held_out(rows[new], *head)
        right = np.clip(found[:, np.arange(len(rows)), labels], 1e-7, 1).T
        loss = float(np.average(-np.log(right[counted]).mean(axis=1), weights=weights[counted]))
        if loss < min(losses.values(), default=np.inf):
            best, without_gain = found[0], 0
        else:
            without_gain += 1
        losses[C] = loss
        if without_gain == PATIENCE:
            break
    bar.close()
    return losses, best


class Scaler(StandardScaler):
    """scikit-learn's scaler, with a lower limit for the standard deviations by which it divides.

    >>> x = np.array([[0, 0, 0.0], [2, 4, 0.001]])  # standard deviations 1, 2 and 0.0005
    >>> Scaler(least=0.5).fit(x).scale_
    array([1. , 2. , 0.5])
    """

    scale_: np.ndarray

    def __init__(self, least: float) -> None:
        super().__init__()
        self.least = least

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "Scaler":
        """Update the means and the standard deviations with more rows."""
        super().partial_fit(X, y, sample_weight)
        deviations = np.sqrt(self.var_)
        if (varying := deviations[deviations > 0]).size:
            self.scale_ = np.maximum(self.scale_, self.least * np.median(varying))
        return self


def _in_memory(
    problem: _Problem, rows: np.ndarray, Cs: Sequence[float], exact: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Solve by scikit-learn; each solution is the start of the next one."""
    scaler, precision = Scaler(problem.least_scale), "float64" if exact else "float32"
    scaled, basis = scaler.fit_transform(problem.features[rows].astype(precision)), None
    if len(rows) < scaled.shape[1]:
        # the kernel is a sum of rows, so it has as many coordinates as there are rows
        basis, coordinates = np.linalg.qr(scaled.T)
        scaled = coordinates.T
    model = LogisticRegression(warm_start=True, max_iter=10_000, tol=1e-8 if exact else 1e-3)
    for C in Cs:
        model.set_params(C=C).fit(scaled, problem.labels[rows], problem.weights[rows])
        kernel, bias = model.coef_.T, model.intercept_
        if len(bias) == 1:  # of two classes, scikit-learn returns the second alone
            kernel, bias = np.hstack([-kernel, kernel]) / 2, np.hstack([-bias, bias]) / 2
        kernel = kernel if basis is None else basis @ kernel
        yield _unscaled(kernel, bias, scaler, model.classes_, problem.classes)


def _in_chunks(
    problem: _Problem, rows: np.ndarray, Cs: Sequence[float], exact: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Solve by L-BFGS with the loss and its gradient summed over chunks of rows."""
    scaler = Scaler(problem.least_scale)
    for part in _chunks(rows):
        scaler.partial_fit(problem.features[part])
    present, labels = np.unique(problem.labels[rows], return_inverse=True)
    d, classes = problem.features.shape[1], len(present)
    weights = problem.weights[rows]
    start = np.zeros((d + 1, classes))

    def objective(flat: np.ndarray, C: float) -> tuple[float, np.ndarray]:
        scaled = flat.reshape(d + 1, classes)
        kernel, bias = _unscaled(scaled[:-1], scaled[-1], scaler, np.arange(classes), classes)
        value, gradient = 0.0, np.zeros((d + 1, classes))
        for part, known, weight in zip(_chunks(rows), _chunks(labels), _chunks(weights), strict=True):
            x = problem.features[part]
            logs = log_softmax((x @ kernel.astype("float32")).astype("float64") + bias, axis=1)
            truth = np.arange(len(known)), known
            value -= weight @ logs[truth]
            error = np.exp(logs)
            error[truth] -= 1
            error *= weight[:, None]
            gradient[:-1] += x.T @ error.astype("float32")
            gradient[-1] += error.sum(axis=0)
        gradient[:-1] = (gradient[:-1] - np.outer(scaler.mean_, gradient[-1])) / scaler.scale_[:, None]
        gradient[:-1] += scaled[:-1] / C
        value += np.square(scaled[:-1]).sum() / (2 * C)
        return value / weights.sum(), gradient.ravel() / weights.sum()

    for C in Cs:
        # of two classes, scikit-learn penalises the difference of the two vectors
        solver = {"maxiter": 10_000, "gtol": 1e-7 if exact else 1e-4, "ftol": 1e-14}
        argument = C / 2 if classes == 2 else C
        found = minimize(objective, start.ravel(), (argument,), "L-BFGS-B", jac=True, options=solver)
        start = found.x.reshape(d + 1, classes)
        yield _unscaled(start[:-1], start[-1], scaler, present, problem.classes)


def _unscaled(
    kernel: np.ndarray, bias: np.ndarray, scaler: Scaler, present: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the head for features that are not standardised, with a column for every class."""
    whole, biases = np.zeros((len(kernel), classes)), np.full(classes, ABSENT)
    whole[:, present] = kernel / scaler.scale_[:, None]
    biases[present] = bias - scaler.mean_ @ whole[:, present]
    return whole, biases


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    return np.split(rows, range(CHUNK, len(rows), CHUNK))


def _weights(labels: np.ndarray, class_weight: Any, sample_weight: np.ndarray | None) -> np.ndarray:
    by_class = class_weights(class_weight, labels)
    weights = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, "float64").ravel()
    if by_class is not None:
        weights = weights * np.array([by_class.get(label, 1.0) for label in labels.tolist()])
    if weights.min() < 0 or weights.sum() == 0:
        raise DataError(
            f"class_weight and sample weights give weights from {weights.min():g} to {weights.max():g}; "
            "expected at least 0, and not all 0."
        )
    return weights


def _check(
    features: np.ndarray, labels: np.ndarray, Cs: Sequence[float], folds: int, least_scale: float
) -> None:
    if not len(Cs) or min(Cs) <= 0:
        raise TlkitError(f"Cs={Cs} was given; expected positive numbers, such as [0.01, 0.1].")
    if folds < 2:
        raise TlkitError(f"folds={folds} was given; expected at least 2.")
    if least_scale < 0:
        raise TlkitError(f"least_scale={least_scale} was given; expected at least 0, such as {LEAST_SCALE}.")
    if len(np.unique(labels)) < 2:
        raise DataError("All labels belong to one class; give examples of at least 2 classes.")
    if not all(np.isfinite(features[part]).all() for part in _chunks(np.arange(len(labels)))):
        raise DataError(
            "Some features are NaN or infinite. Check the images and the weights of the backbone."
        )
