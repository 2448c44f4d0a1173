"""Train a network on several labelled domains at once. A method decides what is trained, and how."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tlkit._internal.seeds import set_seed
from tlkit.backbones.structure import output_activation
from tlkit.callbacks import for_model
from tlkit.data.images import ImageFiles
from tlkit.errors import DataError
from tlkit.models import normalizations
from tlkit.techniques.domain_adaptation.normalization import adapt_statistics
from tlkit.techniques.repeated_training import BETA_2, Recipe
from tlkit.techniques.step_budget import StepBudget

STATISTICS = 1_000  # examples from which the statistics of batch normalisation are computed again


class ERM:
    """Empirical risk minimisation: minimise the mean loss over the examples of all domains.

    When all methods are tuned equally carefully, few beat ERM on average over data sets: Gulrajani &
    Lopez-Paz 2021, "In Search of Lost Domain Generalization". It is the base class of the other methods.

    Attributes:
        averaging: momentum of the exponential moving average of the weights, 0 (none) to below 1.
        final_rate: the last learning rate as a fraction of the largest, approached along a cosine.
        trains: whether the network is trained.
    """

    averaging = 0.0
    final_rate = 0.0
    trains = True

    def learner(self, network: keras.Model, domains: int) -> keras.Model:
        """Return the model that is fitted; it shares its layers with the network.

        Args:
            network: from inputs to class probabilities or logits.
            domains: number of domains. A batch holds equally many examples of each, domain after domain.
        """
        return network


class Frozen(ERM):
    """No training: the head that was solved on the frozen features of all domains stays as it is."""

    trains = False


class WeightAveraging(ERM):
    """Empirical risk minimisation with an exponential moving average of the weights.

    The average lies in a flatter region of the loss than the last weights, where a shift of the domain
    changes the loss less. The learning rate stays constant after the warm-up, because the average replaces
    its decay. Arpit et al. 2022, "Ensemble of Averages"; Cha et al. 2021, "SWAD: Domain Generalization by
    Seeking Flat Minima".

    Args:
        averaging: momentum of the average, above 0 and below 1: it spans about `1 / (1 - averaging)` steps.
    """

    final_rate = 1.0

    def __init__(self, averaging: float = 0.99) -> None:
        self.averaging = averaging


class DomainBatches(keras.utils.PyDataset):
    """Batches with equally many examples of each domain, domain after domain, and one-hot labels.

    An epoch is one pass over the largest domain; smaller domains are repeated.

    Args:
        inputs: of each domain, images `(n, height, width, 3)`, an array or `ImageFiles`; or features or
            stored activations `(n, ...)`.
        labels: of each domain, int `(n,)` class indices.
        batch_size: number of examples; rounded down to a multiple of the number of domains, but at least one
            example of each.
        classes: number of classes.
        seed: of the order, together with the epoch.
        views: the second axis of the inputs counts random views of each example. Each epoch uses another one.

    Raises:
        DataError: a domain has no example, or its numbers of inputs and labels differ.

    >>> labels = [np.zeros(5, int), np.ones(3, int)]
    >>> batches = DomainBatches([np.zeros((5, 2)), np.ones((3, 2))], labels, batch_size=4, classes=2)
    >>> len(batches), batches[0][0][:, 0].tolist(), batches[0][1].shape
    (3, [0.0, 0.0, 1.0, 1.0], (4, 2))
    """

    def __init__(
        self,
        inputs: Sequence[np.ndarray | ImageFiles],
        labels: Sequence[np.ndarray],
        batch_size: int,
        classes: int,
        *,
        seed: int = 0,
        views: bool = False,
    ) -> None:
        super().__init__()
        for number, (images, known) in enumerate(zip(inputs, labels, strict=True), start=1):
            if not len(known) or len(images) != len(known):
                raise DataError(
                    f"Domain {number} has {len(images)} examples and {len(known)} labels; expected one label "
                    "for each, and at least one example."
                )
        self.inputs, self.labels, self.classes, self.seed, self.views = inputs, labels, classes, seed, views
        self.each = max(1, batch_size // len(inputs))
        self.epoch = -1
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(max(map(len, self.labels)) / self.each)

    def on_epoch_end(self) -> None:
        self.epoch += 1
        needed = len(self) * self.each
        self.order = []
        for domain, known in enumerate(self.labels):
            rng = np.random.default_rng((self.seed, self.epoch, domain))
            turns = [rng.permutation(len(known)) for _ in range(math.ceil(needed / len(known)))]
            self.order.append(np.concatenate(turns)[:needed])

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = [each[index * self.each : (index + 1) * self.each] for each in self.order]
        parts = [self._read(each, chosen) for each, chosen in zip(self.inputs, rows, strict=True)]
        labels = np.concatenate([each[chosen] for each, chosen in zip(self.labels, rows, strict=True)])
        return np.concatenate(parts), np.eye(self.classes, dtype="float32")[labels]

    def _read(self, inputs: Any, rows: np.ndarray) -> np.ndarray:
        if not self.views:
            return inputs[rows]
        return inputs[rows, (rows + self.epoch) % inputs.shape[1]].astype("float32")


class DomainTrainer:
    """Trains a network on several domains by a method, as often as needed; it is compiled only once.

    Args:
        network: from images, features or stored activations to class probabilities or logits. Its compile
            state changes.
        method: such as `ERM()`.
        domains: number of domains, at least 1.
        recipe: its learning rate, label smoothing and batch size; the method sets the rest.

    Attributes:
        steps: number of steps of the last training.
    """

    def __init__(self, network: keras.Model, method: ERM, domains: int, recipe: Recipe | None = None) -> None:
        self.network, self.method, self.recipe = network, method, recipe or Recipe()
        self.steps = 0
        self.learner = method.learner(network, domains)
        averaging = {"use_ema": True, "ema_momentum": method.averaging} if method.averaging else {}
        self._optimizer = keras.optimizers.Adam(self.recipe.learning_rate, beta_2=BETA_2, **averaging)
        logits = output_activation(network) == "linear"
        loss = keras.losses.CategoricalCrossentropy(logits, self.recipe.label_smoothing)
        self.learner.compile(self._optimizer, loss, metrics=["accuracy"])
        self._optimizer.build(self.learner.trainable_variables)
        self._fresh = [np.array(each) for each in self._optimizer.variables]

    def train(
        self,
        inputs: Sequence[Any],
        labels: Sequence[np.ndarray],
        steps: int,
        *,
        views: bool = False,
        seconds: float = math.inf,
        least: int = 1,
        seed: int = 0,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> dict[str, list[float]]:
        """Train from the present weights of the network, and return Keras's history.

        Args:
            inputs, labels, views: of each domain; see `DomainBatches`.
            steps: number of steps.
            seconds: time limit; after a few steps, their duration tells how many fit.
            least: number of steps that are made even if they take longer.
            seed: of the order of the examples and the augmentation.
            callbacks: Keras callbacks, which get the network as their model.
        """
        for variable, value in zip(self._optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        set_seed(seed)
        classes = self.network.outputs[0].shape[-1]
        batches = DomainBatches(inputs, labels, self.recipe.batch_size, classes, seed=seed, views=views)
        rate, final = self.recipe.learning_rate, self.method.final_rate
        budget = StepBudget(rate, steps, seconds=seconds, least=least, final=final)
        history = self.learner.fit(
            batches,
            epochs=math.ceil(steps / len(batches)),
            callbacks=[budget, *for_model(callbacks, self.network)],
            shuffle=False,
            verbose=0,
        ).history
        self.steps = budget.done
        norms = [norm for norm in normalizations(self.network) if norm.trainable]
        if self.method.averaging and norms:  # the statistics belong to the last weights, not to their average
            chosen = [
                batches[index][0] for index in range(min(len(batches), STATISTICS // len(batches[0][0])))
            ]
            adapt_statistics(self.network, np.concatenate(chosen), len(chosen[0]), frozen=False)
        return history
