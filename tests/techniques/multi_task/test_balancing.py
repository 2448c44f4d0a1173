"""Each rule compared with its equation, computed in NumPy or solved by scipy."""

import keras
import numpy as np
import pytest
from keras import ops
from pushes import mostly_full
from scipy.optimize import minimize

from tlkit.errors import TlkitError, UnknownNameError
from tlkit.techniques.multi_task import (
    BALANCINGS,
    CAGrad,
    Classification,
    DynamicWeightAverage,
    EqualWeights,
    FixedWeights,
    GradNorm,
    PCGrad,
    RandomWeights,
    Regression,
    UncertaintyWeights,
)

TWO = {"a": Classification(2), "b": Regression()}


def weights_of(rule, gradients, losses=None):
    gradients = np.asarray(gradients, "float32")
    losses = np.ones(len(gradients), "float32") if losses is None else np.asarray(losses, "float32")
    return ops.convert_to_numpy(rule.weigh(ops.convert_to_tensor(losses), gradients @ gradients.T))


def pcgrad_of_the_paper(gradients, order):
    """Algorithm 1 of the paper."""
    changed = gradients.astype(float).copy()
    for i in range(len(gradients)):
        for j in order:
            inner = changed[i] @ gradients[j]
            if j != i and inner < 0:
                changed[i] -= inner / (gradients[j] @ gradients[j]) * gradients[j]
    return changed.sum(axis=0)


def test_pcgrad_projects_conflicting_gradients_onto_each_others_normal_plane():
    gradients = np.array([[1.0, 0.0], [-1.0, 1.0]])
    # g1 - (g1.g2)/|g2|^2 g2 = (0.5, 0.5); g2 - (g2.g1)/|g1|^2 g1 = (0, 1)
    assert weights_of(PCGrad(), gradients) @ gradients == pytest.approx([0.5, 1.5], abs=1e-6)


def test_pcgrad_does_not_change_agreeing_or_orthogonal_gradients():
    for second in ([2.0, 1.0], [0.0, 3.0]):
        assert weights_of(PCGrad(), [[1.0, 0.0], second]).tolist() == [1.0, 1.0]


def test_pcgrad_is_the_algorithm_of_the_paper_in_a_random_order():
    rng = np.random.default_rng(1)
    for _ in range(10):
        gradients = rng.normal(size=(2, 6)) + np.array([[1.0], [-1.0]]) * rng.normal(size=6)
        found = weights_of(PCGrad(), gradients) @ gradients
        assert found == pytest.approx(pcgrad_of_the_paper(gradients, [0, 1]), abs=1e-4)
    three = np.array([[1.0, 0.2, 0.0], [-0.5, 1.0, 0.0], [-0.2, -1.0, 1.0]])
    possible = set()
    for seed in range(20):
        possible.add(tuple(np.round(weights_of(PCGrad(seed), three) @ three, 4)))
    assert len(possible) > 1  # the order is random
    conflicts = three @ three.T < 0
    assert conflicts.any()


