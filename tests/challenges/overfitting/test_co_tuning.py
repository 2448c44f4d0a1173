import keras
import numpy as np
import pytest
from keras import ops
from sklearn.linear_model import LogisticRegression

from tlkit.challenges.overfitting import CoTuning, class_relationship, class_relationship_by_bayes
from tlkit.challenges.overfitting.co_tuning import co_tuning_loss
from tlkit.errors import DataError, TlkitError

RNG = np.random.default_rng(0)
P = RNG.dirichlet(np.ones(4), size=12)
LABELS = np.arange(12) % 3
RELATIONSHIP = RNG.dirichlet(np.ones(4), size=3)


def source_head():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation="softmax")], name="source")


def textbook(relationship, predictions, labels):
    total = 0.0
    for i, target in enumerate(labels):
        for s in range(predictions.shape[1]):
            total -= relationship[target, s] * np.log(predictions[i, s])
    return total / len(labels)


def test_the_relationship_is_the_mean_prediction_for_each_class():
    found = class_relationship(P, LABELS, 3)
    for target in range(3):
        for source in range(4):
            values = [p[source] for p, label in zip(P, LABELS, strict=True) if label == target]
            assert found[target, source] == pytest.approx(sum(values) / len(values), rel=1e-5)


def test_the_inverse_relationship_follows_bayes_rule():
    """Two source classes determine the target class, and two are uninformative."""
    one_hot = np.eye(4)[[0, 0, 0, 1, 1, 2, 3, 2, 3, 3]]
    labels = np.array([0, 0, 0, 1, 1, 0, 0, 1, 1, 1])
    held_out = (one_hot, labels)
    found = class_relationship_by_bayes(one_hot, labels, held_out, 2)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    counts = np.array(
        [[np.sum((one_hot.argmax(1) == s) & (labels == t)) for s in range(4)] for t in range(2)]
    )
    assert found[0, 0] == pytest.approx(counts[0, 0] / counts[0].sum(), abs=0.12)
    assert found[0, 1] < 0.05
    assert found[1, 0] < 0.05
    assert found[1, 1] > found[0, 1]


def test_the_inverse_relationship_agrees_with_its_definition_for_one_strength(monkeypatch):
    monkeypatch.setattr("tlkit.challenges.overfitting.co_tuning.STRENGTHS", [1.0])
    fit = LogisticRegression(C=1.0, fit_intercept=False, max_iter=1000).fit(P, LABELS)
    scores = P @ fit.coef_.T

    def likelihood(scale):
        p = np.exp(scale * scores)
        return np.log(p[np.arange(12), LABELS] / p.sum(axis=1)).mean()

    scale = max(np.linspace(0.02, 50, 20000), key=likelihood)
    p_target = np.exp(scale * fit.coef_)
    p_target /= p_target.sum(axis=0)
    expected = p_target * P.mean(axis=0)
    expected /= expected.sum(axis=1, keepdims=True)
    found = class_relationship_by_bayes(P, LABELS, (P, LABELS), 3)
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_the_loss_is_the_sum_of_its_definition():
    rows = RELATIONSHIP[LABELS].astype("float32")
    found = float(co_tuning_loss(ops.convert_to_tensor(rows), ops.convert_to_tensor(P, "float32")))
    assert found == pytest.approx(textbook(RELATIONSHIP, P, LABELS), rel=1e-5)


@pytest.mark.parametrize("one_hot", [False, True], ids=["indices", "one-hot"])
def test_stock_fit_adds_the_source_loss(tiny, split, one_hot, features_of):
    head = source_head()
    labels = np.eye(3, dtype="float32")[split.labels] if one_hot else split.labels
    kind = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    freeze_statistics(tiny)
    predictions = np.array(head(features_of(tiny, split.images)))
    losses = []
    for strength in (0.0, 2.0):
        learner = CoTuning(tiny, head, RELATIONSHIP, strength)
        learner.compile(keras.optimizers.SGD(0.0), loss=kind)
        losses.append(learner.fit(split.images, labels, batch_size=12, verbose=0).history["loss"][0])
    assert losses[1] - losses[0] == pytest.approx(
        2 * textbook(RELATIONSHIP, predictions, split.labels), rel=1e-4
    )


def freeze_statistics(model):
    from tlkit.models import normalizations

    for layer in normalizations(model):
        layer.trainable = False


def test_a_step_moves_the_source_head_towards_the_relationship(tiny, split, one_step, features_of):
    start = tiny.get_weights()
    freeze_statistics(tiny)

    def after(strength):
        tiny.set_weights(start)
        head = source_head()
        before = head.get_weights()
        one_step(CoTuning(tiny, head, RELATIONSHIP, strength), split)
        assert np.array_equal(before[0], head.get_weights()[0]) == (strength == 0)
        predictions = np.array(head(features_of(tiny, split.images)))
        return textbook(RELATIONSHIP, predictions, split.labels), tiny.get_weights()

    (plain, weights), (tuned, others) = after(0.0), after(1.0)
    assert tuned < plain - 0.01
    assert not np.array_equal(weights[0], others[0])  # the gradient reaches the backbone


def test_validation_uses_only_the_loss_of_the_classifier(tiny, split):
    learner = CoTuning(tiny, source_head(), RELATIONSHIP, 100.0)
    for model in (learner, tiny):
        model.compile("sgd", loss="sparse_categorical_crossentropy")
    losses = [model.evaluate(split.images, split.labels, verbose=0) for model in (learner, tiny)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_invalid_arguments_are_refused(tiny):
    with pytest.raises(TlkitError, match=r"shape \(2, 4\) was given; expected \(3, 4\)"):
        CoTuning(tiny, source_head(), RELATIONSHIP[:2])
    with pytest.raises(TlkitError, match="at least 0"):
        CoTuning(tiny, source_head(), RELATIONSHIP, -1.0)
    with pytest.raises(DataError, match="Class 3 of 4 has no example"):
        class_relationship(P, LABELS, 4)
    with pytest.raises(DataError, match="do not sum to 1"):
        class_relationship(np.log(P), LABELS, 3)
    with pytest.raises(DataError, match="expected"):
        class_relationship(P, LABELS[:5], 3)
