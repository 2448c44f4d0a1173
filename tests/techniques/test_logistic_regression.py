"""The solved logistic regression: scikit-learn's solution, the choice of C, and large data."""

from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlkit.errors import DataError, TlkitError
from tlkit.techniques import logistic_regression
from tlkit.techniques.logistic_regression import MOST_REPEATS, solve


def features(n=60, d=90, classes=3, spread=2.0, seed=0, scales=(0.1, 30)):
    """Features with unequal scales and a mean far from zero, as those of a network."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = rng.normal(size=(classes, d))
    x = (centres[labels] + rng.normal(0, spread, (n, d))) * np.geomspace(*scales, d) + 5
    return x.astype("float32"), labels


def scikit_learn(x, y, C, **options):
    classifier = LogisticRegression(C=C, tol=1e-9, max_iter=100_000, **options)
    return make_pipeline(StandardScaler(), classifier).fit(x.astype("float64"), y)


@pytest.mark.parametrize(("least_scale", "scales"), [(0, (0.1, 30)), (0.5, (1, 2))])
@pytest.mark.parametrize("C", [1e-3, 1.0])
@pytest.mark.parametrize(("n", "classes"), [(60, 2), (60, 5), (300, 2), (300, 4)])
def test_the_solution_is_that_of_scikit_learn_on_standardised_features(n, classes, C, least_scale, scales):
    x, y = features(n, classes=classes, scales=scales)
    new, _ = features(40, seed=1, scales=scales)
    solved = solve(x, y, classes, Cs=[C], least_scale=least_scale)
    expected = scikit_learn(x, y, C).predict_proba(new)
    np.testing.assert_allclose(solved.predict(new), expected, atol=1e-5)


def test_a_feature_that_is_nearly_constant_in_training_does_not_decide():
    x, y = features(scales=(1, 2))
    x[:, 0] = 0
    x[y == 1, 0] = 1e-4  # by accident, it tells the classes apart
    new = x.copy()
    new[:, 0] = 1  # and is active in other images
    assert (solve(x, y, 3).predict(new).argmax(axis=1) == y).all()
    assert (solve(x, y, 3, least_scale=0).predict(new).argmax(axis=1) == 1).all(), "the reason for the limit"


def test_a_negative_limit_of_the_scale_is_refused():
    with pytest.raises(TlkitError, match=r"least_scale=-1.*at least 0, such as 0.5"):
        solve(*features(), 3, least_scale=-1)


def test_the_scale_of_a_feature_has_a_lower_limit():
    x, y = features()
    deviations = x.astype("float64").std(axis=0)
    limited = np.maximum(deviations, 0.5 * np.median(deviations))
    expected = LogisticRegression(C=0.1, tol=1e-9, max_iter=100_000).fit((x - x.mean(axis=0)) / limited, y)
    np.testing.assert_allclose(
        solve(x, y, 3, Cs=[0.1]).predict(x),
        expected.predict_proba((x - x.mean(axis=0)) / limited),
        atol=1e-5,
    )


def test_a_given_C_is_cross_validated_only_for_held_out_probabilities():
    x, y = features()
    whole, alone = solve(x, y, 3, Cs=[0.1]), solve(x, y, 3, Cs=[0.1], held_out=False)
    np.testing.assert_array_equal(whole.kernel, alone.kernel)
    assert whole.held_out.shape == (60, 3)
    assert (alone.held_out, alone.log_losses) == (None, {})


def test_C_has_the_lowest_cross_validated_log_loss():
    x, y = features(200, spread=4)
    solved = solve(x, y, 3)
    assert solved.log_losses[solved.C] == min(solved.log_losses.values())
    right = solved.held_out[np.arange(len(y)), y]
    assert -np.log(right).mean() == pytest.approx(solved.log_losses[solved.C], rel=1e-4)


def test_with_few_labels_the_folds_are_drawn_several_times(monkeypatch):
    x, y = features(30, spread=2)
    log_losses = []
    for repeat in range(5):
        seeded = partial(StratifiedKFold, random_state=repeat)
        monkeypatch.setattr(
            logistic_regression, "StratifiedKFold", lambda n, seeded=seeded, **_: seeded(n, shuffle=True)
        )
        monkeypatch.setattr(logistic_regression, "MOST_REPEATS", 1)
        log_losses.append(solve(x, y, 3, Cs=[0.01, 0.1]).log_losses)
    monkeypatch.undo()
    monkeypatch.setattr(logistic_regression, "MOST_REPEATS", MOST_REPEATS)  # not as on a push
    found = solve(x, y, 3, Cs=[0.01, 0.1]).log_losses
    for C, value in found.items():
        assert value == pytest.approx(np.mean([each[C] for each in log_losses]), rel=1e-4)


def test_a_held_out_probability_comes_from_a_head_that_did_not_see_the_label():
    x, _ = features(100, d=200)
    y = np.random.default_rng(0).permutation(np.arange(100) % 2)  # labels without a pattern
    solved = solve(x, y, 2, Cs=[1.0])
    assert (solved.predict(x).argmax(axis=1) == y).mean() == 1
    assert 0.3 < (solved.held_out.argmax(axis=1) == y).mean() < 0.7


def test_the_result_is_the_same_each_time():
    x, y = features()
    first, second = solve(x, y, 3), solve(x, y, 3)
    assert first.C == second.C
    np.testing.assert_array_equal(first.kernel, second.kernel)
    np.testing.assert_array_equal(first.held_out, second.held_out)


def test_balanced_class_weights_are_those_of_scikit_learn():
    x, y = features(90, spread=6)
    few = np.flatnonzero((y > 0) | (np.arange(90) < 12))
    x, y = x[few], y[few]
    solved = solve(x, y, 3, Cs=[0.01], class_weight="balanced", least_scale=0)
    expected = scikit_learn(x, y, 0.01, class_weight="balanced").predict_proba(x)
    np.testing.assert_allclose(solved.predict(x), expected, atol=1e-5)
    plain = solve(x, y, 3, Cs=[0.01], least_scale=0)
    assert solved.predict(x)[:, 0].sum() > plain.predict(x)[:, 0].sum(), "the rare class counts more"


def test_a_weight_of_two_counts_as_two_examples():
    x, y = features()
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    doubled = np.where(np.arange(60) < 30, 2.0, 1.0)
    weighted = solve(x, y, 3, Cs=[0.1], sample_weight=doubled)
    heavier = solve(x, y, 3, Cs=[0.2], sample_weight=doubled / 2)
    np.testing.assert_allclose(weighted.predict(x), heavier.predict(x), atol=1e-5)
    assert not np.allclose(weighted.predict(x), solve(x, y, 3, Cs=[0.1]).predict(x), atol=1e-3)


@pytest.mark.parametrize("classes", [2, 4])
def test_large_features_give_the_same_solution_in_chunks(monkeypatch, classes, tmp_path):
    x, y = features(500, classes=classes, spread=12)
    expected = solve(x, y, classes, class_weight="balanced")
    monkeypatch.setattr(logistic_regression, "IN_MEMORY", 100)
    monkeypatch.setattr(logistic_regression, "CHUNK", 70)
    np.save(tmp_path / "x.npy", x)
    found = solve(np.load(tmp_path / "x.npy", mmap_mode="r"), y, classes, class_weight="balanced")
    assert found.C == expected.C
    np.testing.assert_allclose(found.predict(x), expected.predict(x), atol=1e-3)
    # those that choose C are less exact
    np.testing.assert_allclose(found.held_out, expected.held_out, atol=0.06)


def test_of_many_rows_some_choose_C_and_all_are_held_out_once(monkeypatch):
    x, y = features(400)
    monkeypatch.setattr(logistic_regression, "MOST_ROWS", 150)
    solved = solve(x, y, 3)
    assert solved.held_out.shape == (400, 3)
    np.testing.assert_allclose(solved.held_out.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(solved.predict(x), solve(x, y, 3, Cs=[solved.C]).predict(x))


def test_one_label_per_class_cannot_be_cross_validated():
    x, y = features(3)
    solved = solve(x, y, 3)
    assert solved.held_out is None
    assert not solved.log_losses
    assert (solved.predict(x).argmax(axis=1) == y).all()


def test_a_class_with_one_label_is_learned_too():
    x, y = features(41, classes=2)
    y[-1] = 2
    solved = solve(x, y, 3)
    assert solved.predict(x)[-1].argmax() == 2
    assert np.isfinite(list(solved.log_losses.values())).all()


def test_the_only_label_of_one_of_two_classes_is_learned():
    x, y = features(21, classes=2)
    y[:] = 0
    y[-1] = 1
    found = solve(x, y, 2).predict(x)[:, 1]
    assert found.argmax() == 20


def test_a_class_without_labels_is_never_predicted():
    x, y = features(40, classes=2)
    assert solve(x, 2 * y, 3).predict(x)[:, 1].max() < 1e-6


def test_a_constant_feature_does_no_harm():
    x, y = features()
    constant = np.hstack([x, np.full((60, 1), 7, "float32")])
    assert np.isfinite(solve(constant, y, 3).kernel).all()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"Cs": []}, TlkitError, r"Cs=\[\] was given; expected positive numbers"),
        ({"Cs": [0.1, 0]}, TlkitError, "expected positive numbers"),
        ({"folds": 1}, TlkitError, "folds=1 was given; expected at least 2"),
        ({"labels": np.zeros(60, int)}, DataError, "All labels belong to one class"),
        ({"features": np.full((60, 2), np.nan)}, DataError, "Some features are NaN or infinite"),
        ({"sample_weight": np.zeros(60)}, DataError, "weights from 0 to 0; expected at least 0"),
        ({"class_weight": "equal"}, TlkitError, "class_weight='equal' was given"),
    ],
)
def test_bad_arguments_are_refused(changes, error, message):
    x, y = features()
    with pytest.raises(error, match=message):
        solve(**{"features": x, "labels": y, "classes": 3} | changes)
