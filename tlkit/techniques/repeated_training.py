"""Train a classifier several times on parts of the same images; it is compiled only once."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Self, cast

import keras
import numpy as np
from scipy.special import softmax
from tqdm import tqdm

from tlkit import optimizers
from tlkit._internal.allocator import keep_freed_memory
from tlkit._internal.seeds import set_seed
from tlkit._internal.state import SavedState
from tlkit.backbones.structure import flat_layers, output_activation
from tlkit.callbacks import Backup, Interruptible, for_model
from tlkit.data.batches import Batches, plain_errors
from tlkit.data.images import ImageFiles, taken
from tlkit.data.labelled import Labelled
from tlkit.errors import TlkitError
from tlkit.models import unfreeze
from tlkit.techniques.fine_tuning import fit_arguments, in_random_order
from tlkit.techniques.frozen_trunk import cut, kept_activations
from tlkit.techniques.step_budget import TIMED, StepBudget
from tlkit.techniques.training import class_weights, compile_state_kept
from tlkit.techniques.views import Rows, ViewBatches, training_augmentation

BATCH = 32  # images that are predicted together
SAMPLE = 64  # caching views of so many images, and of four times as many, tells the time for all
BETA_2 = 0.99  # of Adam: its mean of squared gradients spans 100 steps rather than 1,000

RANGES: dict[str, tuple[float, float]] = {
    "fraction": (0, 1),
    "depthwise": (False, True),
    "learning_rate": (0, math.inf),
    "final_rate": (0, 1),
    "depth_decay": (0, 1),
    "label_smoothing": (0, 0.99),
    "averaging": (0, 0.9999),
    "batch_size": (1, math.inf),
    "epochs": (1, math.inf),
    "least_steps": (1, math.inf),
    "most_steps": (1, math.inf),
    "views": (0, math.inf),
}  # the least and the largest value of each setting of `Recipe`

Weights = list[np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """How the network is fine-tuned. The defaults were chosen with 5 to 100 labels per class.

    Attributes:
        fraction: the top fraction of the layers of the backbone that is trainable, 0 to 1.
        depthwise: whether depthwise convolutions among these layers are trainable. They have few weights, but
            on a CPU their gradient takes up to half of the time of a step.
        learning_rate: the peak learning rate of Adam, reached after a tenth of the steps.
        final_rate: the last learning rate as a fraction of the peak, 0 to 1, approached along a cosine. At 1
            it stays constant after the warm-up, and the average of the weights replaces the decay.
        depth_decay: ratio of the learning rate of each stage to that of the stage above it; 1: equal rates.
        label_smoothing: fraction of each target that is spread evenly over all classes, 0 (none) to 0.99.
        averaging: momentum of the exponential moving average of the weights, 0 (none) to 0.9999.
            Polyak & Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging".
        batch_size: images per step.
        epochs: number of epochs. If they have fewer steps than `least_steps` or more than `most_steps`, that
            limit is the number of steps.
        least_steps, most_steps: limits for the training on all labels; the folds make proportionally fewer.
        views: number of augmented views per image. The frozen stages run once for each view, and their
            outputs are cached. With 0, they run in every step.
    """

    fraction: float = 0.75
    depthwise: bool = False
    learning_rate: float = 6e-4
    final_rate: float = 1.0
    depth_decay: float = 1.0
    label_smoothing: float = 0.1
    averaging: float = 0.98
    batch_size: int = 16
    epochs: int = 16
    least_steps: int = 120
    most_steps: int = 3_000
    views: int = 8

    @classmethod
    def of(cls, **settings: Any) -> "Recipe":
        """Return a recipe with other settings.

        Raises:
            TlkitError: there is no such setting, or its value is out of range.
        """
        if unknown := [name for name in settings if name not in RANGES]:
            raise TlkitError(
                f"This technique has no setting {', '.join(unknown)}. Its settings are {', '.join(RANGES)}. "
                "For a loss, an optimizer or metrics of your own, use tlkit.fine_tune."
            )
        if "learning_rate" in settings:
            optimizers.check_rate(settings["learning_rate"])
        for name, value in settings.items():
            low, high = RANGES[name]
            if not low <= value <= high:
                expected = f"at least {low}" if high == math.inf else f"{low} to {high}"
                raise TlkitError(f"{name}={value} was given; expected {expected}.")
        return cls(**settings)

    def steps(self, images: int) -> int:
        """Return the number of steps of a training on this number of images."""
        wanted = self.epochs * math.ceil(images / self.batch_size)
        return min(max(wanted, self.least_steps), self.most_steps)


class RepeatedTraining:
    """Trains and predicts with a classifier inside a `with` block; outside, its compile state is as before.

    Inside, the top of the network is trainable. The outputs of its frozen stages are cached if possible.

    Args:
        model: a classifier.
        images: uint8 RGB `(n, height, width, 3)`, in memory or in files.
        labels: int `(n,)`.
        recipe: how to train.
        class_weight: see `solve_head`.
        seed: of the order of the images and the augmentation.
        callbacks: Keras callbacks for all trainings.
        seconds: time for all trainings. Caching the views takes at most about a quarter of it: if time is
            short, there are fewer views. Without time for one, the frozen stages run in every step.
        progress: show a progress bar while activations are cached.
        state: trainings that have a name are saved here after each epoch, and continue from there.
        planned_views: number of views that a training which continues has used; None for a new training.
    """

    def __init__(
        self,
        model: keras.Model,
        images: np.ndarray | ImageFiles,
        labels: np.ndarray,
        recipe: Recipe,
        *,
        class_weight: Any = None,
        seed: int = 0,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        seconds: float = math.inf,
        progress: bool = False,
        state: SavedState | None = None,
        planned_views: int | None = None,
    ) -> None:
        self.seconds, self.progress, self.state = seconds, progress, state
        self.planned_views = planned_views
        self.model, self.images, self.labels, self.recipe = model, images, labels, recipe
        self.class_weight, self.seed, self.callbacks = class_weight, seed, list(callbacks)
        for each in self.callbacks:
            if isinstance(each, Interruptible):
                each.interrupted = False  # by an earlier Ctrl-C

    def __enter__(self) -> Self:
        recipe, model = self.recipe, self.model
        keep_freed_memory()
        set_seed(self.seed)
        unfreeze(model, fraction=recipe.fraction)
        for layer in flat_layers(model):
            if isinstance(layer, keras.layers.DepthwiseConv2D) and not recipe.depthwise:
                layer.trainable = False
        with ExitStack() as stack:
            stack.enter_context(compile_state_kept(model))
            self._learner, self.views = model, 0
            self._views: np.ndarray | None = None
            self._unaltered, self._predictor = self.images, model
            if recipe.views and recipe.fraction < 1:
                # no frozen layer, too little space on the disk, or values that float16 cannot hold
                with nullcontext() if self.planned_views else suppress(TlkitError):
                    self._cache(*cut(model), stack)
            averaging = {"use_ema": True, "ema_momentum": recipe.averaging} if recipe.averaging else {}
            self._optimizer = keras.optimizers.Adam(recipe.learning_rate, beta_2=BETA_2, **averaging)
            self._learner.compile(self._optimizer, self._loss(), metrics=["accuracy"])
            scales = optimizers.depth_scales(model, recipe.depth_decay)
            stack.enter_context(optimizers.scaled_learning_rates(self._optimizer, scales))
            self._optimizer.build(self._learner.trainable_variables)
            # every training starts with a new optimizer and the same random state
            generators = [each for each in model.variables if each.name == "seed_generator_state"]
            self._fresh = [(each, np.array(each)) for each in (*self._optimizer.variables, *generators)]
            self._opened = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def _cache(self, trunk: keras.Model, rest: keras.Model, stack: ExitStack) -> None:
        """Cache the outputs of the frozen stages: of the images, and of as many views as time allows."""
        cached = kept_activations(trunk, self.images, progress=self.progress)
        self._unaltered = stack.enter_context(cached)[:, 0]
        self._predictor = rest
        augment = training_augmentation(self.model, None)
        if augment is None:
            self._views, self._learner = self._unaltered[:, None], rest
            return
        views = self.recipe.views
        if self.seconds < math.inf:
            views = min(views, int(self.seconds / 4 / self._seconds_per_view(trunk, augment)))
        views = views if self.planned_views is None else self.planned_views
        if views:
            cached = kept_activations(
                trunk, self.images, views=views, augment=augment, progress=self.progress
            )
            self._views, self._learner = stack.enter_context(cached), rest
            self.views = views

    def _seconds_per_view(self, trunk: keras.Model, augment: Callable[[np.ndarray], np.ndarray]) -> float:
        """Estimate how long it takes to cache one view of all images, from some of them."""
        n = len(self.labels)
        few, more = min(n, SAMPLE), min(n, 4 * SAMPLE)
        took = []
        for count in (few, few, more):  # the first compiles the trunk
            began = time.perf_counter()
            with kept_activations(trunk, self.images[:count], augment=augment):
                took.append(time.perf_counter() - began)
        for_each = max(0.0, took[2] - took[1]) / max(1, more - few)
        return took[1] + for_each * (n - few)

    def _loss(self) -> keras.losses.Loss:
        logits, smoothing = output_activation(self.model) == "linear", self.recipe.label_smoothing
        return keras.losses.CategoricalCrossentropy(from_logits=logits, label_smoothing=smoothing)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C stopped a training."""
        return any(isinstance(each, Interruptible) and each.interrupted for each in self.callbacks)

    def seconds_per_step(self) -> float:
        """Return the seconds per step, measured on a few steps, which also compile the network."""
        rows = np.arange(min(len(self.labels), (1 + TIMED) * self.recipe.batch_size))
        self.train(self.model.get_weights(), rows, 1 + TIMED)
        return self._budget.seconds_per_step

    def train(
        self, start: Weights, rows: np.ndarray, steps: int, bar: tqdm | None = None, name: str = ""
    ) -> dict[str, list[float]]:
        """Train from some weights on some rows of the images, and return Keras's history.

        Args:
            start: weights of the whole model.
            rows: int `(m,)`.
            steps: number of steps.
            bar: a progress bar that moves with each step; without it, the callbacks are left out too.
            name: of the training in the saved state; without it, nothing is saved.
        """
        self.model.set_weights(start)
        for variable, value in self._fresh:
            variable.assign(value)
        set_seed(self.seed)
        self._budget = StepBudget(self.recipe.learning_rate, steps, final=self.recipe.final_rate, bar=bar)
        callbacks: list[keras.callbacks.Callback] = [self._budget]
        if bar is not None:
            callbacks += for_model(self.callbacks, self.model)
        backup = None
        if self.state is not None and name:
            backup = Backup(self.state, name=f"{name}-", also=[self._budget])
            callbacks.append(backup)
        labels, size = self.labels[rows], self.recipe.batch_size
        fitting: dict[str, Any] = {}
        inputs = self._inputs(rows, fitting, None if backup is None else backup.epoch)
        with plain_errors(*inputs):
            history = self._learner.fit(
                *inputs,
                epochs=math.ceil(steps / math.ceil(len(rows) / size)),
                initial_epoch=0 if backup is None else backup.epoch,
                class_weight=class_weights(self.class_weight, labels),
                callbacks=callbacks,
                shuffle=not in_random_order(inputs[0]),
                verbose=0,
                **fitting,
                **({"batch_size": size} if len(inputs) > 1 else {}),
            ).history
        return history if backup is None else backup.history()

    def _inputs(self, rows: np.ndarray, fitting: dict[str, Any], epoch: int | None) -> tuple[Any, ...]:
        """Return the inputs of `fit`.

        Args:
            rows: int `(m,)`, of the images.
            fitting: further arguments of `fit`, to be filled in.
            epoch: the epoch to continue with, in batches whose order depends on the epoch; None if nothing
                is saved.
        """
        labels, size, classes = self.labels[rows], self.recipe.batch_size, self.model.outputs[0].shape[-1]
        if self._views is not None:
            views = cast(Any, Rows(self._views, rows))
            inputs: Any = (ViewBatches(views, labels, size, True, self.seed, classes=classes),)
        else:
            images = taken(self.images, rows)
            data = Labelled("train", images, labels, None, None, tuple(images.shape[1:]))
            inputs = fit_arguments(data, size, classes, fitting)
            if epoch is not None and len(inputs) > 1:  # Keras's own order cannot be continued
                inputs = (Batches(images, labels, size, True, self.seed, classes=classes),)
        if epoch is not None:
            inputs[0].start_epoch(epoch)
        return inputs

    def predict(self, weights: Weights, rows: np.ndarray) -> np.ndarray:
        """Return the probabilities of some rows, float32 `(m, classes)`, with these weights."""
        self.model.set_weights(weights)
        images = taken(self._unaltered, rows)
        if isinstance(images, ImageFiles):
            images = Batches(images, None, BATCH, False, 0)
        outputs = self._predictor.predict(images, verbose=0)
        return softmax(outputs, axis=1) if output_activation(self.model) == "linear" else outputs
