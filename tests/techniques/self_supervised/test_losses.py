import keras
import numpy as np
import pytest
from keras import ops

from tlkit.techniques.self_supervised import barlow_twins, negative_cosine, nt_xent, vicreg


def views(n=6, d=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype("float32"), rng.normal(size=(n, d)).astype("float32")


def value(loss, *arrays, **options):
    return float(loss(*map(ops.convert_to_tensor, arrays), **options))


def slow_nt_xent(first, second, temperature):
    """Chen et al. 2020, equation 1, one pair at a time."""
    z = [v / np.linalg.norm(v) for v in (*first, *second)]
    n, total = len(first), 0.0
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = [np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i]
        total -= np.log(np.exp(z[i] @ z[j] / temperature) / sum(others))
    return total / (2 * n)


def slow_barlow(first, second, redundancy):
    n, d = first.shape
    a, b = ((z - z.mean(axis=0)) / z.std(axis=0) for z in (first, second))
    total = 0.0
    for i in range(d):
        for j in range(d):
            c = sum(a[k, i] * b[k, j] for k in range(n)) / n
            total += (1 - c) ** 2 if i == j else redundancy * c**2
    return total


def slow_vicreg(first, second, invariance, variance, covariance):
    n, d = first.shape
    total = invariance * sum(np.sum((a - b) ** 2) for a, b in zip(first, second, strict=True)) / (n * d)
    for z in (first, second):
        total += variance * sum(max(0, 1 - np.sqrt(z[:, j].var() + 1e-4)) for j in range(d)) / d
        centred = z - z.mean(axis=0)
        for i in range(d):
            for j in range(d):
                if i != j:
                    total += covariance * (centred[:, i] @ centred[:, j] / (n - 1)) ** 2 / d
    return total


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_follows_its_definition(temperature):
    for seed in range(3):
        first, second = views(seed=seed)
        assert value(nt_xent, first, second, temperature=temperature) == pytest.approx(
            slow_nt_xent(first, second, temperature), rel=1e-4
        )


def test_barlow_twins_follows_its_definition():
    for seed in range(3):
        first, second = views(seed=seed)
        assert value(barlow_twins, first, second, redundancy=0.3) == pytest.approx(
            slow_barlow(first, second, 0.3), rel=1e-4
        )


def test_vicreg_follows_its_definition():
    for seed in range(3):
        first, second = views(seed=seed)
        weights = {"invariance": 3.0, "variance": 5.0, "covariance": 7.0}
        assert value(vicreg, 0.5 * first, 2 * second, **weights) == pytest.approx(
            slow_vicreg(0.5 * first, 2 * second, **weights), rel=1e-4
        )


def decorrelated(n=64, d=4):
    """Columns of mean 0 and variance 1 that are orthogonal to each other."""
    z = np.linalg.qr(np.c_[np.ones(n), np.random.default_rng(0).normal(size=(n, d))])[0][:, 1:]
    return (np.sqrt(n) * z).astype("float32")


def test_equal_decorrelated_views_minimise_the_losses():
    z = decorrelated()
    assert value(barlow_twins, z, z) == pytest.approx(0, abs=1e-4)
    assert value(vicreg, 1.01 * z, 1.01 * z) == pytest.approx(0, abs=1e-2)
    assert value(negative_cosine, z, z) == pytest.approx(-1, abs=1e-5)


def test_repeated_dimensions_and_different_views_increase_the_losses():
    z = decorrelated()
    repeated = np.repeat(z[:, :1], 4, axis=1)
    for loss in (barlow_twins, vicreg):
        assert value(loss, repeated, repeated) > value(loss, z, z) + 0.01
        assert value(loss, z, z[::-1]) > value(loss, z, z) + 1
    assert value(nt_xent, z, z[::-1]) > value(nt_xent, z, z) + 1


def test_only_the_variance_term_penalises_collapse():
    z = np.ones((8, 4), "float32")
    assert value(negative_cosine, z, z) == pytest.approx(-1)
    assert value(vicreg, z, z) > 40  # twice 25, minus the effect of EPSILON
    assert value(nt_xent, z, z) == pytest.approx(np.log(15), rel=1e-4)


def test_nt_xent_depends_on_directions_only_and_vicreg_on_lengths_too():
    first, second = views()
    assert value(nt_xent, 10 * first, second) == pytest.approx(value(nt_xent, first, second), rel=1e-4)
    assert value(vicreg, 10 * first, second) > value(vicreg, first, second) + 10


@pytest.mark.parametrize("loss", [nt_xent, barlow_twins, vicreg, negative_cosine])
def test_gradients_are_finite_even_if_all_embeddings_are_equal(loss, gradient_of):
    z = np.ones((8, 4), "float32")
    assert np.all(np.isfinite(gradient_of(lambda x: loss(x, ops.convert_to_tensor(z)), z)))


def test_losses_are_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        assert (
            keras.backend.standardize_dtype(nt_xent(*map(ops.convert_to_tensor, views())).dtype) == "float32"
        )
    finally:
        keras.mixed_precision.set_global_policy("float32")
