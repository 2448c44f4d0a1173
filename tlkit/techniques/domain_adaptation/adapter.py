"""A classifier that learns from a labelled source and an unlabelled target together, by Keras's own fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit._internal.registry import resolve
from tlkit.backbones.structure import output_activation
from tlkit.callbacks import StopAtNaN, saving, watch_steps
from tlkit.data import Split
from tlkit.data.labelled import check_labels, fits
from tlkit.errors import DataError, TlkitError
from tlkit.models import cut_last, flat_layers, normalizations
from tlkit.optimizers import fresh, scaled_learning_rates
from tlkit.techniques.domain_adaptation.adabn import adapt_statistics
from tlkit.techniques.domain_adaptation.alignment import (
    ALL,
    ENCODER,
    LAST_LAYER,
    NOTHING,
    Alignment,
    ClassProbabilities,
    Domain,
)
from tlkit.techniques.domain_adaptation.methods import METHODS
from tlkit.techniques.domain_adaptation.pairs import PairBatches, Pairs, as_pairs
from tlkit.techniques.domain_adaptation.validators import Outputs
from tlkit.techniques.learners import Learner
from tlkit.techniques.training import (
    class_weights,
    compile_state_kept,
    compiled_with,
    loss_for,
    make_state,
    needs_one_hot,
    replica_fraction,
)


@keras.saving.register_keras_serializable("tlkit")
class DomainAdapter(Learner):
    """Train a classifier on a labelled source so that it works on an unlabelled target.

    The classifier is trained in place and remains a plain Keras model: save it, not the adapter. The
    features that are aligned are the inputs of its last layer. Pass the head of a classifier instead of the
    whole one to train on features (see `extract`): this takes seconds instead of minutes, and the classifier
    learns as well.

    Args:
        classifier: a functional or `Sequential` model with class probabilities or logits as its output, such
            as `build_classifier` makes; or its head (`tlkit.models.head_of(model)`) to train on features.
        alignment: the method, such as `DANN()`, or its name (`tlkit adapt --list` explains each).

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
        self.output_layer = dense if self.logits else self.last  # what loss and metrics are given
        self.alignment = resolve(METHODS, alignment, Alignment, "alignment")
        self.alignment.prepare(self.encoder, self.last)
        self.supervised_loss = keras.metrics.Mean("supervised_loss")
        self.alignment_loss = keras.metrics.Mean("alignment_loss")
        counter = {"trainable": False, "initializer": "zeros", "aggregation": "only_first_replica"}
        self.done = self.add_weight(shape=(), dtype="float32", name="steps_done", **counter)
        self.planned = self.add_weight(shape=(), dtype="float32", name="steps_planned", **counter)
        self.planned.assign(1.0)
        self._outputs = keras.Model(
            self.encoder.inputs, [self.encoder.output, self.last(self.encoder.output)]
        )
        self._settings: dict[str, Any] = {}
        self._has_source = True
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
        self.steps_are_set = "steps_per_execution" in settings

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not isinstance(inputs, dict):
            return self.classifier(inputs, training=training)
        features = self.alignment.encode(self.encoder, inputs.get("source"), inputs["target"], training)
        domains = [of_domain for of_domain in features if of_domain is not None]
        both = ops.cast(ops.concatenate(domains), "float32")
        outputs = ops.cast(self.output_layer(both), "float32")
        n = ops.shape(domains[0])[0] if len(domains) > 1 else 0
        probabilities = ops.softmax(outputs) if self.logits else outputs
        if training:
            self.done.assign_add(1.0)
        return {
            "features": (both[:n], both[n:]),
            "probabilities": (probabilities[:n], probabilities[n:]),
            "source": outputs[:n],
            "target": outputs[n:],
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
        if y is not None and needs_one_hot(self.loss) and len(y.shape) == 1:
            compared = ops.one_hot(ops.cast(y, "int32"), self.last.units)
        if not isinstance(y_pred, dict):
            return super().compute_loss(x, compared, y_pred, sample_weight, training)
        (fs, ft), (ps, pt) = y_pred["features"], y_pred["probabilities"]
        source, supervised = None, 0.0
        if y is not None:
            source = Domain(x["source"], fs, ps, y)
            supervised = super().compute_loss(x, compared, y_pred["source"], sample_weight, training)
        target = Domain(x["target"], ft, pt)
        strength = self.alignment.strength(ops.minimum(self.done / self.planned, 1.0))
        alignment = self.alignment.loss(source, target, strength)
        part = replica_fraction()
        if y is not None:
            self.supervised_loss.update_state(supervised / part)
        self.alignment_loss.update_state(alignment)
        return (supervised if self.alignment.supervised else 0.0) + part * alignment

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        if isinstance(y_pred, dict) and y is not None:
            return super().compute_metrics(x, y, y_pred["source"], sample_weight)
        if y is None:
            return self.get_metrics_result()
        results = super().compute_metrics(x, y, y_pred, sample_weight)
        of_pairs = {self.supervised_loss.name, self.alignment_loss.name}
        of_pairs |= {metric.name for metric in self.alignment.metrics}
        return {name: value for name, value in results.items() if name not in of_pairs}

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the metrics so far; without a source, those that compare with its labels are left out."""
        if self._has_source:
            return super().get_metrics_result()
        own = [self._loss_tracker, self.alignment_loss, *self.alignment.metrics]
        return {metric.name: metric.result() for metric in own}

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int | None = None,
        epochs: int = 1,
        source_epochs: int | None = None,
        validation_data: Any = None,
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
            epochs: number of epochs; an epoch is one pass over the larger domain, or over the batches.
            source_epochs: epochs on the source alone, before adaptation. By default as many as `epochs` for
                a method that adapts a trained network (ADDA, SHOT, AdaBN, closed-form CORAL, KLIEP), else 0.
            validation_data: held-out source: a split, inputs and labels, or batches of these. Never the
                target's labels.
            callbacks: as in Keras. `ModelCheckpoint` saves the classifier.
            options: as in Keras, `class_weight="balanced"` too. Weights of examples belong to batches, and
                held-out examples into `validation_data`.

        Returns:
            Keras's history. Besides the loss, it contains `supervised_loss`, `alignment_loss`, and what the
            method measures of itself.

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
        self._compile_if_needed()
        if "class_weight" in options:
            known = pairs.labels if isinstance(pairs, Pairs) else None
            options["class_weight"] = class_weights(options["class_weight"], known)
        held_out = _inputs_and_labels(validation_data)
        watching = [*saving(callbacks, self.classifier), self._stop_at_nan(), *self._updating(pairs)]
        with compile_state_kept(self.classifier):
            pairs = self._learn_source(pairs, epochs, source_epochs, options.get("verbose"))
            self._has_source = pairs.labels is not None
            self.classifier.compile(self.fresh_optimizer(), **self._settings)  # as a checkpoint will have it
            make_state(self.classifier, pairs.labels, self.classifier.output_shape)
            self.done.assign(0.0)
            self.planned.assign(float(max(1, epochs * len(pairs))))
            options |= {"validation_data": held_out, "epochs": epochs, "callbacks": watching}
            return self._adapt(pairs, options)

    def _compile_if_needed(self) -> None:
        if not self.compiled:
            settings = dict(compiled_with(self.classifier))
            self.compile(fresh(settings.pop("optimizer")) if "optimizer" in settings else "adam", **settings)
        self.optimizer.build(self.trainable_variables)  # also of a method that trains with another one

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
        if pairs.labels is not None:
            check_labels(np.asarray(pairs.labels), self.last.units, "the source")
        elif self.alignment.needs_source:
            raise TlkitError(
                f"{type(self.alignment).__name__} needs a labelled source, and none was given. Give "
                "pair(source, target), or use a method that needs none: SHOT or AdaBN."
            )

    def _learn_source(
        self, pairs: Pairs | PairBatches, epochs: int, source_epochs: int | None, verbose: Any
    ) -> Pairs | PairBatches:
        """Run the first phase, if there is one: the classifier learns the source."""
        if source_epochs is None or pairs.labels is None:
            known = self.alignment.starts_from_source and pairs.labels is not None
            source_epochs = epochs if known else 0
        if not (source_epochs or self.alignment.starts_from_source):
            return pairs
        examples = pairs.in_memory()
        if source_epochs:
            self.classifier.compile(self.fresh_optimizer(), **self._settings)
            make_state(self.classifier, examples.labels, self.classifier.output_shape)
            self.classifier.fit(
                examples.source[:],
                examples.labels,
                batch_size=examples.batch_size,
                epochs=source_epochs,
                callbacks=[self._stop_at_nan()],
                **({} if verbose is None else {"verbose": verbose}),
            )
        if not self.alignment.starts_from_source:
            return pairs
        prepared = self.alignment.begin(self.encoder, examples)
        return prepared if self.alignment.needs_source else prepared.without_source()

    def _adapt(self, pairs: Pairs | PairBatches, options: dict[str, Any]) -> keras.callbacks.History:
        """Run the adaptation itself: train the part of the classifier that the method declares."""
        method = self.alignment
        if method.trains == NOTHING:
            history = keras.callbacks.History()
            history.history, history.epoch = {}, []
            return history
        if method.trains == ALL:
            return self._fit_pairs(pairs, options)
        part = {ENCODER: self.encoder, LAST_LAYER: self.last}[method.trains]
        with self.training_only(part, learning_rate_factor=method.learning_rate_factor):
            return self._fit_pairs(pairs, options)

    def _updating(self, pairs: Pairs | PairBatches) -> list[keras.callbacks.Callback]:
        """Return a callback that shows the method the whole target before each epoch, if it needs that."""
        if not self.alignment.watches_target:
            return []
        target = pairs.in_memory().target

        def update(epoch: int, logs: Any = None) -> None:
            outputs = self.target_outputs(target)
            self.alignment.update(outputs.features, outputs.probabilities)

        return [keras.callbacks.LambdaCallback(on_epoch_begin=update)]

    def _stop_at_nan(self) -> StopAtNaN:
        terms = {
            "supervised_loss": "the supervised loss",
            "alignment_loss": f"the loss of {type(self.alignment).__name__}",
        }
        advice = "Use a smaller learning rate, or a smaller weight of the method."
        return StopAtNaN(self.classifier, terms, advice)

    def _fit_pairs(self, pairs: Pairs | PairBatches, options: dict[str, Any]) -> keras.callbacks.History:
        """Run the `fit` of `keras.Model` on pairs.

        TensorFlow gets small pairs as tensors, and runs all short steps of an epoch in one call, unless a
        callback must be called at every step: a step on features is shorter than a call from Python.
        """
        make_state(self, pairs.labels, self.classifier.output_shape)
        if isinstance(pairs, PairBatches):
            return super().fit(pairs.data, shuffle=False, **options)  # in the order that the user made
        first = options.get("initial_epoch", 0)
        pairs.epoch = first or pairs.epoch
        resumes = any(isinstance(call, keras.callbacks.BackupAndRestore) for call in options["callbacks"])
        changed = resumes or "steps_per_epoch" in options or options["epochs"] <= first
        if changed or not pairs.small or replica_fraction() != 1 or keras.backend.backend() != "tensorflow":
            return super().fit(pairs, shuffle=False, **options)
        at_once = 1 if watch_steps(options["callbacks"]) else pairs.steps_at_once
        if not self.steps_are_set and at_once != getattr(self, "steps_per_execution", None):
            self.steps_per_execution = at_once
            self.train_function = self.test_function = None  # Keras makes them again
        batches = pairs.tensors(options["epochs"] - first)
        return super().fit(batches, shuffle=False, steps_per_epoch=len(pairs), **options)

    def target_outputs(self, inputs: Any) -> Outputs:
        """Return the features and class probabilities of target inputs, in inference mode."""
        features, probabilities = self._outputs.predict(inputs[:], batch_size=256, verbose=0)
        return Outputs(features.astype("float32"), probabilities)

    def source_outputs(self, inputs: Any) -> Outputs:
        """Return the features and class probabilities of source inputs, normalised by source statistics.

        Where batch normalisation learned, the classifier itself holds the statistics of the target.
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
        return Outputs(ops.convert_to_numpy(features), ops.convert_to_numpy(self.last(features)))

    @contextmanager
    def training_only(self, part: keras.Layer, *, learning_rate_factor: float = 1.0) -> Iterator[None]:
        """Train only one part of the classifier within the block, and the method's own layers.

        A layer that was frozen within the part stays frozen. A part that is a single layer always learns.

        Args:
            part: a layer or model within the classifier.
            learning_rate_factor: the fraction of the learning rate that it takes; the method's own layers
                take all of it.
        """
        layers, chosen = flat_layers(self.classifier), flat_layers(part)
        before = [layer.trainable for layer in layers]
        inside = {id(layer) for layer in chosen}
        optimizer = self.optimizer
        try:
            for layer, learns in zip(layers, before, strict=True):
                layer.trainable = id(layer) in inside and (learns or len(chosen) == 1)
            self.compile(self.fresh_optimizer(), **self._settings)
            paths = [variable.path for variable in self.classifier.variables]
            with scaled_learning_rates(self.optimizer, dict.fromkeys(paths, learning_rate_factor)):
                yield
        finally:
            for layer, learns in zip(layers, before, strict=True):
                layer.trainable = learns
            self.compile(optimizer, **self._settings)  # its state again, for another fit

    def fresh_optimizer(self) -> keras.optimizers.Optimizer:
        """Return the compiled optimizer as it was before its first step."""
        return fresh(getattr(self.optimizer, "inner_optimizer", self.optimizer))  # float16 wraps it


def _inputs_and_labels(held_out: Any) -> Any:
    return (held_out.images[:], held_out.labels) if isinstance(held_out, Split) else held_out
