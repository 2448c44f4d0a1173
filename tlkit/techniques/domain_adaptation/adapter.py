"""A classifier that learns from a labelled source and an unlabelled target together, by Keras's own fit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.callbacks import StopAtNaN
from tlkit.data import Split
from tlkit.errors import TlkitError
from tlkit.models import cut_last, leaves, normalizations
from tlkit.techniques.domain_adaptation.alignment import Alignment, Domain
from tlkit.techniques.domain_adaptation.callbacks import KeepBest
from tlkit.techniques.domain_adaptation.normalization import adapt_statistics
from tlkit.techniques.domain_adaptation.pairs import Pairs
from tlkit.techniques.domain_adaptation.selection import MOST
from tlkit.techniques.training import make_state, replica_share


class DomainAdapter(keras.Model):
    """Train a classifier on a labelled source so that it works on an unlabelled target.

    The classifier learns in place and stays a plain Keras model: save it, not the adapter. The features
    that are aligned are what enters its last layer. Give the head of a classifier instead of the whole one
    to train on kept features (see `extract`): seconds instead of minutes, and the classifier learns as well.

    Args:
        classifier: a model of `build_classifier` or `join` with class probabilities as its output, or its
            head (`model.get_layer("head")`) to train on features.
        alignment: the method, such as `DANN()`.

    Raises:
        TlkitError: the classifier's last layer gives no class probabilities.

    >>> from tlkit import build_classifier
    >>> from tlkit.techniques.domain_adaptation import DANN, pair
    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> adapter = DomainAdapter(model, DANN())
    >>> adapter.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> photos, sketches = np.zeros((32, 28, 28, 3), "uint8"), np.ones((32, 28, 28, 3), "uint8")
    >>> history = adapter.fit(pair((photos, np.zeros(32, int)), sketches), epochs=1, verbose=0)
    >>> sorted(history.history)
    ['accuracy', 'alignment_loss', 'discriminator_accuracy', 'loss', 'supervised_loss']
    """

    def __init__(self, classifier: keras.Model, alignment: Alignment, **options: Any) -> None:
        super().__init__(**options)
        self.classifier = classifier
        self.encoder, self.last = cut_last(classifier)
        self.alignment = alignment
        alignment.prepare(self.encoder, self.last)
        self.supervised_loss = keras.metrics.Mean("supervised_loss")
        self.alignment_loss = keras.metrics.Mean("alignment_loss")
        counter = {"trainable": False, "initializer": "zeros", "aggregation": "only_first_replica"}
        self.done = self.add_weight(shape=(), dtype="float32", name="steps_done", **counter)
        self.planned = self.add_weight(shape=(), dtype="float32", name="steps_planned", **counter)
        self.planned.assign(1.0)
        self._look = keras.Model(self.encoder.inputs, [self.encoder.output, self.last(self.encoder.output)])
        self._settings: dict[str, Any] = {}
        alignment.built = self.built = True  # all variables exist

    def compile(self, optimizer: Any = "adam", loss: Any = None, **settings: Any) -> None:
        """Set optimizer, loss and metrics as in Keras; loss and metrics are those of the source."""
        super().compile(optimizer, loss, **settings)
        self._settings = {"loss": loss, **settings}

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not isinstance(inputs, dict):
            return self.classifier(inputs, training=training)
        features = self.alignment.encode(self.encoder, inputs["source"], inputs["target"], training)
        both = ops.cast(ops.concatenate(features), "float32")
        probabilities, n = self.last(both), ops.shape(features[0])[0]
        if training:
            self.done.assign_add(1.0)
        return {
            "source_features": both[:n],
            "target_features": both[n:],
            "source": probabilities[:n],
            "target": probabilities[n:],
        }

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        if not isinstance(y_pred, dict):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        supervised = super().compute_loss(x, y, y_pred["source"], sample_weight, training)
        source = Domain(x["source"], y_pred["source_features"], y_pred["source"], y)
        target = Domain(x["target"], y_pred["target_features"], y_pred["target"])
        strength = self.alignment.strength(ops.minimum(self.done / self.planned, 1.0))
        alignment = self.alignment.loss(source, target, strength)
        part = replica_share()
        self.supervised_loss.update_state(supervised / part)
        self.alignment_loss.update_state(alignment)
        return supervised + part * alignment

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        if isinstance(y_pred, dict):
            return super().compute_metrics(x, y, y_pred["source"], sample_weight)
        results = super().compute_metrics(x, y, y_pred, sample_weight)
        of_pairs = {self.supervised_loss.name, self.alignment_loss.name}
        of_pairs |= {metric.name for metric in self.alignment.metrics}
        return {name: value for name, value in results.items() if name not in of_pairs}

    def fit(
        self,
        x: Pairs,
        *,
        epochs: int = 1,
        source_epochs: int | None = None,
        validation_data: Split | tuple[Any, Any] | None = None,
        select: str | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: int | str = "auto",
        **options: Any,
    ) -> keras.callbacks.History:
        """Train as Keras does, on `pair(source, target)`.

        The classifier itself is compiled with plain SGD at the end: saved, it then opens anywhere.

        Args:
            x: the two domains.
            epochs: passes over the larger domain.
            source_epochs: passes over the source alone before. By default as many as `epochs` for a method
                that adapts a trained network (ADDA, AdaBN, TENT, closed-form CORAL, importance weighting),
                else 0.
            validation_data: held-out source: a split, or inputs and labels. Never the target's labels.
            select: keep the best epoch by this score, which needs no target labels; see
                `tlkit.techniques.domain_adaptation.selection.SCORES`. By default the last epoch stays.
            callbacks, verbose, options: as in Keras.

        Returns:
            Keras's history. Beside the loss it has `supervised_loss` and `alignment_loss`, the score by its
            name, and what the method measures of itself.

        Raises:
            TlkitError: the input is no `pair(...)`, or a loss became NaN; the classifier then has the weights
                of the last epoch without.
        """
        if not isinstance(x, Pairs):
            raise TlkitError(
                f"fit was given {type(x).__name__}. Give pair(source, target): a labelled and an unlabelled "
                "domain."
            )
        if self.alignment.moves_features and not self.encoder.trainable_variables:
            raise TlkitError(
                f"{type(self.alignment).__name__} moves the features, but no layer before the last one can "
                "learn. Unfreeze a stage, or build the head with a layer of its own: build_classifier(..., "
                "bottleneck=256)."
            )
        held_out = _inputs_and_labels(validation_data)
        terms = {
            "supervised_loss": "the supervised loss",
            "alignment_loss": f"the loss of {type(self.alignment).__name__}",
        }
        advice = "Use a smaller learning rate, or a smaller weight of the method."
        watch = [*callbacks, StopAtNaN(self.classifier, terms, advice)]
        if select is not None:
            rows = np.random.default_rng(x.seed).permutation(len(x.target))[:MOST]
            target = x.target[np.sort(rows)]
            watch.insert(0, KeepBest(select, self, held_out, target, epochs // 2))
        before = (
            (epochs if self.alignment.starts_from_source else 0) if source_epochs is None else source_epochs
        )
        if before:
            source = {"x": x.source[:], "y": x.labels, "batch_size": x.batch_size, "epochs": before}
            self.classifier.compile(self.fresh_optimizer(), **self._settings)
            make_state(self.classifier, x.labels, self.classifier.output_shape)
            self.classifier.fit(**source, callbacks=[watch[-1]], verbose=verbose)
        self.done.assign(0.0)
        self.planned.assign(float(max(1, epochs * len(x))))
        shared = {"epochs": epochs, "validation_data": held_out, "callbacks": watch, "verbose": verbose}
        history = self.alignment.fit(self, x, **shared, **options)
        self.classifier.compile("sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return history

    def stock_fit(self, pairs: Pairs, **options: Any) -> keras.callbacks.History:
        """Run the `fit` of `keras.Model`; methods call it from `Alignment.fit`."""
        make_state(self, pairs.labels, self.classifier.output_shape)
        given: Any = pairs
        alone = keras.backend.backend() == "tensorflow" and self.distribute_strategy.num_replicas_in_sync == 1
        if alone and pairs.small and not {"steps_per_epoch", "initial_epoch"} & set(options):
            given = pairs.tensors(options.get("epochs", 1))
            options["steps_per_epoch"] = len(pairs)
        return super().fit(given, shuffle=False, **options)  # pairs shuffle by their own seed

    def look(self, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return features `(n, d)` and class probabilities `(n, classes)` of inputs, in inference mode."""
        features, probabilities = self._look.predict(inputs[:], batch_size=256, verbose=0)
        return features.astype("float32"), probabilities

    def look_at_source(self, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the same for source inputs, as training sees them: normalised by the source's statistics.

        Where batch normalisation learned, the classifier itself holds the target's.
        """
        x = inputs[:]
        norms = [norm for norm in normalizations(self.encoder) if norm.trainable]
        kept = [norm.get_weights() for norm in norms]
        try:
            if norms:
                adapt_statistics(self.encoder, x, 64, frozen=False)
            batches = [x[i : i + 256] for i in range(0, len(x), 256)]
            encoded = [self.alignment.encode(self.encoder, batch, batch[:1], False)[0] for batch in batches]
        finally:
            for norm, weights in zip(norms, kept, strict=True):
                norm.set_weights(weights)
        features = ops.cast(ops.concatenate(encoded), "float32")
        return ops.convert_to_numpy(features), ops.convert_to_numpy(self.last(features))

    @contextmanager
    def learning(self, *parts: keras.Layer, share: float = 1.0) -> Iterator[None]:
        """Let only these parts of the classifier learn within the block, and the method's own layers.

        What was frozen within a part stays so; a single layer learns in any case. The parts take `share` of
        the step size, the method's own layers all of it. (Not on PyTorch: its optimizers move all variables
        at once, by full steps.)
        """
        layers = leaves(self.classifier)
        before = [layer.trainable for layer in layers]
        chosen = {id(leaf) for part in parts for leaf in leaves(part)}
        given = {id(part) for part in parts}
        optimizer = self.optimizer
        try:
            for layer, learns in zip(layers, before, strict=True):
                layer.trainable = id(layer) in given or (learns and id(layer) in chosen)
            self.compile(self.fresh_optimizer(share), **self._settings)
            yield
        finally:
            for layer, learns in zip(layers, before, strict=True):
                layer.trainable = learns
            self.compile(optimizer, **self._settings)  # its step size again, for another fit

    def fresh_optimizer(self, share: float = 1.0) -> keras.optimizers.Optimizer:
        """Return the compiled optimizer as it was before its first step.

        Args:
            share: of its step size, which the variables of the classifier take.
        """
        optimizer: Any = getattr(self.optimizer, "inner_optimizer", self.optimizer)  # float16 wraps it
        slow = {variable.path for variable in self.classifier.variables} if share != 1.0 else set()

        class Fresh(type(optimizer)):  # type: ignore[misc]
            # the step is scaled, not the gradient: Adam divides that by its own size
            def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
                path = self._trainable_variables[self._get_variable_index(variable)].path
                super().update_step(gradient, variable, learning_rate * (share if path in slow else 1.0))

        return Fresh.from_config(optimizer.get_config())


def _inputs_and_labels(held_out: Split | tuple[Any, Any] | None) -> tuple[Any, Any] | None:
    return (held_out.images[:], held_out.labels) if isinstance(held_out, Split) else held_out
