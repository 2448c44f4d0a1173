"""The trainings of a comparison of methods on several domains: the same network, start and steps for all."""

import math
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, Self

import keras
import numpy as np

from tlkit._internal.allocator import keep_freed_memory
from tlkit._internal.seeds import set_seed
from tlkit.backbones.structure import flat_layers
from tlkit.data import Dataset
from tlkit.data.images import ImageFiles
from tlkit.errors import TlkitError
from tlkit.experiments import phases
from tlkit.experiments.adaptation_arms import with_all_labels
from tlkit.experiments.fitting import TUNED_STRENGTH
from tlkit.models import backbone_of, build_classifier, feature_network, freeze, unfreeze
from tlkit.techniques.domain_generalization import METHODS, DomainTrainer
from tlkit.techniques.feature_extraction import Features, extract
from tlkit.techniques.frozen_trunk import cut, kept_activations
from tlkit.techniques.repeated_training import Recipe
from tlkit.techniques.solved_head import solve_on_features
from tlkit.techniques.training import compile_state_kept
from tlkit.techniques.views import training_augmentation

FROM_SCRATCH = Recipe(
    learning_rate=phases.LEARNING_RATE,
    batch_size=phases.BATCH_SIZE,
    epochs=phases.SCRATCH_EPOCHS,
    least_steps=phases.SCRATCH_LEAST,
    most_steps=phases.SCRATCH_MOST,
    label_smoothing=0.0,
    views=0,
)


class DomainTrainings:
    """Trains one classifier again and again, on some of the domains, within a `with` block.

    The images of a domain are read when it is trained on for the first time.

    Args:
        domains: labelled data sets with the same classes and image size.
        backbone: from raw images to features; its weights do not change.
        pretrained: whether its weights were learned on other images.
        epochs: of each training; None for the number of steps of the recipe.
        seconds: time limit for a training, or None. The first training measures the steps that fit.
        seed: of the weights, the order of the images and the augmentation.
        callbacks: Keras callbacks for each training.
        progress: show progress bars.
        recipe: of the training; by default that of `tlkit.train` for such a network.

    Attributes:
        model: the classifier.
        steps: number of steps of the last training; 0 if nothing was trained.
        fits: the fraction of the planned steps that fit into the time; None before the first training.
    """

    def __init__(
        self,
        domains: Sequence[Dataset],
        backbone: keras.Model,
        pretrained: bool,
        epochs: int | None,
        seconds: float | None,
        seed: int,
        callbacks: Sequence[keras.callbacks.Callback],
        progress: bool,
        recipe: Recipe | None = None,
    ) -> None:
        self.pretrained, self.seed, self.callbacks, self.progress = pretrained, seed, callbacks, progress
        self.domains, self.train = domains, [len(each.train) for each in domains]
        self.images = [with_all_labels(each).train for each in domains]
        self.recipe = recipe or (Recipe() if pretrained else FROM_SCRATCH)
        self.epochs, self.seconds = epochs, math.inf if seconds is None else seconds
        self.steps = 0
        self.fits: float | None = None
        set_seed(seed)
        body = keras.models.clone_model(backbone)
        if pretrained:
            body.set_weights(backbone.get_weights())
        strength = TUNED_STRENGTH if pretrained else 1.0
        augmentation = phases.augmentation_for(domains[0], strength=strength)
        self.model = build_classifier(body, len(domains[0].class_names), augmentation=augmentation)
        self.network, self.trunk = self.model, None
        self._trainers: dict[tuple[str, int], DomainTrainer] = {}
        self._inputs: dict[int, Any] = {}
        self._starts: dict[tuple[tuple[int, int], ...], list[np.ndarray]] = {}

    def __enter__(self) -> Self:
        keep_freed_memory()
        with ExitStack() as stack:
            stack.enter_context(compile_state_kept(self.model))
            if self.pretrained:
                freeze(self.model)
                self.features = feature_network(self.model)
                unfreeze(self.model, fraction=self.recipe.fraction)
                for layer in flat_layers(self.model):
                    if isinstance(layer, keras.layers.DepthwiseConv2D):
                        layer.trainable = False
                with suppress(TlkitError):  # there is no frozen layer below
                    self.trunk, self.network = cut(self.model)
            else:
                phases.prepare_from_scratch(backbone_of(self.model))
            self._fresh = self.model.get_weights()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def fit(self, method: str, known: Sequence[int], *, validation: bool = False) -> None:
        """Train the classifier on some domains by a method, from the same start as by any other method.

        Args:
            method: a name of `tlkit.techniques.domain_generalization.METHODS`.
            known: the positions of the domains to learn from.
            validation: learn from their validation splits, too.
        """
        counts = {index: len(self.images[index]) if validation else self.train[index] for index in known}
        self.model.set_weights(self._start(counts) if self.pretrained else self._fresh)
        row = METHODS.find(method).build()
        if not row.trains:
            self.steps = 0
            return
        key = method, len(counts)
        if key not in self._trainers:
            self._trainers[key] = DomainTrainer(self.network, row, len(counts), self.recipe)
        trainer, planned, first = self._trainers[key], self._planned(sum(counts.values())), self.fits is None
        trainer.train(
            [first_of(self._input(index), count) for index, count in counts.items()],
            [self.images[index].labels[:count] for index, count in counts.items()],
            max(1, round(planned * (self.fits or 1.0))),
            views=self.trunk is not None,
            seconds=self.seconds if first else math.inf,
            least=self.recipe.least_steps,
            seed=self.seed,
            callbacks=self.callbacks,
        )
        self.steps = trainer.steps
        if self.fits is None:
            self.fits = self.steps / planned

    def _planned(self, images: int) -> int:
        if self.epochs is None:
            return self.recipe.steps(images)
        return self.epochs * math.ceil(images / self.recipe.batch_size)

    def _start(self, counts: dict[int, int]) -> list[np.ndarray]:
        """Return the weights with the head that is solved on the frozen features of these domains."""
        key = tuple(counts.items())
        if key not in self._starts:
            self.model.set_weights(self._fresh)
            parts = [self.images[index].subset(slice(count)) for index, count in counts.items()]
            features = [extract(self.features, each, progress=self.progress) for each in parts]
            labels = [each.labels for each in parts]
            joined = Features(np.concatenate(features), np.concatenate(labels))
            solve_on_features(self.model, [joined], progress=False)
            self._starts = {key: self.model.get_weights()}  # the rounds come one after the other
        return self._starts[key]

    def _input(self, index: int) -> Any:
        """Return what the trained part takes: images, or stored activations of several random views."""
        if self.trunk is None:
            return self.images[index].images
        if index not in self._inputs:
            augment = training_augmentation(self.model, None)
            kept = kept_activations(
                self.trunk,
                self.images[index],
                views=self.recipe.views,
                augment=augment,
                progress=self.progress,
            )
            self._inputs[index] = self._stack.enter_context(kept)
        return self._inputs[index]


def first_of(inputs: Any, count: int) -> Any:
    """Return the first rows of an array or of image files, without reading them."""
    return inputs.take(np.arange(count)) if isinstance(inputs, ImageFiles) else inputs[:count]
