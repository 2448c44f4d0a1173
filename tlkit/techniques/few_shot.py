"""Few labels a class: heads on kept features that need no training, only the examples themselves.

All of them look at the direction of a feature vector and not at its length: features are scaled to length 1
first. With one label a class this alone is worth more than the choice of the head (Wang, Chao, Weinberger &
van der Maaten 2019, "SimpleShot").

>>> rng = np.random.default_rng(0)
>>> labels = np.repeat([0, 1, 2], 5)
>>> features = np.eye(8)[labels] + rng.normal(0, 0.1, (15, 8))
>>> classifier = head("cosine").fit(features[::5], labels[::5])
>>> classifier.score(features, labels)
1.0
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, normalize
from sklearn.utils.validation import check_is_fitted

from tlkit.errors import DataError, TlkitError, UnknownNameError


class _FewShot(ClassifierMixin, BaseEstimator):
    """A classifier of features, trained by looking at them once."""

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Any:
        """Learn from features `(n, d)` and int labels `(n,)`; one example of a class will do.

        Raises:
            DataError: features that are no matrix, another number of labels, or fewer than two classes.
        """
        features, labels = np.asarray(features, "float64"), np.asarray(labels)
        if features.ndim != 2 or labels.shape != features.shape[:1]:
            raise DataError(
                f"Features of shape {features.shape} and labels of shape {labels.shape} were given; expected "
                "(n, d) and (n,). For images: tlkit.extract(backbone, split)."
            )
        self.classes_, places = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError("All labels are of one class; give examples of at least 2.")
        self.learn(normalize(features), places)
        return self

    def learn(self, unit: np.ndarray, places: np.ndarray) -> None:
        raise NotImplementedError

    def class_means(self, unit: np.ndarray, places: np.ndarray) -> np.ndarray:
        return np.stack([unit[places == place].mean(axis=0) for place in range(len(self.classes_))])

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the head as weights `(d, classes)` and biases `(classes,)` on features of length 1."""
        others = ", ".join(name for name in HEADS if name != NEIGHBOURS)
        raise TlkitError(
            f"{type(self).__name__} compares with every example it has seen, and is no layer of weights. "
            f"For one model file take another head: {others}."
        )

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return probabilities `(n, classes)`; their order means more than their size."""
        check_is_fitted(self)
        kernel, bias = self.linear()
        return softmax(normalize(np.asarray(features, "float64")) @ kernel + bias, axis=1)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the labels `(n,)` of features `(n, d)`."""
        return self.classes_[self.predict_proba(features).argmax(axis=1)]


class NearestClassMean(_FewShot):
    """The class whose mean is nearest; a probability is the softmax of minus the squared distance.

    Mensink, Verbeek, Perronnin & Csurka 2013, "Distance-Based Image Classification: Generalizing to New
    Classes at Near-Zero Cost"; Snell, Swersky & Zemel 2017, "Prototypical Networks for Few-shot Learning".
    """

    def learn(self, unit: np.ndarray, places: np.ndarray) -> None:
        self.means_ = self.class_means(unit, places)

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        # -|x - m|^2 without |x|^2, which is the same for all classes
        return 2 * self.means_.T, -np.square(self.means_).sum(axis=1)


class Cosine(_FewShot):
    """The class whose mean has the smallest angle: "imprinted" weights, which later training may refine.

    Qi, Brown & Lowe 2018, "Low-Shot Learning with Imprinted Weights"; Gidaris & Komodakis 2018, "Dynamic
    Few-Shot Visual Learning without Forgetting".

    Args:
        scale: of the cosines before the softmax: larger gives surer probabilities, never another class.
    """

    def __init__(self, scale: float = 10.0) -> None:
        self.scale = scale

    def learn(self, unit: np.ndarray, places: np.ndarray) -> None:
        self.means_ = normalize(self.class_means(unit, places))

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        return self.scale * self.means_.T, np.zeros(len(self.classes_))


class NearestNeighbours(_FewShot):
    """The vote of the examples with the smallest angle, each with a weight of one over its distance.

    Args:
        neighbours: how many vote; all examples where there are fewer.
    """

    def __init__(self, neighbours: int = 5) -> None:
        self.neighbours = neighbours

    def learn(self, unit: np.ndarray, places: np.ndarray) -> None:
        # by distance: of one example a class all would have one vote
        model = KNeighborsClassifier(min(self.neighbours, len(unit)), metric="cosine", weights="distance")
        self.model_ = model.fit(unit, places)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return the shares of the votes `(n, classes)`."""
        check_is_fitted(self)
        return self.model_.predict_proba(normalize(np.asarray(features, "float64")))


def _logistic_regression() -> Pipeline:
    # weaker than scikit-learn's default, which is meant for features of unit variance, not of length 1
    return make_pipeline(Normalizer(), LogisticRegression(C=10.0, max_iter=1000))


NEIGHBOURS = "nearest neighbours"
HEADS: dict[str, Callable[[], Any]] = {
    "nearest class mean": NearestClassMean,
    NEIGHBOURS: NearestNeighbours,
    "cosine": Cosine,
    "logistic regression": _logistic_regression,
}


def head(name: str) -> Any:
    """Return a new classifier in scikit-learn's manner: `fit(features, labels)`, `predict`, `score`.

    Args:
        name: one of `HEADS`.

    >>> sorted(HEADS)
    ['cosine', 'logistic regression', 'nearest class mean', 'nearest neighbours']
    """
    if name not in HEADS:
        raise UnknownNameError("head for few labels", name, HEADS)
    return HEADS[name]()


def keras_head(classifier: Any) -> keras.Sequential:
    """Return a fitted head as Keras layers, features `(n, d)` to float32 probabilities `(n, classes)`.

    It has the classifier's probabilities, and only layers of Keras: `tlkit.attach_head(backbone,
    keras_head(...))` is one model of raw images, whose file opens without tlkit.

    Args:
        classifier: a fitted one of `HEADS`, or scikit-learn's `LogisticRegression`, alone or behind a
            `Normalizer`.

    Raises:
        TlkitError: nearest neighbours or a foreign classifier, or labels that are not 0, 1, 2, ...
    """
    *before, last = list(classifier) if isinstance(classifier, Pipeline) else [classifier]
    own = isinstance(last, _FewShot)
    if not own and not isinstance(last, LogisticRegression):
        raise TlkitError(f"{type(last).__name__} has no Keras form here. Known: {', '.join(HEADS)}.")
    if any(not isinstance(step, Normalizer) or step.norm != "l2" for step in before):
        raise TlkitError(
            f"{' and '.join(type(step).__name__ for step in before)} before the head cannot become layers of "
            "Keras; of scikit-learn's steps only Normalizer() can."
        )
    check_is_fitted(last)
    classes = last.classes_
    if not np.array_equal(classes, np.arange(len(classes))):
        raise TlkitError(
            f"The labels are {classes.tolist()}, but output i of a network means class i. Number the classes "
            "from 0 without a gap, as Dataset.only(names) does, and fit again."
        )
    kernel, bias = last.linear() if own else (last.coef_.T, last.intercept_)
    if kernel.shape[1] == 1:  # scikit-learn keeps one column of two
        kernel, bias = np.hstack([0 * kernel, kernel]), np.concatenate([0 * bias, bias])
    dense = keras.layers.Dense(len(classes), activation="softmax", dtype="float32", name="predictions")
    scaled = [keras.layers.UnitNormalization(dtype="float32", name="length_one")] if own or before else []
    network = keras.Sequential([keras.Input((len(kernel),)), *scaled, dense], name="head")
    dense.set_weights([kernel, bias])
    return network
