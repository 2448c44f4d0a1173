"""Balancing rules that use the gradients of the tasks with respect to the shared layers.

PCGrad and CAGrad return weighted sums of the gradients, and GradNorm needs their norms. All three can be
computed from the inner products of the gradients, `(tasks, tasks)` numbers.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.errors import TlkitError
from tlkit.techniques.multi_task.balancing import Balancing
from tlkit.techniques.multi_task.tasks import Task

TINY = 1e-12


@keras.saving.register_keras_serializable("tlkit")
class GradNorm(Balancing):
    """Adapt the weights so that all tasks have gradients of similar norm, and so train at a similar rate.

    The weights w_k approach ||w_k g_k|| = mean * r_k^alpha. Here g_k is the gradient of task k, the mean is
    over the weighted norms of all tasks, and r_k is the loss of the task divided by its first loss, relative
    to the mean of this ratio over the tasks. The weights have a mean of 1.

    Chen, Badrinarayanan, Lee & Rabinovich 2018, "GradNorm: Gradient Normalization for Adaptive Loss Balancing
    in Deep Multitask Networks". The paper minimises the absolute difference between both sides by gradient
    descent. Here, each step changes the logarithm of a weight by `rate` times the logarithm of the ratio of
    both sides. This has the same fixed point, keeps weights positive and works for losses of any scale. The
    norms are over all shared layers.

    Args:
        alpha: strength of the preference for tasks that train slowly, at least 0; 0 makes all norms equal.
        rate: fraction of the logarithmic difference that one step removes, above 0 and up to 1.
    """

    needs_gradients = True

    def __init__(self, alpha: float = 1.5, rate: float = 0.025, **options: Any) -> None:
        super().__init__(**options)
        self.alpha, self.rate = alpha, rate

    def prepare(self, tasks: Mapping[str, Task]) -> None:
        shape = (len(tasks),)
        self.current = self.add_weight(shape=shape, initializer="ones", trainable=False, name="weights")
        self.first = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="first_losses")

    def reset(self) -> None:
        self.current.assign(np.ones(self.current.shape))
        self.first.assign(np.zeros(self.first.shape))

    def weigh(self, losses: Any, products: Any = None) -> Any:
        norms = ops.sqrt(ops.diagonal(products))
        labelled = ops.logical_and(losses > 0, norms > 0)  # tasks with labels in this batch
        first, current = ops.convert_to_tensor(self.first), ops.convert_to_tensor(self.current)
        first = ops.where(ops.logical_and(first <= 0, labelled), losses, first)

        def mean(values: Any) -> Any:
            counts = ops.cast(labelled, "float32")
            return ops.sum(counts * values) / ops.maximum(ops.sum(counts), 1.0)

        relative = ops.divide_no_nan(losses, first)
        rates = ops.divide_no_nan(relative, mean(relative))
        weighted = current * norms
        desired = mean(weighted) * ops.power(rates, self.alpha)
        ratio = ops.where(labelled, weighted, 1.0) / ops.where(labelled, desired, 1.0)
        updated = current * ops.power(ratio, -self.rate)
        updated = updated / ops.mean(updated)
        self.first.assign(first)
        self.current.assign(updated)
        return updated


@keras.saving.register_keras_serializable("tlkit")
class PCGrad(Balancing):
    """From the gradient of each task, subtract its component along any gradient that it conflicts with.

    Two gradients conflict if their inner product is negative. For each task i and each other task j in random
    order: g_i <- g_i - (g_i . g_j) / ||g_j||^2 g_j if g_i . g_j < 0. The result is the sum of all g_i.

    Yu, Kumar, Gupta, Levine, Hausman & Finn 2020, "Gradient Surgery for Multi-Task Learning".

    Args:
        seed: seed of the random order, which has an effect for three or more tasks.
    """

    needs_gradients = True
    weighs_heads = False

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.seed, self.generator = seed, keras.random.SeedGenerator(seed)

    def weigh(self, losses: Any, products: Any = None) -> Any:
        count = products.shape[0]
        orders = ops.argsort(keras.random.uniform((count, count), seed=self.generator), axis=1)
        coefficients = ops.eye(count)  # row i: the projected g_i as a linear combination of all gradients
        for index in range(count):
            other = ops.one_hot(orders[:, index], count)  # row i: the task j that task i is compared with
            inner = ops.sum(ops.matmul(coefficients, products) * other, axis=1)
            square = ops.sum(other * ops.diagonal(products), axis=1)
            differs = 1.0 - ops.diagonal(other)  # 0 where i = j
            component = ops.divide_no_nan(ops.minimum(inner, 0.0) * differs, square)
            coefficients = coefficients - ops.expand_dims(component, 1) * other
        return ops.sum(coefficients, axis=0)


@keras.saving.register_keras_serializable("tlkit")
class CAGrad(Balancing):
    """Use the direction near the mean gradient that most improves the least improved task.

    The direction d maximises the minimum over the tasks k of g_k . d, subject to ||d - g_0|| <= c ||g_0||,
    where g_0 is the mean gradient. The dual problem is convex in task weights w, at least 0 and with sum 1:
    minimise g_w . g_0 + c ||g_0|| ||g_w||, where g_w is the weighted sum of the gradients. Its solution
    gives d = g_0 + c ||g_0|| / ||g_w|| g_w. The result is d times the number of tasks, so c = 0 gives the
    plain sum of the gradients.

    Liu, Liu, Jin, Stone & Liu 2021, "Conflict-Averse Gradient Descent for Multi-task Learning".

    Args:
        c: maximum relative distance from the mean gradient, from 0 to below 1.

    Raises:
        TlkitError: `c` is not from 0 to below 1.
    """

    needs_gradients = True
    weighs_heads = False

    def __init__(self, c: float = 0.4, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= c < 1:
            raise TlkitError(f"c={c} was given; expected a number from 0 to below 1, such as 0.4.")
        self.c = c

    def weigh(self, losses: Any, products: Any = None) -> Any:
        count = products.shape[0]
        products = products / (ops.mean(ops.diagonal(products)) + TINY)
        to_mean = ops.mean(products, axis=1)  # g_k . g_0
        radius = self.c * ops.sqrt(ops.maximum(ops.mean(to_mean), 0.0))

        def length(w: Any) -> Any:
            return ops.sqrt(ops.maximum(ops.sum(w * ops.matmul(products, w)), TINY))

        def improved(_: Any, w: Any) -> Any:
            """Shift weight between two tasks, those of steepest descent, to the minimum along this line."""
            slope = to_mean + radius * ops.matmul(products, w) / length(w)
            to, source = ops.argmin(slope), ops.argmax(ops.where(w > 0, slope, -np.inf))
            move = ops.one_hot(to, count) - ops.one_hot(source, count)
            linear, square = ops.sum(to_mean * move), ops.sum(move * ops.matmul(products, move))
            mixed = ops.sum(move * ops.matmul(products, w))
            rest = ops.maximum(square * length(w) ** 2 - mixed**2, 0.0)
            curvature = ops.maximum(square * radius**2 - linear**2, TINY)  # tiny: the minimum is at a limit
            best = -linear * ops.sqrt(rest / curvature)
            distance = ops.divide_no_nan(best - mixed, square)
            return w + ops.clip(distance, 0.0, ops.max(w * ops.one_hot(source, count))) * move

        w = ops.full((count,), 1.0 / count)
        w = improved(0, w) if count == 2 else ops.fori_loop(0, 10 * count, improved, w)
        return ops.ones((count,)) + count * radius / length(w) * w
