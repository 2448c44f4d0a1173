"""How much each task counts in a step: the rule's base, and the rules that look at the losses alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.errors import TlkitError, UnknownNameError
from tlkit.techniques.learners import Configured
from tlkit.techniques.multi_task.tasks import Task


class Balancing(Configured, keras.Layer):
    """A rule that gives each task a weight in every step. A rule overrides `weigh`.

    To be saved, it keeps the arguments of its constructor as attributes of the same names.

    Attributes:
        sees_gradients: the rule needs the tasks' gradients, so a step goes back through the network once for
            each task.
        weighs_heads: the weights hold for the heads too, not for the shared layers alone.
    """

    sees_gradients = False
    weighs_heads = True

    def prepare(self, tasks: Mapping[str, Task]) -> None:
        """Make the rule's own variables for these tasks."""

    def reinitialize(self) -> None:
        """Give the variables their first values; the first `fit` of an optimizer begins with this."""

    def weigh(self, losses: Any, products: Any = None) -> Any:
        """Return the weight of each task, float32 `(tasks,)`.

        Args:
            losses: float32 `(tasks,)`, of this batch; 0 for a task without labels in it.
            products: float32 `(tasks, tasks)`, inner products of the tasks' gradients with respect to the
                shared layers, where the rule sees gradients.
        """
        raise NotImplementedError

    def penalty(self, losses: Any) -> Any:
        """Return what is added to the weighted sum of the losses: a scalar."""
        return ops.zeros(())

    def epoch_ended(self, losses: Sequence[float]) -> None:
        """Take note of the mean loss of each task over an epoch."""


@keras.saving.register_keras_serializable("tlkit")
class EqualWeights(Balancing):
    """The plain sum of the losses: the baseline that is hard to beat.

    Kurin et al. 2022, "In Defense of the Unitary Scalarization for Deep Multi-Task Learning".
    """

    def weigh(self, losses: Any, products: Any = None) -> Any:
        return ops.ones_like(losses)


@keras.saving.register_keras_serializable("tlkit")
class FixedWeights(Balancing):
    """A sum with weights of your own.

    Args:
        by_task: weight of each task, above 0, by its name; 1 for those that are not named.
    """

    def __init__(self, by_task: Mapping[str, float], **options: Any) -> None:
        super().__init__(**options)
        self.by_task = dict(by_task)

    def prepare(self, tasks: Mapping[str, Task]) -> None:
        for name, weight in self.by_task.items():
            if name not in tasks:
                raise UnknownNameError("task", name, tasks)
            if not weight > 0:
                raise TlkitError(f"The weight {weight} of task {name!r} is not above 0; leave the task out.")
        self._fixed = np.array([self.by_task.get(name, 1.0) for name in tasks], "float32")

    def weigh(self, losses: Any, products: Any = None) -> Any:
        return ops.convert_to_tensor(self._fixed)


@keras.saving.register_keras_serializable("tlkit")
class RandomWeights(Balancing):
    """New random weights in every step, a softmax of normal draws: as honest a baseline as equal weights.

    Lin, Feiyang, Zhang & Tsang 2022, "Reasonable Effectiveness of Random Weighting".

    Args:
        seed: of the draws.
    """

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.seed, self.generator = seed, keras.random.SeedGenerator(seed)

    def weigh(self, losses: Any, products: Any = None) -> Any:
        draws = keras.random.normal(losses.shape, seed=self.generator)
        return losses.shape[0] * ops.softmax(draws)


@keras.saving.register_keras_serializable("tlkit")
class UncertaintyWeights(Balancing):
    """Learn the noise of each task: exp(-s) likelihood L + s / 2, with s = log sigma^2.

    The likelihood's factor is 1/2 for regression and 1 for classes. A task whose loss stays large gets a
    small weight. For a fixed loss the optimum is sigma^2 = 2 likelihood L.

    Kendall, Gal & Cipolla 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and
    Semantics".

    Args:
        speed: s learns by so many of the optimizer's steps at once (of an optimizer such as Adam, whose steps
            do not grow with the gradient). The paper has 1; then s hardly moves in hundreds of steps.
    """

    def __init__(self, speed: float = 10.0, **options: Any) -> None:
        super().__init__(**options)
        self.speed = speed

    def prepare(self, tasks: Mapping[str, Task]) -> None:
        self._likelihood = np.array([task.likelihood for task in tasks.values()], "float32")
        self.slow = self.add_weight(shape=(len(tasks),), initializer="zeros", name="log_variance")

    @property
    def log_variance(self) -> Any:
        """s of each task, `(tasks,)`."""
        return self.speed * self.slow

    def reinitialize(self) -> None:
        self.slow.assign(np.zeros(self.slow.shape))

    def weigh(self, losses: Any, products: Any = None) -> Any:
        return ops.multiply(self._likelihood, ops.exp(-self.log_variance))

    def penalty(self, losses: Any) -> Any:
        has_labels = ops.cast(losses > 0, "float32")
        return ops.sum(has_labels * self.log_variance) / 2


@keras.saving.register_keras_serializable("tlkit")
class DynamicWeightAverage(Balancing):
    """More weight for the tasks whose loss fell less over the last two epochs.

    w = tasks * softmax(r / temperature), r = loss of the last epoch / loss of the one before.
    The first two epochs have equal weights.

    Liu, Johns & Davison 2019, "End-to-End Multi-Task Learning with Attention".

    Args:
        temperature: a large one makes the weights more equal; above 0.
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

    def reinitialize(self) -> None:
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
