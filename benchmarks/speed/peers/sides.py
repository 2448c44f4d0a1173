"""The sides of `domain_adaptation.py`: `DomainAdapter`, and a loop written by hand.

All sides have the same network, start from the same weights and see the same batches, so the losses of their
first steps agree. `given` is the file that `write` made.
"""

import time
from typing import Any

import keras
import numpy as np

from tlkit import DomainAdapter, build_classifier, pair
from tlkit.models import cut_last, reinitialize
from tlkit.techniques.domain_adaptation import METHODS

FIRST, BATCH, LEARNING_RATE, PLANNED = 3, 64, 1e-3, 100  # FIRST: steps whose losses are compared
WEIGHTS = {"dann": 0.1, "coral": 1.0}  # tlkit's own, for the loop


class Side:
    """One side: what it is given, and the network, from 28-pixel digits or from kept features."""

    def __init__(self, method: str, given: str, epochs: int) -> None:
        self.method, self.epochs = method, epochs
        with np.load(given) as file:
            self.given = dict(file)
        self.network = network(self.given["xs"], int(self.given["ys"].max()) + 1)

    def first_losses(self) -> list[float]:
        """Return the loss of each of the first steps from the given weights."""
        raise NotImplementedError

    def learn(self, seed: int) -> list[float]:
        """Start from new weights and train; return when each epoch ended."""
        raise NotImplementedError

    def run(self, seed: int) -> dict[str, float]:
        """Train once: the mean seconds of an epoch after the first, and the accuracy on the target."""
        keras.utils.set_random_seed(seed)
        ends = self.learn(seed)
        found = self.network.predict(self.given["xt"], verbose=0).argmax(axis=1)
        return {
            "value": float(np.diff(ends).mean()),
            "accuracy": 100 * float(np.mean(found == self.given["yt"])),
        }

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of source and target of one of the first steps."""
        return self.given["first"][:, step * BATCH : (step + 1) * BATCH]


class Tlkit(Side):
    """`DomainAdapter` and its `fit`."""

    def __init__(self, method: str, given: str, epochs: int) -> None:
        super().__init__(method, given, epochs)
        self.adapter = DomainAdapter(self.network, METHODS.find(method).build())
        self.adapter.compile(keras.optimizers.Adam(LEARNING_RATE), loss="sparse_categorical_crossentropy")

    def weights(self) -> list[np.ndarray]:
        return [*self.network.get_weights(), *self.adapter.alignment.get_weights()]

    def first_losses(self) -> list[float]:
        adapter, losses = self.adapter, []
        set_weights((self.network, adapter.alignment), self.given)
        adapter.done.assign(0.0)
        adapter.planned.assign(float(PLANNED))
        for i, j in map(self.batch, range(FIRST)):
            adapter.reset_metrics()
            domains = {"source": self.given["xs"][i], "target": self.given["xt"][j]}
            losses.append(adapter.train_on_batch(domains, self.given["ys"][i], return_dict=True)["loss"])
        return [float(loss) for loss in losses]

    def learn(self, seed: int) -> list[float]:
        reinitialize(self.adapter)
        clock = Clock()
        source = self.given["xs"], self.given["ys"]
        pairs = pair(source, self.given["xt"], batch_size=BATCH, seed=seed)
        self.adapter.fit(pairs, epochs=self.epochs, callbacks=[clock], verbose=0)
        return clock.ends


class Loop(Side):
    """A loop whose `step` takes rows and the strength, and returns the loss."""

    def __init__(self, method: str, given: str, epochs: int) -> None:
        super().__init__(method, given, epochs)
        self.encoder, self.last = cut_last(self.network)
        self.parts = [self.encoder, self.last]
        if method == "dann":
            layers = keras.layers
            hidden = [layers.LayerNormalization(), layers.Dense(100, activation="relu")]
            inputs = keras.Input((self.last.kernel.shape[0],))
            self.discriminator = keras.Sequential([inputs, *hidden, layers.Dense(1)])
            self.parts.append(self.discriminator)
        self.norm = any(isinstance(layer, keras.layers.BatchNormalization) for layer in self.encoder.layers)
        self.fresh()

    def fresh(self) -> None:
        """Make a new optimizer."""
        self.learned = [weight for part in self.parts for weight in part.trainable_variables]
        self.optimizer = keras.optimizers.Adam(LEARNING_RATE)
        self.optimizer.build(self.learned)

    def start(self) -> None:
        """Give new random weights to the network, in place."""
        for part in self.parts:
            again = keras.models.clone_model(part) if isinstance(part, keras.Model) else None
            if again is None:
                again = type(part).from_config(part.get_config())
                again.build((None, part.kernel.shape[0]))
            part.set_weights(again.get_weights())
        for variable in self.optimizer.variables[2:]:  # after the number of steps and the learning rate
            variable.assign(np.zeros(variable.shape, "float32"))
        self.optimizer.iterations.assign(0)

    def strength(self, progress: float) -> np.float32:
        return np.float32(WEIGHTS[self.method] * (2.0 / (1.0 + np.exp(-10.0 * progress)) - 1.0))

    def step(self, i: np.ndarray, j: np.ndarray, strength: np.float32) -> Any:
        raise NotImplementedError

    def first_losses(self) -> list[float]:
        set_weights((self.network, getattr(self, "discriminator", None)), self.given)
        rows = map(self.batch, range(FIRST))
        return [float(self.step(i, j, self.strength((k + 1) / PLANNED))) for k, (i, j) in enumerate(rows)]

    def learn(self, seed: int) -> list[float]:
        self.start()
        rng, ends, done = np.random.default_rng(seed), [], 0
        sizes = [len(self.given[name]) for name in ("xs", "xt")]
        steps = -(-max(sizes) // BATCH)
        for _ in range(self.epochs):
            rows = [
                np.concatenate([rng.permutation(n) for _ in range(steps)])[: steps * BATCH] for n in sizes
            ]
            for i, j in zip(*(each.reshape(steps, BATCH) for each in rows), strict=True):
                done += 1
                self.step(i, j, self.strength(done / (steps * self.epochs)))
            ends.append(time.perf_counter())
        return ends


class Clock(keras.callbacks.Callback):
    """Note when each epoch ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.ends.append(time.perf_counter())


