import warnings

import numpy as np
import pytest
from scipy.linalg import sqrtm

from tlkit.challenges.task_similarity import (
    MEASURES,
    distances,
    domain_auc,
    frechet_distance,
    mmd,
    proxy_a_distance,
)
from tlkit.errors import DataError, TlkitWarning, UnknownNameError
from tlkit.techniques.domain_adaptation.dan import BANDWIDTHS

RNG = np.random.default_rng(0)
NAMES = [measure.name for measure in MEASURES]


def normal(n, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_the_a_distance_is_near_0_for_one_domain_and_2_for_disjoint_ones():
    one, other = normal(300), normal(300, seed=1)
    assert proxy_a_distance(one, other) < 0.2
    assert proxy_a_distance(one, other + 20) > 1.98
    assert 0.3 < proxy_a_distance(one, other + 0.5) < 1.7


def test_the_auc_is_near_half_for_one_domain_and_1_for_disjoint_ones():
    one, other = normal(300), normal(300, seed=1)
    assert domain_auc(one, other) == pytest.approx(0.5, abs=0.06)
    assert domain_auc(one, other + 20) == 1.0


def test_the_auc_of_two_normals_has_its_theoretical_value():
    # in one dimension a linear classifier ranks by the feature: P(x < y) = Phi(shift / sqrt 2)
    one, other = normal(2000, 1), normal(2000, 1, seed=1) + 1.0
    assert domain_auc(one, other) == pytest.approx(0.7602, abs=0.02)


def test_mmd_agrees_with_a_double_loop_over_different_examples():
    one, other = normal(7, 3), normal(5, 3, seed=1) + 0.5
    both = [*one, *other]
    unit = np.median([np.sum((a - b) ** 2) for i, a in enumerate(both) for b in both[:i]])

    def k(a, b):
        return np.mean([np.exp(-np.sum((a - b) ** 2) / (width * unit)) for width in BANDWIDTHS])

    def within(x):
        total = sum(k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j)
        return total / (len(x) * (len(x) - 1))

    between = sum(k(a, b) for a in one for b in other) / (len(one) * len(other))
    assert mmd(one, other) == pytest.approx(within(one) + within(other) - 2 * between, abs=1e-12)


def test_mmd_of_samples_of_one_domain_is_0_on_average_and_sometimes_negative():
    found = [mmd(normal(20, seed=2 * i), normal(20, seed=2 * i + 1)) for i in range(60)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0 < max(found)


def test_mmd_of_identical_points_is_0_and_of_two_distinct_points_2():
    assert mmd(np.ones((5, 2)), np.ones((4, 2))) == 0.0
    # most pairs have distance 0, so the median cannot be used
    assert mmd(np.ones((5, 2)), np.ones((1, 2)).repeat(2, 0) * 9, bandwidths=[1e-3]) == pytest.approx(2.0)


def test_frechet_of_two_normals_in_one_dimension():
    """The distance is (m1 - m2)^2 + (s1 - s2)^2 of the sample means and standard deviations."""
    one, other = normal(50, 1) * 3 + 1, normal(40, 1, seed=1) - 2
    expected = (one.mean() - other.mean()) ** 2 + (one.std(ddof=1) - other.std(ddof=1)) ** 2
    assert frechet_distance(one, other) == pytest.approx(expected)


def test_frechet_with_diagonal_covariances_sums_squared_differences_of_deviations():
    whitened, _ = np.linalg.qr(normal(60, 3) - normal(60, 3).mean(axis=0))
    whitened *= np.sqrt(59)  # covariance 1, mean 0
    one, other = whitened * [1, 2, 3], whitened[::-1] * [4, 2, 1] + [0, 0, 5]
    assert frechet_distance(one, other) == pytest.approx(9 + 0 + 4 + 25)


def test_frechet_of_a_shift_is_its_squared_length_for_any_covariance():
    x = normal(40, 3) @ normal(3, 3, seed=5)
    assert frechet_distance(x, x + np.array([1, 2, 2])) == pytest.approx(9)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_frechet_agrees_with_the_matrix_square_root():
    one, other = normal(80, 5) @ normal(5, 5, seed=2), normal(70, 5, seed=3) @ normal(5, 5, seed=4)
    a, b = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    shift = one.mean(0) - other.mean(0)
    expected = shift @ shift + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(one, other) == pytest.approx(expected)


def test_frechet_is_finite_with_more_features_than_examples_and_warns_of_the_bias():
    one, other = normal(12, 40), normal(9, 40, seed=1)
    with pytest.warns(TlkitWarning, match="9 examples with 40 features"):
        found = frechet_distance(one, other)
    a, b = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(a @ b).real, 0)).sum()  # negative values are rounding
    shift = one.mean(0) - other.mean(0)
    assert found == pytest.approx(shift @ shift + np.trace(a + b) - 2 * roots, rel=1e-4)
    assert found > 5  # although both samples are from one domain


