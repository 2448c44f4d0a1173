import numpy as np
import pytest
from keras import ops

from tlkit.challenges.overfitting import BSS, smallest_singular_values
from tlkit.errors import TlkitError
from tlkit.plots.saliency import gradient

FEATURES = np.random.default_rng(0).normal(size=(6, 9)).astype("float32")


def slope(features, k):
    x = ops.convert_to_tensor(features)
    return ops.convert_to_numpy(gradient(lambda t: smallest_singular_values(t, k), x))


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("features", [FEATURES, FEATURES.T], ids=["wide", "tall"])
def test_the_penalty_is_the_sum_of_the_smallest_squared_singular_values(features, k):
    values = np.linalg.svd(features, compute_uv=False)
    expected = np.sum(values[-k:] ** 2)
    assert float(smallest_singular_values(ops.convert_to_tensor(features), k)) == pytest.approx(
        expected, rel=1e-4
    )


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("features", [FEATURES, FEATURES.T], ids=["wide", "tall"])
def test_the_gradient_lies_in_the_span_of_the_smallest_singular_vectors(features, k):
    left, values, right = np.linalg.svd(features, full_matrices=False)
    expected = 2 * (left[:, -k:] * values[-k:]) @ right[-k:]
    np.testing.assert_allclose(slope(features, k), expected, atol=1e-4)


def test_the_gradient_agrees_with_finite_differences():
    """The singular vectors are constants in the graph, but the gradient is complete."""
    change = np.random.default_rng(1).normal(size=FEATURES.shape)

    def value(step):
        moved = FEATURES.astype("float64") + step * change
        return np.sum(np.linalg.svd(moved, compute_uv=False)[-2:] ** 2)

    along = (value(1e-4) - value(-1e-4)) / 2e-4
    assert np.sum(slope(FEATURES, 2) * change) == pytest.approx(along, rel=1e-3)


@pytest.mark.parametrize(
    "features", [np.eye(4), np.ones((4, 4)), np.zeros((4, 4))], ids=["equal", "rank 1", "zero"]
)
def test_the_gradient_is_finite_if_singular_values_are_equal(features):
    found = slope(features.astype("float32"), 2)
    assert np.isfinite(found).all()
    assert np.linalg.matrix_rank(found, tol=1e-4) <= 2


def test_a_step_shrinks_the_weakest_direction_and_leaves_the_strongest(tiny, split, one_step, features_of):
    start = tiny.get_weights()

    def after(strength):
        tiny.set_weights(start)
        one_step(BSS(tiny, strength), split, 0.01)
        return np.linalg.svd(features_of(tiny, split.images), compute_uv=False)

    plain, shrunk = after(0.0), after(10.0)
    assert shrunk[-1] < 0.97 * plain[-1]
    assert shrunk[0] > 0.97 * plain[0]


def test_validation_has_no_penalty(tiny, split):
    learner = BSS(tiny, 100.0)
    for model in (learner, tiny):
        model.compile("sgd", loss="sparse_categorical_crossentropy")
    losses = [model.evaluate(split.images, split.labels, verbose=0) for model in (learner, tiny)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_options_out_of_range_are_refused(tiny):
    with pytest.raises(TlkitError, match="k=0 was given; expected"):
        BSS(tiny, k=0)
    with pytest.raises(TlkitError, match="strength=-1"):
        BSS(tiny, strength=-1)
