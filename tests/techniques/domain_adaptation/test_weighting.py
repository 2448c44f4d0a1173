import keras
import numpy as np
import pytest

from tlkit.techniques.domain_adaptation import KLIEP, kliep, pair

RNG = np.random.default_rng(0)
SOURCE = RNG.normal(0.0, 1.0, (600, 1))
TARGET = RNG.normal(1.0, 0.7, (500, 1))


def test_the_weighted_source_has_the_mean_of_the_target():
    weights = kliep(SOURCE, TARGET)
    assert weights.shape == (600,)
    assert weights.min() >= 0
    assert weights.mean() == pytest.approx(1)
    assert np.average(SOURCE[:, 0], weights=weights) > 0.6  # 0 without weights, 1 in the target


def test_kliep_follows_the_true_ratio():
    def density(x, mean, deviation):
        return np.exp(-0.5 * ((x - mean) / deviation) ** 2) / deviation

    true = density(SOURCE[:, 0], 1.0, 0.7) / density(SOURCE[:, 0], 0.0, 1.0)
    assert np.corrcoef(kliep(SOURCE, TARGET), true)[0, 1] > 0.9


def test_weights_help_where_the_source_has_a_region_that_misleads():
    """A straight line cannot fit the whole source; weighted, it fits the part where the target lies."""
    from sklearn.linear_model import LogisticRegression

    x = np.concatenate([RNG.uniform(-1, 1, 300), RNG.uniform(3, 6, 500)])[:, None]
    y = np.where(x[:, 0] < 2, x[:, 0] > 0, 0).astype(int)
    target = RNG.uniform(-1, 1, (300, 1))
    right = (target[:, 0] > 0).astype(int)
    plain = LogisticRegression(C=100).fit(x, y).score(target, right)
    weights = kliep(x, target)
    assert plain < 0.7
    assert LogisticRegression(C=100).fit(x, y, sample_weight=weights).score(target, right) > 0.95


def test_weights_go_into_the_supervised_loss_by_example():
    pairs = pair((np.arange(6.0)[:, None], np.zeros(6, int)), np.zeros((6, 1)), batch_size=3)
    batch, _, weights = pairs.weighted(np.array([0, 0, 0, 1, 2, 3.0]))[0]
    np.testing.assert_allclose(weights, np.maximum(batch["source"][:, 0] - 2, 0))  # scaled to a mean of 1


def test_weighting_keeps_the_statistics_of_the_source(adapted, shifted, small):
    (x, _), (target, _) = shifted
    adapter, _ = adapted(KLIEP(), network=small(batch_norm=True), epochs=5)
    dense, norm = adapter.classifier.layers[:2]
    of_source, of_target = (keras.ops.mean(dense(each), axis=0) for each in (x, target))

    def away(mean):
        return float(keras.ops.max(keras.ops.abs(norm.moving_mean - mean)))

    assert away(of_source) < 0.1 < away(of_target)