def network(inputs: np.ndarray, classes: int) -> keras.Model:
    """Build LeNet for images, and a head with a bottleneck for features, both without dropout."""
    if inputs.ndim == 4:
        return build_classifier("LeNet", classes, weights=None, dropout=0.0)
    maps = keras.Input((1, 1, inputs.shape[1]))  # feature maps of one place, as any backbone's output
    body = keras.Model(maps, maps, name="features")
    return build_classifier(body, classes, dropout=0.0, bottleneck=256).get_layer("head")


def write(path: str, source: tuple[np.ndarray, np.ndarray], target: tuple[np.ndarray, np.ndarray]) -> None:
    """Keep the examples, the weights to start from and the first batches, for all sides and both methods."""
    rng = np.random.default_rng(0)
    rows = [rng.permutation(len(each[0]))[: FIRST * BATCH] for each in (source, target)]
    names = dict(zip(("xs", "ys", "xt", "yt"), (*source, *target), strict=True))
    np.savez(path, **names, first=np.stack(rows))
    keras.utils.set_random_seed(0)
    weights = {f"weight_{i}": w for i, w in enumerate(Tlkit("dann", path, 1).weights())}
    np.savez(path, **names, first=np.stack(rows), **weights)


def set_weights(parts: tuple[Any, Any], given: dict[str, np.ndarray]) -> None:
    """Give the kept weights to the network, and to a discriminator if there is one."""
    kept = [given[f"weight_{i}"] for i in range(sum(name.startswith("weight_") for name in given))]
    for part in parts:
        if part is not None and part.weights:
            n = len(part.get_weights())
            part.set_weights(kept[:n])
            kept = kept[n:]
