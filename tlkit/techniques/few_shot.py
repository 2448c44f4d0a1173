"""Few-shot heads: classifiers of extracted features that learn from a few labels per class.

All heads scale each feature vector to length 1, so they use its direction only. With one label per class,
this scaling matters more than the choice of the head (Wang, Chao, Weinberger & van der Maaten 2019,
"SimpleShot").

>>> rng = np.random.default_rng(0)
>>> labels = np.repeat([0, 1, 2], 5)
>>> features = np.eye(8)[labels] + rng.normal(0, 0.1, (15, 8))
>>> classifier = head("cosine").fit(features[::5], labels[::5])
>>> classifier.score(features, labels)
1.0
"""

from functools import partial
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

from tlkit._internal.registry import Method, Registry
from tlkit.errors import DataError, TlkitError


class _FewShot(ClassifierMixin, BaseEstimator):
    """Base class of few-shot heads, which need no iterative training."""

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Any:
        """Fit the head to features `(n, d)` and int labels `(n,)`; one example per class is enough.

        Raises:
            DataError: the features are not a matrix, the number of labels differs, or there are fewer than
                two classes.
        """
        features, labels = np.asarray(features, "float64"), np.asarray(labels)
        if features.ndim != 2 or labels.shape != features.shape[:1]:
            raise DataError(
                f"Features of shape {features.shape} and labels of shape {labels.shape} were given; expected "
                "(n, d) and (n,). For images, use features = tlkit.extract(backbone, split)."
            )
        self.classes_, indices = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError("All labels belong to one class; pass examples of at least 2 classes.")
        self.fit_unit(normalize(features), indices)
        return self

    def fit_unit(self, unit: np.ndarray, indices: np.ndarray) -> None:
        """Fit the head to features of length 1, `(n, d)`, and class indices `(n,)`."""
        raise NotImplementedError

    def class_means(self, unit: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return the mean of the features of each class, `(classes, d)`."""
        return np.stack([unit[indices == index].mean(axis=0) for index in range(len(self.classes_))])

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights `(d, classes)` and biases `(classes,)` of the head, for features of length 1.

        Raises:
            TlkitError: the head is not linear.
        """
        others = ", ".join(name for name in HEADS.names if name != NEIGHBOURS)
        raise TlkitError(
            f"{type(self).__name__} compares features with all training examples, so it cannot be converted "
            f"to Keras layers. Use another head: {others}."
        )

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return probabilities `(n, classes)`, which rank the classes but are not calibrated."""
        check_is_fitted(self)
        kernel, bias = self.linear()
        return softmax(normalize(np.asarray(features, "float64")) @ kernel + bias, axis=1)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the predicted labels `(n,)` of features `(n, d)`."""
        return self.classes_[self.predict_proba(features).argmax(axis=1)]


class NearestClassMean(_FewShot):
    """Predict the class whose mean is nearest.

    The probabilities are the softmax of the negative squared distances to the class means.

    Mensink, Verbeek, Perronnin & Csurka 2013, "Distance-Based Image Classification: Generalizing to New
    Classes at Near-Zero Cost"; Snell, Swersky & Zemel 2017, "Prototypical Networks for Few-shot Learning".
    """

    def fit_unit(self, unit: np.ndarray, indices: np.ndarray) -> None:
        self.means_ = self.class_means(unit, indices)

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        # -|x - m|^2 without |x|^2, which is equal for all classes
        return 2 * self.means_.T, -np.square(self.means_).sum(axis=1)


class Cosine(_FewShot):
    """Predict the class whose mean has the largest cosine similarity: "imprinted" weights.

    The weights can initialize a layer that is then trained further.

    Qi, Brown & Lowe 2018, "Low-Shot Learning with Imprinted Weights"; Gidaris & Komodakis 2018, "Dynamic
    Few-Shot Visual Learning without Forgetting".

    Args:
        scale: factor of the cosines before the softmax. A larger factor gives more extreme probabilities; it
            does not change the predicted class.
    """

    def __init__(self, scale: float = 10.0) -> None:
        self.scale = scale

    def fit_unit(self, unit: np.ndarray, indices: np.ndarray) -> None:
        self.means_ = normalize(self.class_means(unit, indices))

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        return self.scale * self.means_.T, np.zeros(len(self.classes_))


class NearestNeighbours(_FewShot):
    """Predict by a vote of the nearest training examples, weighted by the inverse of their distance.

    The distance is 1 minus the cosine similarity.

    Args:
        neighbours: number of examples that vote; if there are fewer, all of them vote.
    """

    def __init__(self, neighbours: int = 5) -> None:
        self.neighbours = neighbours

    def fit_unit(self, unit: np.ndarray, indices: np.ndarray) -> None:
        # without weights, a vote of one example per class would always be a tie
        model = KNeighborsClassifier(min(self.neighbours, len(unit)), metric="cosine", weights="distance")
        self.model_ = model.fit(unit, indices)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return the fraction of the votes for each class, `(n, classes)`."""
        check_is_fitted(self)
        return self.model_.predict_proba(normalize(np.asarray(features, "float64")))


def logistic_regression() -> Pipeline:
    """Return scikit-learn's logistic regression, behind a step that scales features to length 1."""
    # less regularisation than scikit-learn's default, which suits features of unit variance, not of length 1
    return make_pipeline(Normalizer(), LogisticRegression(C=10.0, max_iter=1000))


NEIGHBOURS = "nearest neighbours"
_HEAD = partial(Method, "tlkit.techniques.few_shot")
HEADS = Registry(
    "head for few labels",
    (
        _HEAD(
            "nearest class mean", "NearestClassMean", "the class whose mean is nearest", "Snell et al. 2017"
        ),
        _HEAD(NEIGHBOURS, "NearestNeighbours", "a vote of the nearest examples", "Cover & Hart 1967"),
        _HEAD("cosine", "Cosine", "the class whose mean has the largest cosine", "Qi et al. 2018"),
        _HEAD("logistic regression", "logistic_regression", "a linear softmax classifier", "Cox 1958"),
    ),
)


def head(name: str) -> Any:
    """Return a new head with the interface of scikit-learn: `fit(features, labels)`, `predict`, `score`.

    Args:
        name: a name in `HEADS`, in upper or lower case.

    Raises:
        UnknownNameError: there is no such head; the message suggests the nearest names.

    >>> HEADS.names
    ['nearest class mean', 'nearest neighbours', 'cosine', 'logistic regression']
    >>> head("Cosine")
    Cosine()
    """
    return HEADS.find(name).build()


def keras_head(classifier: Any) -> keras.Sequential:
    """Convert a fitted head to Keras layers that predict the same probabilities.

    `tlkit.attach_head(backbone, keras_head(...))` is then one model of raw images. It contains only layers of
    Keras, so its file can be loaded without tlkit.

    Args:
        classifier: a fitted head of `HEADS`, or scikit-learn's `LogisticRegression`, alone or behind a
            `Normalizer`.

    Returns:
        A model from features `(n, d)` to float32 probabilities `(n, classes)`.

    Raises:
        TlkitError: the classifier is `NearestNeighbours` or of another library, or its labels are not
            0, 1, 2, ...
    """
    *before, last = list(classifier) if isinstance(classifier, Pipeline) else [classifier]
    own = isinstance(last, _FewShot)
    if not own and not isinstance(last, LogisticRegression):
        raise TlkitError(
            f"{type(last).__name__} cannot be converted to Keras; expected one of {', '.join(HEADS.names)}."
        )
    if any(not isinstance(step, Normalizer) or step.norm != "l2" for step in before):
        raise TlkitError(
            f"{' and '.join(type(step).__name__ for step in before)} before the head cannot be converted to "
            "Keras; the only step of scikit-learn that can is Normalizer()."
        )
    check_is_fitted(last)
    classes = last.classes_
    if not np.array_equal(classes, np.arange(len(classes))):
        raise TlkitError(
            f"The labels are {classes.tolist()}, but output i of a network means class i. Number the classes "
            "from 0 without gaps, as Dataset.only(names) does, and fit again."
        )
    kernel, bias = last.linear() if own else (last.coef_.T, last.intercept_)
    if kernel.shape[1] == 1:  # for two classes, scikit-learn stores only the column of the second
        kernel, bias = np.hstack([0 * kernel, kernel]), np.concatenate([0 * bias, bias])
    dense = keras.layers.Dense(len(classes), activation="softmax", dtype="float32", name="predictions")
    scaled = [keras.layers.UnitNormalization(dtype="float32", name="length_one")] if own or before else []
    network = keras.Sequential([keras.Input((len(kernel),)), *scaled, dense], name="head")
    dense.set_weights([kernel, bias])
    return network
