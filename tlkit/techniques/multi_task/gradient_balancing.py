"""Balancing by the gradients that the tasks send into the shared layers.

PCGrad's and CAGrad's answers are sums of the tasks' gradients, and GradNorm needs their lengths: for all
three the inner products of the gradients are enough, `(tasks, tasks)` numbers.
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
    """Move the weights until no task's gradient is larger than its rate of learning deserves.

    Wanted is ||w_k g_k|| = mean * r_k^alpha, with r_k the task's relative loss (now over first) against the
    mean of all tasks. The weights have a mean of 1.

    Chen, Badrinarayanan, Lee & Rabinovich 2018, "GradNorm: Gradient Normalization for Adaptive Loss Balancing
    in Deep Multitask Networks". The paper descends on the absolute difference; here the logarithm of a weight
    moves by `rate` times the logarithm of the ratio, which ends in the same place, keeps weights positive and
    takes losses of any scale. The norms are those of all shared layers.

    Args:
        alpha: how much slow tasks are favoured, at least 0; 0 makes all norms equal.
        rate: share of the way in one step, above 0 and up to 1.
    """

    sees_gradients = True

    def __init__(self, alpha: float = 1.5, rate: float = 0.025, **options: Any) -> None:
        super().__init__(**options)
        self.alpha, self.rate = alpha, rate

    def prepare(self, tasks: Mapping[str, Task]) -> None:
        shape = (len(tasks),)
        self.current = self.add_weight(shape=shape, initializer="ones", trainable=False, name="weights")
        self.first = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="first_losses")

    def reinitialize(self) -> None:
        self.current.assign(np.ones(self.current.shape))
        self.first.assign(np.zeros(self.first.shape))

    def weigh(self, losses: Any, products: Any = None) -> Any:
        norms = ops.sqrt(ops.diagonal(products))
        seen = ops.logical_and(losses > 0, norms > 0)
        first, current = ops.convert_to_tensor(self.first), ops.convert_to_tensor(self.current)
        first = ops.where(ops.logical_and(first <= 0, seen), losses, first)

        def mean(values: Any) -> Any:
            some = ops.cast(seen, "float32")
            return ops.sum(some * values) / ops.maximum(ops.sum(some), 1.0)

        relative = ops.divide_no_nan(losses, first)
        rates = ops.divide_no_nan(relative, mean(relative))
        weighted = current * norms
        wanted = mean(weighted) * ops.power(rates, self.alpha)
        ratio = ops.where(seen, weighted, 1.0) / ops.where(seen, wanted, 1.0)
        moved = current * ops.power(ratio, -self.rate)
        moved = moved / ops.mean(moved)
        self.first.assign(first)
        self.current.assign(moved)
        return moved


@keras.saving.register_keras_serializable("tlkit")
class PCGrad(Balancing):
    """Where two tasks' gradients point against each other, each loses its part along the other.

    g_i <- g_i - (g_i . g_j) / ||g_j||^2 g_j for every j, in random order, where g_i . g_j < 0; then the sum.

    Yu, Kumar, Gupta, Levine, Hausman & Finn 2020, "Gradient Surgery for Multi-Task Learning".

    Args:
        seed: of the order, which matters from three tasks on.
    """

    sees_gradients = True
    weighs_heads = False

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.seed, self.generator = seed, keras.random.SeedGenerator(seed)

    def weigh(self, losses: Any, products: Any = None) -> Any:
        count = products.shape[0]
        orders = ops.argsort(keras.random.uniform((count, count), seed=self.generator), axis=1)
        parts = ops.eye(count)  # row i: task i's gradient as a sum of all tasks' gradients
        for turn in range(count):
            other = ops.one_hot(orders[:, turn], count)  # (tasks, tasks): whom task i meets now
            along = ops.sum(ops.matmul(parts, products) * other, axis=1)
            size = ops.sum(other * ops.diagonal(products), axis=1)
            not_itself = 1.0 - ops.diagonal(other)
            share = ops.divide_no_nan(ops.minimum(along, 0.0) * not_itself, size)
            parts = parts - ops.expand_dims(share, 1) * other
        return ops.sum(parts, axis=0)


@keras.saving.register_keras_serializable("tlkit")
class CAGrad(Balancing):
    """Among the directions near the mean gradient, the one that helps the worst-off task most.

    max over d of min over k of g_k . d, with ||d - g_0|| <= c ||g_0|| and g_0 the mean gradient. The dual is
    convex in weights w of the tasks, at least 0 and of sum 1: min of g_w . g_0 + c ||g_0|| ||g_w||. The
    answer, g_0 + c ||g_0|| / ||g_w|| g_w, is multiplied by the number of tasks: c = 0 is the plain sum.

    Liu, Liu, Jin, Stone & Liu 2021, "Conflict-Averse Gradient Descent for Multi-task Learning".

    Args:
        c: how far from the mean gradient, 0 up to, and below, 1.
    """

    sees_gradients = True
    weighs_heads = False

    def __init__(self, c: float = 0.4, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= c < 1:
            raise TlkitError(f"c={c} was given; expected a share from 0 to below 1, such as 0.4.")
        self.c = c

    def weigh(self, losses: Any, products: Any = None) -> Any:
        count = products.shape[0]
        products = products / (ops.mean(ops.diagonal(products)) + TINY)
        to_mean = ops.mean(products, axis=1)  # g_k . g_0
        radius = self.c * ops.sqrt(ops.maximum(ops.mean(to_mean), 0.0))

        def length(w: Any) -> Any:
            return ops.sqrt(ops.maximum(ops.sum(w * ops.matmul(products, w)), TINY))

        def improved(_: Any, w: Any) -> Any:
            """Move weight between the two tasks that gain most by it, as far as is best: a closed form."""
            slope = to_mean + radius * ops.matmul(products, w) / length(w)
            to, off = ops.argmin(slope), ops.argmax(ops.where(w > 0, slope, -np.inf))
            move = ops.one_hot(to, count) - ops.one_hot(off, count)
            linear, square = ops.sum(to_mean * move), ops.sum(move * ops.matmul(products, move))
            mixed = ops.sum(move * ops.matmul(products, w))
            rest = ops.maximum(square * length(w) ** 2 - mixed**2, 0.0)
            bend = square * radius**2 - linear**2
            best = -linear * ops.sqrt(
                rest / ops.maximum(bend, TINY)
            )  # beyond the limits where it does not bend
            far = ops.divide_no_nan(best - mixed, square)
            return w + ops.clip(far, 0.0, ops.max(w * ops.one_hot(off, count))) * move

        w = ops.full((count,), 1.0 / count)
        w = improved(0, w) if count == 2 else ops.fori_loop(0, 10 * count, improved, w)
        return ops.ones((count,)) + count * radius / length(w) * w
