import numpy as np
import pytest
from keras import ops

from tlkit.techniques.domain_adaptation import coral, coral_map, joint_mmd, mmd
from tlkit.techniques.domain_adaptation.dan import BANDWIDTHS

RNG = np.random.default_rng(0)
ONE, OTHER = (RNG.uniform(size=(12, 4)).astype("float32") for _ in range(2))


def joint(source, target):
    return joint_mmd((source, source[:, :2]), (target, target[:, :2]))


@pytest.mark.parametrize("distance", [mmd, coral, joint])
def test_a_distance_is_zero_on_itself_grows_and_does_not_heed_the_order(distance):
    wider = OTHER + (OTHER - OTHER.mean(axis=0))  # CORAL looks at covariances, not at means
    near, far = (float(distance(ONE, ONE + scale * (wider - ONE))) for scale in (0.5, 2.0))
    assert float(distance(ONE, ONE)) == pytest.approx(0, abs=1e-4)
    assert 0 < near < far
    assert float(distance(ONE, OTHER)) == pytest.approx(float(distance(ONE[::-1], OTHER[::-1])), rel=1e-3)


def test_mmd_is_the_textbook_sum():
    both = np.concatenate([ONE, OTHER])
    unit = np.mean([np.sum((a - b) ** 2) for a in both for b in both])

    def k(a, b):
        return np.mean([np.exp(-np.sum((a - b) ** 2) / (width * unit)) for width in BANDWIDTHS])

    def mean(xs, ys):
        return np.mean([k(x, y) for x in xs for y in ys])

    expected = mean(ONE, ONE) + mean(OTHER, OTHER) - 2 * mean(ONE, OTHER)
    assert float(mmd(ONE, OTHER)) == pytest.approx(expected, rel=1e-3)


def test_the_joint_mmd_multiplies_the_kernels_of_the_layers():
    constant = np.zeros((12, 3), "float32")  # a kernel of ones
    assert float(joint_mmd((ONE, constant), (OTHER, constant))) == pytest.approx(
        float(mmd(ONE, OTHER)), rel=1e-3
    )


def test_coral_is_the_distance_of_the_covariances():
    expected = np.sum((np.cov(ONE, rowvar=False) - np.cov(OTHER, rowvar=False)) ** 2) / (4 * 4**2)
    assert float(coral(ONE, OTHER)) == pytest.approx(expected, rel=1e-3)
    assert float(coral(ONE, ONE + 5)) == pytest.approx(0, abs=1e-6)  # blind to a shift of the mean


def test_the_closed_form_gives_the_source_the_mean_and_the_covariance_of_the_target():
    source = RNG.normal(size=(500, 3)) @ RNG.normal(size=(3, 3))
    target = RNG.normal(size=(400, 3)) @ RNG.normal(size=(3, 3)) + 4
    matrix, offset = coral_map(source, target, regularization=0.0)
    moved = source @ matrix + offset
    np.testing.assert_allclose(moved.mean(axis=0), target.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(
        np.cov(moved, rowvar=False), np.cov(target, rowvar=False), rtol=1e-2, atol=1e-3
    )


def test_losses_have_finite_gradients_where_the_domains_are_the_same():
    from tlkit.plots.saliency import gradient

    for distance in (mmd, coral):
        x = ops.convert_to_tensor(ONE)
        slope = ops.convert_to_numpy(gradient(lambda t, d=distance, x=x: d(t, x), x))
        assert np.isfinite(slope).all()
