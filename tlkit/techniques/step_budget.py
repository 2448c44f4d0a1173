"""Train for a number of steps. With few images an epoch has few steps, so epochs say little."""

import math
import time
from dataclasses import dataclass
from typing import Any

import keras
from tqdm import tqdm

from tlkit import optimizers

TIMED = 4  # steps


@dataclass(frozen=True)
class Budget:
    """How long a network is trained: a number of epochs, within limits for the number of steps.

    Attributes:
        epochs: number of epochs, unless they have too few or too many steps.
        least_steps, most_steps: the limits. At least one epoch is made.

    >>> budget = Budget(epochs=40, least_steps=400, most_steps=4000)
    >>> [budget.epochs_for(steps) for steps in (2, 25, 400, 10_000)]
    [200, 40, 10, 1]
    """

    epochs: int
    least_steps: int
    most_steps: int

    def epochs_for(self, steps: int) -> int:
        """Return the number of epochs, if an epoch has so many steps."""
        wanted = min(max(self.epochs * steps, self.least_steps), self.most_steps)
        return max(1, round(wanted / steps))


class StepBudget(keras.callbacks.Callback):
    """Set the learning rate of each step, and end the training after the last step.

    The learning rate rises during the first tenth of the steps, then decays along a cosine.

    Args:
        learning_rate: the largest, reached after the first tenth of the steps; None leaves the learning rate
            to the optimizer.
        steps: number of steps.
        seconds: time for the training. After a few steps, their duration tells how many fit. If fewer than
            `steps` fit, the schedule is shortened.
        least: number of steps that are made even if they take longer.
        final: the last learning rate as a fraction of the largest, 0 to 1.
        bar: a progress bar that moves with each step; its total is the number of steps.
    """

    resumed = ("done", "steps")  # what `tlkit.callbacks.Backup` saves

    def __init__(
        self,
        learning_rate: float | None,
        steps: int,
        *,
        seconds: float = math.inf,
        least: int = 1,
        final: float = 0.0,
        bar: tqdm | None = None,
    ) -> None:
        super().__init__()
        self.rate, self.steps, self.seconds, self.least, self.bar = learning_rate, steps, seconds, least, bar
        self.final, self.done, self._start, self._latest = final, 0, 0.0, 0.0
        self._plan()

    @property
    def seconds_per_step(self) -> float:
        """The mean duration of a step so far; the first step, which compiles the network, does not count."""
        return (self._latest - self._start) / max(1, self.done - 1)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.done == 1:
            self._start = time.perf_counter()
        if self.done == 1 + TIMED and self.seconds < math.inf:
            self.steps = min(self.steps, max(self.least, int(self.seconds / self.seconds_per_step)))
            self._plan()
        if self.rate is not None:
            if keras.backend.backend() == "jax":  # during `fit`, the newest values are outside the variables
                self.model.jax_state_sync()
            self.model.optimizer.learning_rate = float(self._schedule(self.done))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.done += 1
        self._latest = time.perf_counter()
        if self.bar is not None:
            self.bar.update()
        if self.done >= self.steps:
            self.model.stop_training = True

    def on_resume(self) -> None:
        """Follow the plan of the training that continues."""
        self._plan()
        if self.bar is not None:
            self.bar.update(self.done)

    def _plan(self) -> None:
        self._schedule = optimizers.warmup_cosine(self.rate or 0.0, self.steps, final=self.final)
        if self.bar is not None and self.seconds < math.inf:
            self.bar.total = self.steps
            self.bar.refresh()