def test_pcgrad_ignores_a_task_without_labels_in_the_batch():
    assert weights_of(PCGrad(), [[1.0, 1.0], [0.0, 0.0]], [1, 0]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("tasks", mostly_full([2, 3, 5], 2))
def test_cagrad_agrees_with_the_solution_of_scipy(tasks):
    rng = np.random.default_rng(tasks)
    c = 0.4
    for common in (0.0, 2.0) * 8:
        gradients = rng.normal(size=(tasks, 20)) * rng.uniform(0.1, 10, (tasks, 1))
        gradients += common * rng.normal(size=20)
        products, mean = gradients @ gradients.T, gradients.mean(axis=0)

        def dual(w, products=products, mean=mean):
            return w @ products.mean(axis=1) + c * np.linalg.norm(mean) * np.sqrt(w @ products @ w)

        sums_to_one = {"type": "eq", "fun": lambda w: w.sum() - 1}
        best = minimize(
            dual,
            np.full(tasks, 1 / tasks),
            bounds=[(0, 1)] * tasks,
            constraints=sums_to_one,
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        combined = best.x @ gradients
        expected = tasks * (mean + c * np.linalg.norm(mean) / np.linalg.norm(combined) * combined)
        found = weights_of(CAGrad(c), gradients) @ gradients
        assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)


def test_cagrad_stays_within_its_radius_and_improves_the_least_improved_task():
    gradients = np.array([[1.0, 0.0], [-0.8, 0.3]])
    mean = gradients.mean(axis=0)
    found = weights_of(CAGrad(0.5), gradients) @ gradients / 2
    assert np.linalg.norm(found - mean) == pytest.approx(0.5 * np.linalg.norm(mean), rel=1e-3)
    assert min(gradients @ found) > min(gradients @ mean)


def test_cagrad_without_a_radius_is_the_plain_sum():
    assert weights_of(CAGrad(0.0), [[1.0, 0.0], [-1.0, 1.0]]) == pytest.approx([1, 1])


def test_cagrad_refuses_a_radius_above_one():
    with pytest.raises(TlkitError, match=r"c=1\.5 was given"):
        CAGrad(1.5)


def test_gradnorm_equalises_the_norms_of_losses_of_scale_1_and_100():
    rule = GradNorm(alpha=0.0)
    rule.prepare(TWO)
    gradients = np.array([[1.0, 0.0], [0.0, 100.0]])
    for _ in range(400):
        weights = weights_of(rule, gradients, [1.0, 100.0])
    norms = weights * np.linalg.norm(gradients, axis=1)
    assert norms[0] == pytest.approx(norms[1], rel=0.01)
    assert weights.mean() == pytest.approx(1.0)


def test_gradnorm_favours_the_task_that_trains_slowly():
    rule = GradNorm(alpha=1.0, rate=0.1)
    rule.prepare(TWO)
    weights_of(rule, np.eye(2), [1.0, 1.0])
    for _ in range(400):
        weights = weights_of(rule, np.eye(2), [1.0, 0.25])  # the loss of the second task has fallen more
    assert weights[0] / weights[1] == pytest.approx(4.0, rel=0.01)  # as r_1 / r_2


def test_gradnorm_keeps_its_weights_while_a_task_has_no_labels():
    rule = GradNorm()
    rule.prepare(TWO)
    for _ in range(5):
        weights = weights_of(rule, [[1.0, 0.0], [0.0, 0.0]], [1.0, 0.0])
    assert weights.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_uncertainty_reaches_the_analytic_optimum_for_constant_losses(speed):
    """exp(-s) c L + s / 2 has its minimum at exp(s) = 2 c L: L for regression, 2 L for classification."""
    rule = UncertaintyWeights(speed)
    rule.prepare(TWO)
    losses = np.array([3.0, 0.2], "float32")
    optimizer = keras.optimizers.SGD(0.5 / speed**2)
    for _ in range(300):
        log_variance = ops.convert_to_numpy(rule.log_variance)
        weights = ops.convert_to_numpy(rule.weigh(losses))
        optimizer.apply([ops.convert_to_tensor(speed * (0.5 - weights * losses))], [rule.parameter])
        assert weights == pytest.approx(np.array([1.0, 0.5]) * np.exp(-log_variance))
    assert np.exp(ops.convert_to_numpy(rule.log_variance)) == pytest.approx([6.0, 0.2], rel=1e-3)
    total = np.sum(weights * losses) + float(rule.penalty(losses))
    assert total == pytest.approx(1.0 + 0.5 * np.log([6.0, 0.2]).sum(), rel=1e-3)


def test_a_task_without_labels_in_the_batch_does_not_change_its_uncertainty():
    rule = UncertaintyWeights(speed=1.0)
    rule.prepare(TWO)
    rule.parameter.assign([1.0, 1.0])
    assert float(rule.penalty(np.array([0.0, 2.0], "float32"))) == 0.5


def test_dynamic_weights_follow_the_ratio_of_the_last_two_epoch_losses():
    rule = DynamicWeightAverage(temperature=2.0)
    rule.prepare(TWO)
    losses = np.ones(2, "float32")
    rule.epoch_ended([2.0, 2.0])
    assert ops.convert_to_numpy(rule.weigh(losses)).tolist() == [1.0, 1.0]
    rule.epoch_ended([1.0, 2.0])
    exponentials = np.exp(np.array([0.5, 1.0]) / 2.0)
    assert ops.convert_to_numpy(rule.weigh(losses)) == pytest.approx(2 * exponentials / exponentials.sum())
    rule.reset()
    assert ops.convert_to_numpy(rule.weigh(losses)).tolist() == [1.0, 1.0]


def test_random_weights_change_in_each_step_and_sum_to_the_number_of_tasks():
    rule, losses = RandomWeights(seed=0), ops.ones(3)
    drawn = np.array([ops.convert_to_numpy(rule.weigh(losses)) for _ in range(200)])
    assert drawn.sum(axis=1) == pytest.approx(np.full(200, 3.0), rel=1e-5)
    assert drawn.min() > 0
    assert drawn.mean(axis=0) == pytest.approx([1, 1, 1], abs=0.25)  # four standard errors
    assert len(np.unique(drawn[:, 0])) > 190


def test_equal_and_fixed_weights_are_constant():
    assert weights_of(EqualWeights(), np.eye(2)).tolist() == [1.0, 1.0]
    rule = FixedWeights({"b": 3.0})
    rule.prepare(TWO)
    assert weights_of(rule, np.eye(2)).tolist() == [1.0, 3.0]


def test_fixed_weights_of_unknown_tasks_or_of_zero_are_refused():
    with pytest.raises(UnknownNameError, match="no task named 'c'"):
        FixedWeights({"c": 1.0}).prepare(TWO)
    with pytest.raises(TlkitError, match="expected one above 0"):
        FixedWeights({"a": 0.0}).prepare(TWO)


def test_each_rule_is_found_by_its_name():
    assert [BALANCINGS.find(name.upper()) for name in BALANCINGS.names] == list(BALANCINGS)
    with pytest.raises(UnknownNameError, match="Did you mean 'pcgrad'"):
        BALANCINGS.find("pcgrd")
