import warnings

import numpy as np
import pytest

from tlkit.challenges.task_similarity import linear_cka, minibatch_cka, procrustes, svcca
from tlkit.errors import DataError, TlkitWarning

N, D = 60, 5
SIMILARITIES = [linear_cka, svcca, procrustes, lambda x, y: minibatch_cka([(x, y)])]
IDS = ["cka", "svcca", "procrustes", "unbiased cka"]


def normal(n=N, d=D, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


X = normal() @ np.diag([4, 2, 1, 1, 0.5])
ROTATION, _ = np.linalg.qr(normal(D, D, seed=3))
LINEAR_MAP = normal(D, D, seed=4)  # invertible, not a rotation
NOISY = X + normal(seed=5)


@pytest.mark.parametrize("similarity", SIMILARITIES, ids=IDS)
def test_similarity_is_invariant_to_rotation_scale_and_shift(similarity):
    assert similarity(X, X) == pytest.approx(1)
    assert similarity(X, -3 * X @ ROTATION + 7) == pytest.approx(1)
    assert similarity(NOISY, X @ ROTATION * 9) == pytest.approx(similarity(NOISY, X))


@pytest.mark.parametrize("similarity", SIMILARITIES, ids=IDS)
def test_similarity_is_symmetric_and_depends_on_the_pairing_of_the_examples(similarity):
    assert similarity(X, NOISY) == pytest.approx(similarity(NOISY, X))
    order = np.random.default_rng(0).permutation(N)
    assert similarity(X[order], NOISY[order]) == pytest.approx(similarity(X, NOISY))
    assert similarity(X, NOISY[order]) < similarity(X, NOISY) - 0.2


@pytest.mark.parametrize("similarity", SIMILARITIES, ids=IDS)
def test_more_noise_lowers_the_similarity(similarity):
    noise = normal(seed=6)
    found = [similarity(X, X + scale * noise) for scale in (0, 0.5, 2, 20)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.5


def test_only_svcca_is_invariant_to_every_invertible_linear_map():
    assert svcca(X, X @ LINEAR_MAP, variance=1) == pytest.approx(1)
    assert svcca(NOISY, X @ LINEAR_MAP, variance=1) == pytest.approx(svcca(NOISY, X, variance=1))
    stretched = X @ np.diag([1, 1, 1, 1, 40])
    assert linear_cka(X, stretched) < 0.3
    assert minibatch_cka([(X, stretched)]) < 0.3
    assert procrustes(X, stretched) < 0.6


def test_cka_is_the_alignment_of_centred_kernels():
    """CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with HSIC = tr(K H L H) / (n - 1)^2."""
    centring = np.eye(N) - 1 / N

    def hsic(k, other):
        return np.trace(k @ centring @ other @ centring) / (N - 1) ** 2

    for y in (NOISY[:, :2], np.hstack([NOISY, normal(d=N - D - 3, seed=8)])):
        k, other = X @ X.T, y @ y.T
        expected = hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))
        assert linear_cka(X, y) == pytest.approx(expected)


def test_one_batch_is_the_unbiased_estimate_over_quadruples():
    """Song et al.: the mean over different i, j, q, r of K_ij (L_ij + L_qr - 2 L_iq)."""
    n = 7
    x, y = X[:n], NOISY[:n, :3]

    def hsic(one, other):
        total, count = 0.0, 0
        for i, j, q, r in np.ndindex(n, n, n, n):
            if len({i, j, q, r}) == 4:
                total += one[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q])
                count += 1
        return total / count

    k, other = x @ x.T, y @ y.T
    expected = hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))
    assert minibatch_cka([(x, y)]) == pytest.approx(expected)


def test_batches_agree_with_all_examples_together():
    x = normal(2000, seed=1)
    y = x @ LINEAR_MAP + normal(2000, seed=2)
    whole = minibatch_cka([(x, y)])
    for size in (20, 100):
        batches = ((x[i : i + size], y[i : i + size]) for i in range(0, 2000, size))
        assert minibatch_cka(batches) == pytest.approx(whole, abs=0.03)
    assert linear_cka(x, y) == pytest.approx(whole, abs=0.01)


def test_small_batches_of_unrelated_noise_have_a_value_near_0_where_plain_cka_is_near_1():
    one, other = normal(800, 100, seed=1), normal(800, 100, seed=2)
    batches = [(one[i : i + 20], other[i : i + 20]) for i in range(0, 800, 20)]
    assert abs(minibatch_cka(batches)) < 0.05
    with pytest.warns(TlkitWarning, match="20 examples with 100 features is biased"):
        assert linear_cka(*batches[0]) > 0.7


