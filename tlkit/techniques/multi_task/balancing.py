"""Balancing rules: the weight of each task in a training step. Here are the rules that use only losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.errors import TlkitError, UnknownNameError
from tlkit.techniques.learners import Configured
from tlkit.techniques.multi_task.tasks import Task


class Balancing(Configured, keras.Layer):
    """Base class of balancing rules, which give each task a weight in each training step.

    A rule overrides `weigh`. So that Keras can save it, it stores each constructor argument as an attribute
    of the same name.

    Attributes:
        needs_gradients: whether the rule needs the gradients of the tasks; a step then has one backward pass
            per task.
        weighs_heads: whether the weights also apply to the heads, or only to the shared layers.
    """

    needs_gradients = False
    weighs_heads = True

    def prepare(self, tasks: Mapping[str, Task]) -> None:
        """Create the variables of the rule for these tasks."""

    def reset(self) -> None:
        """Set the variables to their initial values; the first `fit` of an optimizer calls this."""

    def weigh(self, losses: Any, products: Any = None) -> Any:
        """Return the weight of each task, float32 `(tasks,)`.

        Args:
            losses: losses of the tasks on this batch, float32 `(tasks,)`; 0 for a task without labels.
            products: inner products of the gradients of the tasks with respect to the shared layers, float32
                `(tasks, tasks)`, if the rule needs gradients.
        """
        raise NotImplementedError

    def penalty(self, losses: Any) -> Any:
        """Return a scalar that is added to the weighted sum of the losses."""
        return ops.zeros(())

    def epoch_ended(self, losses: Sequence[float]) -> None:
        """Update the rule after an epoch, from the mean loss of each task."""


@keras.saving.register_keras_serializable("tlkit")
class EqualWeights(Balancing):
    """Weight 1 for each task: the plain sum of the losses, a baseline that is hard to beat.

    Kurin et al. 2022, "In Defense of the Unitary Scalarization for Deep Multi-Task Learning".
    """

    def weigh(self, losses: Any, products: Any = None) -> Any:
        return ops.ones_like(losses)


@keras.saving.register_keras_serializable("tlkit")
class FixedWeights(Balancing):
    """Constant weights that you choose.

    Args:
        by_task: weight of each task, above 0, by the name of the task; missing tasks have weight 1.

    Raises:
        UnknownNameError: there is no such task (raised by `MultiTask`).
        TlkitError: a weight is not above 0 (raised by `MultiTask`).
    """

    def __init__(self, by_task: Mapping[str, float], **options: Any) -> None:
        super().__init__(**options)
        self.by_task = dict(by_task)

    def prepare(self, tasks: Mapping[str, Task]) -> None:
        for name, weight in self.by_task.items():
            if name not in tasks:
                raise UnknownNameError("task", name, tasks)
            if not weight > 0:
                raise TlkitError(
                    f"Task {name!r} has weight {weight}; expected one above 0. Omit the task to ignore it."
                )
        self._fixed = np.array([self.by_task.get(name, 1.0) for name in tasks], "float32")

    def weigh(self, losses: Any, products: Any = None) -> Any:
        return ops.convert_to_tensor(self._fixed)


@keras.saving.register_keras_serializable("tlkit")
class RandomWeights(Balancing):
    """Random weights, different in each step: the softmax of normal random numbers. A baseline.

    Lin, Feiyang, Zhang & Tsang 2022, "Reasonable Effectiveness of Random Weighting".

    Args:
        seed: seed of the random numbers.
    """

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.seed, self.generator = seed, keras.random.SeedGenerator(seed)

    def weigh(self, losses: Any, products: Any = None) -> Any:
        logits = keras.random.normal(losses.shape, seed=self.generator)
        return losses.shape[0] * ops.softmax(logits)


@keras.saving.register_keras_serializable("tlkit")
class UncertaintyWeights(Balancing):
    """Weights that depend on the noise of each task, which is learned.

    The loss of a task is exp(-s) c L + s / 2, where L is its original loss, s = log sigma^2 is learned, and
    the factor c of the likelihood is 1/2 for regression and 1 for classification. A task whose loss remains
    large gets a small weight. For a constant L, the optimum is sigma^2 = 2 c L.

    Kendall, Gal & Cipolla 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and
    Semantics".

    Args:
        speed: factor on the learning rate of s, for an optimizer such as Adam, whose updates do not depend on
            the scale of the gradient. In the paper it is 1; s then hardly changes in hundreds of steps.
    """

    def __init__(self, speed: float = 10.0, **options: Any) -> None:
        super().__init__(**options)
        self.speed = speed

    def prepare(self, tasks: Mapping[str, Task]) -> None:
        self._likelihood = np.array([task.likelihood for task in tasks.values()], "float32")
        self.parameter = self.add_weight(shape=(len(tasks),), initializer="zeros", name="log_variance")

    @property
    def log_variance(self) -> Any:
        """s = log sigma^2 of each task, `(tasks,)`."""
        return self.speed * self.parameter

    def reset(self) -> None:
        self.parameter.assign(np.zeros(self.parameter.shape))

    def weigh(self, losses: Any, products: Any = None) -> Any:
        return ops.multiply(self._likelihood, ops.exp(-self.log_variance))

    def penalty(self, losses: Any) -> Any:
        has_labels = ops.cast(losses > 0, "float32")
        return ops.sum(has_labels * self.log_variance) / 2


@keras.saving.register_keras_serializable("tlkit")
class DynamicWeightAverage(Balancing):
    """Larger weights for the tasks whose loss fell less over the last two epochs.

    w = tasks * softmax(r / temperature), where r is the loss of the last epoch divided by the loss of the
    epoch before it. In the first two epochs, all weights are 1.

    Liu, Johns & Davison 2019, "End-to-End Multi-Task Learning with Attention".

    Args:
        temperature: above 0; a larger temperature makes the weights more equal.
    """

    def __init__(self, temperature: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        self.temperature = temperature

    def prepare(self, tasks: Mapping[str, Task]) -> None:
        self.current = self.add_weight(
            shape=(len(tasks),), initializer="ones", trainable=False, name="weights"
        )
        self.last = self.add_weight(  # losses of the last epoch; 0 before the first one has ended
            shape=(len(tasks),), initializer="zeros", trainable=False, name="last_losses"
        )

    def reset(self) -> None:
        self.current.assign(np.ones(self.current.shape))
        self.last.assign(np.zeros(self.last.shape))

    def weigh(self, losses: Any, products: Any = None) -> Any:
        return ops.convert_to_tensor(self.current)

    def epoch_ended(self, losses: Sequence[float]) -> None:
        before, now = ops.convert_to_numpy(self.last), np.maximum(losses, 1e-12)
        self.last.assign(now.astype("float32"))
        if before.all():
            scores = now / before / self.temperature
            odds = np.exp(scores - scores.max())
            self.current.assign((len(odds) * odds / odds.sum()).astype("float32"))