@pytest.mark.parametrize("name", NAMES)
def test_distances_do_not_depend_on_the_order_of_the_domains_or_on_a_rotation(name):
    measure = MEASURES.find(name).build
    one, other = normal(60), normal(60, seed=1) + 0.7
    rotation, _ = np.linalg.qr(normal(4, 4, seed=9))
    assert measure(one, other) == pytest.approx(measure(other, one), abs=0.1)
    if name in ("mmd", "frechet"):  # the classifier standardises each feature
        assert measure(one @ rotation, other @ rotation) == pytest.approx(measure(one, other))


@pytest.mark.parametrize("name", NAMES)
def test_a_larger_shift_has_a_larger_distance(name):
    one, other = normal(100), normal(100, seed=1)
    near, middle, far = (MEASURES.find(name).build(one, other + shift) for shift in (0, 0.6, 1.5))
    assert near < middle < far <= MEASURES.find(name).maximum


@pytest.mark.parametrize("name", NAMES)
def test_invalid_domains_are_refused_with_the_reason(name):
    measure, good = MEASURES.find(name).build, normal(20)
    with pytest.raises(DataError, match="second domain has 1 example; expected at least"):
        measure(good, good[:1])
    with pytest.raises(DataError, match="first domain 4, the second domain 3"):
        measure(good, good[:, :3])
    broken = good.copy()
    broken[3:5, 1] = np.nan
    with pytest.raises(DataError, match="2 of 20 rows, the first is row 3"):
        measure(broken, good)
    with pytest.raises(DataError, match=r"shape \(20,\)"):
        measure(good, good[:, 0])


def test_a_domain_classifier_needs_an_example_of_each_domain_per_fold():
    for measure in (proxy_a_distance, domain_auc):
        with pytest.raises(DataError, match="at least 5"):
            measure(normal(20), normal(4))


def test_measures_are_found_by_name_and_have_their_bounds():
    assert MEASURES.find("A-Distance").target is proxy_a_distance
    assert [MEASURES.find(name).same for name in ("a-distance", "auc", "mmd", "frechet")] == [0, 0.5, 0, 0]
    with pytest.raises(UnknownNameError, match="frechet"):
        MEASURES.find("freche")


def three(n=80):
    return {"a": normal(n), "b": normal(n + 40, seed=1), "far": normal(n, seed=2) + 9}


@pytest.mark.parametrize("name", NAMES)
def test_the_table_of_all_pairs_is_square_symmetric_and_named(name):
    table = distances(three(), name)
    assert list(table.index) == list(table.columns) == ["a", "b", "far"]
    np.testing.assert_array_equal(table, table.T)
    assert table.loc["a", "far"] > table.loc["a", "b"]
    assert table.attrs["measure"] == name
    assert table.attrs["examples"] == 40  # half of the smallest data set


def test_the_diagonal_compares_two_random_halves():
    # in order, the first half would be far from the second
    mixed = np.concatenate([normal(50), normal(50, seed=1) + 9])
    table = distances({"mixed": mixed, "other": normal(100, seed=2)}, "frechet")
    assert 0 < table.loc["mixed", "mixed"] < 10 < table.loc["mixed", "other"]


def test_a_cell_is_the_mean_of_two_comparisons_of_halves():
    pairs = []

    class Counting:
        name, same, squared = "counting", 0.0, False

        @staticmethod
        def build(one, other):
            pairs.append((one, other))
            return float(len(pairs))

    table = distances({"a": normal(30), "b": normal(30, seed=1)}, Counting)
    assert table.to_numpy().tolist() == [[1.0, 2.5], [2.5, 4.0]]
    assert {len(each) for pair in pairs for each in pair} == {15}
    (a, a_rest), (b, b_rest) = pairs[0], pairs[3]
    np.testing.assert_array_equal(np.sort(np.concatenate([a, a_rest]), axis=0), np.sort(normal(30), axis=0))
    for found, expected in zip([*pairs[1], *pairs[2]], [a, b_rest, a_rest, b], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_seed_chooses_the_halves():
    assert distances(three(), "mmd").equals(distances(three(), "mmd"))
    assert not distances(three(), "mmd").equals(distances(three(), "mmd", seed=1))


def test_a_bias_of_all_cells_is_reported_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        distances({name: normal(20, 30, seed=i) for i, name in enumerate("abcd")}, "frechet")
    assert [each.category for each in caught] == [TlkitWarning]


def test_data_sets_that_cannot_be_compared_are_refused():
    with pytest.raises(DataError, match="1 data set was given: a; expected at least two"):
        distances({"a": normal(20)})
    with pytest.raises(DataError, match="a 4, b 3"):
        distances({"a": normal(20), "b": normal(20, 3)})
    with pytest.raises(DataError, match="'small' has 9 examples; expected at least 10"):
        distances({"a": normal(20), "small": normal(9)})
    with pytest.raises(UnknownNameError, match="distance between domains"):
        distances({"a": normal(20), "b": normal(20)}, "kl")