def test_svcca_is_the_mean_canonical_correlation():
    """The canonical correlations are the square roots of the eigenvalues of C_xx^-1 C_xy C_yy^-1 C_yx."""
    y = NOISY[:, :3]
    c = np.cov(X, y, rowvar=False)
    xx, xy, yy = c[:D, :D], c[:D, D:], c[D:, D:]
    squares = np.linalg.eigvals(np.linalg.solve(yy, xy.T) @ np.linalg.solve(xx, xy)).real
    assert svcca(X, y, variance=1) == pytest.approx(np.sqrt(squares).mean())


def test_svcca_removes_directions_with_little_variance():
    signal, noise = normal(d=2), 1e-3 * normal(d=2, seed=7)
    other = np.hstack([signal, 1e-3 * normal(d=2, seed=8)])
    x = np.hstack([signal, noise])
    assert svcca(x, other) == pytest.approx(1, abs=1e-4)
    assert svcca(x, other, variance=1) < 0.8


def test_svcca_keeps_the_given_fraction_of_the_variance():
    a, b, c = np.linalg.qr(np.column_stack([np.ones(N), normal(d=3)]))[0][:, 1:].T  # of mean 0
    x, y = np.column_stack([3 * a, b]), np.column_stack([3 * a, c])  # 0.9 of the variance along a
    assert svcca(x, y, variance=0.85) == pytest.approx(1)
    assert svcca(x, y, variance=0.95) == pytest.approx(0.5)


def test_a_linearly_dependent_feature_adds_no_direction():
    one = np.hstack([X, X[:, :1] + X[:, 1:2]]).astype("float32")
    other = np.hstack([X, X[:, 2:3] + X[:, 4:]]).astype("float32")
    assert svcca(one, other, variance=1) == pytest.approx(1)


def test_procrustes_agrees_with_scipy():
    from scipy.spatial import procrustes as scipy_procrustes

    x, y = X - X.mean(axis=0), NOISY - NOISY.mean(axis=0)
    _, _, disparity = scipy_procrustes(x, y)  # 1 - similarity^2, because scipy also finds the best scale
    assert procrustes(x, y) == pytest.approx(np.sqrt(1 - disparity))


def test_layers_of_different_widths_can_be_compared():
    wide = X @ normal(D, 9, seed=9)
    for similarity in SIMILARITIES:
        assert 0 < similarity(X, wide) <= 1 + 1e-9
    padded = np.hstack([X, np.zeros((N, 3))])
    assert procrustes(padded, X) == pytest.approx(1)


@pytest.mark.parametrize("similarity", SIMILARITIES, ids=IDS)
def test_invalid_representations_are_refused_with_the_reason(similarity):
    with pytest.raises(DataError, match="60 and 59 rows"):
        similarity(X, X[1:])
    broken = X.copy()
    broken[7, 0] = np.inf
    with pytest.raises(
        DataError, match="second network are NaN or infinite in 1 of 60 rows, the first is row 7"
    ):
        similarity(X, broken)
    with pytest.raises(DataError, match="dead or collapsed"):
        similarity(X, np.ones((N, 2)) * 0.1)
    with pytest.raises(DataError, match="expected at least"):
        similarity(X[:2], X[:2])
    with pytest.raises(DataError, match=r"expected \(n, d\)"):
        similarity(X[:, 0], X)


@pytest.mark.parametrize("similarity", [linear_cka, svcca, procrustes])
def test_too_few_examples_for_the_features_cause_a_warning(similarity):
    one, other = normal(10, 30), normal(10, 30, seed=1)
    with pytest.warns(TlkitWarning, match="is biased"):
        assert similarity(one, other) > 0.6  # unrelated noise
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        similarity(X, NOISY)


def test_batches_that_cannot_be_compared_are_refused():
    with pytest.raises(DataError, match="no batches"):
        minibatch_cka([])
    with pytest.raises(DataError, match="has 3 examples; expected at least 4"):
        minibatch_cka([(X, X), (X[:3], X[:3])])


@pytest.mark.parametrize("variance", [0, 1.5, -1])
def test_a_fraction_of_the_variance_out_of_range_is_refused(variance):
    with pytest.raises(DataError, match="fraction above 0"):
        svcca(X, X, variance)
