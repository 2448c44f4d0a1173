"""A classifier that learns from a labelled source and an unlabelled target together, by Keras's own fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.backbones.structure import output_activation
from tlkit.callbacks import StopAtNaN, saving
from tlkit.data import Split
from tlkit.data.labelled import check_labels, fits, in_order, unpacked
from tlkit.errors import DataError, TlkitError
from tlkit.models import cut_last, leaves, normalizations
from tlkit.optimizers import fresh, scaled_learning_rates
from tlkit.techniques.domain_adaptation.alignment import Alignment, ClassProbabilities, Domain
from tlkit.techniques.domain_adaptation.callbacks import KeepBest
from tlkit.techniques.domain_adaptation.methods import find
from tlkit.techniques.domain_adaptation.normalization import adapt_statistics
from tlkit.techniques.domain_adaptation.pairs import PairBatches, Pairs, as_pairs
from tlkit.techniques.domain_adaptation.selection import MOST
from tlkit.techniques.learners import Learner
from tlkit.techniques.training import (
    class_weights,
    compile_state_kept,
    compiled_with,
    loss_for,
    make_state,
    needs_rows,
    replica_share,
)


@keras.saving.register_keras_serializable("tlkit")
class DomainAdapter(Learner):
    """Train a classifier on a labelled source so that it works on an unlabelled target.

    The classifier learns in place and stays a plain Keras model: save it, not the adapter. The features
    that are aligned are what enters its last layer. Give the head of a classifier instead of the whole one
    to train on kept features (see `extract`): seconds instead of minutes, and the classifier learns as well.

    Args:
        classifier: a functional or `Sequential` model with class probabilities or logits as its output, such
            as `build_classifier` makes; or its head (`tlkit.models.head_of(model)`) to train on features.
        alignment: the method, such as `DANN()`, or its name (`tlkit adapt --list`).

    Raises:
        TlkitError: the classifier gives neither probabilities nor logits, or `alignment` is no method.
        UnknownNameError: no method has this name.

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

    def __init__(self, classifier: keras.Model, alignment: Alignment | str, **options: Any) -> None:
        super().__init__(**options)
        self.classifier = classifier
        self.encoder, dense = cut_last(classifier)
        self.logits = output_activation(classifier) == "linear"
        own = dense.activation is keras.activations.softmax
        self.last = dense if own else ClassProbabilities(dense)
        self.answer = dense if self.logits else self.last  # what loss and metrics are given
        self.alignment = _method(alignment)
        self.alignment.prepare(self.encoder, self.last)
        self.supervised_loss = keras.metrics.Mean("supervised_loss")
        self.alignment_loss = keras.metrics.Mean("alignment_loss")
        counter = {"trainable": False, "initializer": "zeros", "aggregation": "only_first_replica"}
        self.done = self.add_weight(shape=(), dtype="float32", name="steps_done", **counter)
        self.planned = self.add_weight(shape=(), dtype="float32", name="steps_planned", **counter)
        self.planned.assign(1.0)
        self._look = keras.Model(self.encoder.inputs, [self.encoder.output, self.last(self.encoder.output)])
        self._settings: dict[str, Any] = {}
        self.alignment.built = self.built = True  # all variables exist

    def compile(self, optimizer: Any = "adam", loss: Any = None, **settings: Any) -> None:
        """Set optimizer, loss and metrics as in Keras; loss and metrics are those of the source.

        Args:
            optimizer: as in Keras.
            loss: as in Keras; one that compares rows of classes gets them. A cross-entropy given by its name,
                or none, becomes the one for logits where the classifier gives logits.
            settings: as in Keras.
        """
        loss = loss_for(self.classifier, np.zeros(1, "int32"), loss)
        super().compile(optimizer, loss, **settings)
        self._settings = {"loss": loss, **settings}

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not isinstance(inputs, dict):
            return self.classifier(inputs, training=training)
        features = self.alignment.encode(self.encoder, inputs["source"], inputs["target"], training)
        both = ops.cast(ops.concatenate(features), "float32")
        answers, n = ops.cast(self.answer(both), "float32"), ops.shape(features[0])[0]
        probabilities = ops.softmax(answers) if self.logits else answers
        if training:
            self.done.assign_add(1.0)
        return {
            "features": (both[:n], both[n:]),
            "probabilities": (probabilities[:n], probabilities[n:]),
            "source": answers[:n],
            "target": answers[n:],
        }

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        compared = y
        if needs_rows(self.loss) and len(y.shape) == 1:
            compared = ops.one_hot(ops.cast(y, "int32"), self.last.units)
        if not isinstance(y_pred, dict):
            return super().compute_loss(x, compared, y_pred, sample_weight, training)
        supervised = super().compute_loss(x, compared, y_pred["source"], sample_weight, training)
        (fs, ft), (ps, pt) = y_pred["features"], y_pred["probabilities"]
        source, target = Domain(x["source"], fs, ps, y), Domain(x["target"], ft, pt)
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
        x: Any,
        y: Any = None,
        *,
        batch_size: int | None = None,
        epochs: int = 1,
        source_epochs: int | None = None,
        validation_data: Any = None,
        select: str | None = None,
        callbacks: Any = (),
        **options: Any,
    ) -> keras.callbacks.History:
        """Train as Keras does, on a labelled source and an unlabelled target.

        The classifier is compiled afterwards as it was before. An adapter that was not compiled takes the
        settings of the classifier, or else Adam and the cross-entropy that fits.

        Args:
            x: `pair(source, target)`; or inputs `{"source": ..., "target": ...}`, with the source's labels
                as `y`; or batches `({"source": ..., "target": ...}, source_labels)` (`tf.data.Dataset`,
                `PyDataset`, PyTorch `DataLoader`). Methods that adapt a trained network read one epoch of
                these batches into memory.
            y: class indices `(n,)` of the source, if `x` is a dictionary of arrays.
            batch_size: examples of each domain in a step, if `x` is such a dictionary; by default 32, or as
                many as there are.
            epochs: passes over the larger domain, or over the batches.
            source_epochs: passes over the source alone, before adaptation. By default as many as `epochs` for
                a method that adapts a trained network (ADDA, AdaBN, TENT, closed-form CORAL, importance
                weighting), else 0.
            validation_data: held-out source: a split, inputs and labels, or batches of these. Never the
                target's labels.
            select: keep the best epoch by this score, which needs no target labels; see
                `tlkit.techniques.domain_adaptation.selection.SCORES`. By default the last epoch stays.
            callbacks: as in Keras. `ModelCheckpoint` saves the classifier.
            options: as in Keras, `class_weight="balanced"` too. Weights of examples belong to batches, and
                held-out examples into `validation_data`.

        Returns:
            Keras's history. Besides the loss, it contains `supervised_loss` and `alignment_loss`, the score
            by its name, and what the method measures of itself.

        Raises:
            DataError: x is of another kind, or does not fit the classifier.
            TlkitError: a layer that the method needs is frozen; or a loss became NaN: the classifier then
                has the weights of the last epoch with a finite loss.
        """
        if left := {"sample_weight", "validation_split"} & set(options):
            raise TlkitError(
                f"{' and '.join(sorted(left))} cannot be used for two domains. Give weights in batches "
                "({'source': ..., 'target': ...}, labels, weights), and held-out examples as validation_data."
            )
        pairs = as_pairs(x, y, batch_size=batch_size)
        self._check(pairs)
        if "class_weight" in options:
            known = pairs.labels if isinstance(pairs, Pairs) else None
            options["class_weight"] = class_weights(options["class_weight"], known)
        if not self.compiled:
            own = {name: each for name, each in compiled_with(self.classifier).items()}
            self.compile(fresh(own.pop("optimizer")) if "optimizer" in own else "adam", **own)
        self.optimizer.build(self.trainable_variables)  # also of a method that trains with another one
        held_out = _inputs_and_labels(validation_data)
        given = {"epochs": epochs, "callbacks": saving(callbacks, self.classifier), **options}
        given["callbacks"] += [self._stop_at_nan()]
        if select is not None:
            kept = KeepBest(select, self, _in_memory(held_out), pairs.some_target(MOST), epochs // 2)
            given["callbacks"].insert(0, kept)
        with compile_state_kept(self.classifier):
            if self.alignment.starts_from_source:
                pairs = pairs.in_memory()
                self._learn_source(pairs, epochs if source_epochs is None else source_epochs, options)
            elif source_epochs:
                self._learn_source(pairs.in_memory(), source_epochs, options)
            self.classifier.compile(self.fresh_optimizer(), **self._settings)  # as a checkpoint will have it
            make_state(self.classifier, pairs.labels, self.classifier.output_shape)
            self.done.assign(0.0)
            self.planned.assign(float(max(1, epochs * len(pairs))))
            return self.alignment.fit(self, pairs, validation_data=held_out, **given)

    def _check(self, pairs: Pairs | PairBatches) -> None:
        """Raise before the training where the pairs do not fit the classifier, or nothing can learn."""
        if self.alignment.moves_features and not self.encoder.trainable_variables:
            raise TlkitError(
                f"{type(self.alignment).__name__} moves the features, but no layer before the last one can "
                "learn. Unfreeze a stage, or build the head with a layer of its own: build_classifier(..., "
                "bottleneck=256)."
            )
        expected = tuple(self.classifier.inputs[0].shape[1:])
        for name, shape in pairs.shapes.items():
            if not fits(shape, expected):
                raise DataError(
                    f"An input of the {name} has shape {shape}, and {self.classifier.name!r} takes "
                    f"{expected}. Load the images with its image_size, or extract features with its backbone."
                )
        check_labels(np.asarray(pairs.labels), self.last.units, "the source")

    def _learn_source(self, pairs: Pairs, epochs: int, options: dict[str, Any]) -> None:
        """Train the classifier on the source alone, with the adapter's settings."""
        if not epochs:
            return
        self.classifier.compile(self.fresh_optimizer(), **self._settings)
        make_state(self.classifier, pairs.labels, self.classifier.output_shape)
        shown = {"x": pairs.source[:], "y": pairs.labels, "batch_size": pairs.batch_size, "epochs": epochs}
        quiet = {"verbose": options["verbose"]} if "verbose" in options else {}
        self.classifier.fit(**shown, callbacks=[self._stop_at_nan()], **quiet)

    def _stop_at_nan(self) -> StopAtNaN:
        terms = {
            "supervised_loss": "the supervised loss",
            "alignment_loss": f"the loss of {type(self.alignment).__name__}",
        }
        advice = "Use a smaller learning rate, or a smaller weight of the method."
        return StopAtNaN(self.classifier, terms, advice)

    def stock_fit(self, pairs: Pairs | PairBatches, **options: Any) -> keras.callbacks.History:
        """Run the `fit` of `keras.Model`; methods call it from `Alignment.fit`."""
        make_state(self, pairs.labels, self.classifier.output_shape)
        if isinstance(pairs, PairBatches):
            return super().fit(pairs.data, shuffle=False, **options)  # in the order that the user made
        given: Any = pairs
        alone = keras.backend.backend() == "tensorflow" and self.distribute_strategy.num_replicas_in_sync == 1
        changed = {"steps_per_epoch", "initial_epoch"} & set(options) or any(
            isinstance(each, keras.callbacks.BackupAndRestore) for each in options.get("callbacks", ())
        )
        if alone and pairs.small and not changed:
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

        What was frozen within a part stays so; a single layer learns in any case. The parts take the fraction
        `share` of the learning rate, the method's own layers all of it.
        """
        layers = leaves(self.classifier)
        before = [layer.trainable for layer in layers]
        chosen = {id(leaf) for part in parts for leaf in leaves(part)}
        given = {id(leaf) for part in parts for leaf in leaves(part) if len(leaves(part)) == 1}
        optimizer = self.optimizer
        try:
            for layer, learns in zip(layers, before, strict=True):
                layer.trainable = id(layer) in given or (learns and id(layer) in chosen)
            self.compile(self.fresh_optimizer(), **self._settings)
            with scaled_learning_rates(
                self.optimizer, {variable.path: share for variable in self.classifier.variables}
            ):
                yield
        finally:
            for layer, learns in zip(layers, before, strict=True):
                layer.trainable = learns
            self.compile(optimizer, **self._settings)  # its state again, for another fit

    def fresh_optimizer(self) -> keras.optimizers.Optimizer:
        """Return the compiled optimizer as it was before its first step."""
        return fresh(getattr(self.optimizer, "inner_optimizer", self.optimizer))  # float16 wraps it


def _method(given: Alignment | str) -> Alignment:
    if isinstance(given, str):
        return find(given).build()
    if not isinstance(given, Alignment):
        name = given.__name__ if isinstance(given, type) else None
        advice = f"Make one: {name}()." if name else "Give DANN(), or the name of a method, such as 'dann'."
        raise TlkitError(f"The method {given!r} is no Alignment. {advice}")
    return given


def _inputs_and_labels(held_out: Any) -> Any:
    return (held_out.images[:], held_out.labels) if isinstance(held_out, Split) else held_out


def _in_memory(held_out: Any) -> tuple[Any, Any] | None:
    if held_out is None or isinstance(held_out, tuple | list):
        return None if held_out is None else tuple(held_out[:2])
    inputs, labels, _ = zip(*map(unpacked, in_order(held_out)), strict=True)
    return np.concatenate(inputs), np.concatenate(labels)
