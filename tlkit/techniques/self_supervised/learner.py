"""A backbone that learns from images without labels, by Keras's own fit."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tlkit.callbacks import StopAtNaN
from tlkit.data import ImageFiles, Split
from tlkit.data.batches import Batches
from tlkit.errors import DataError, TlkitError
from tlkit.techniques.self_supervised.objective import Objective
from tlkit.techniques.training import make_state, replica_share


class SelfSupervised(keras.Model):
    """Train a backbone on images alone.

    The backbone learns in place and stays a plain Keras model: save it, not the learner. What the method has
    beside it (projector, predictor, decoder) is thrown away.

    Args:
        backbone: raw images to features, such as `tlkit.get("LeNet", weights=None)`.
        objective: the method, such as `SimCLR()`.

    >>> import tlkit
    >>> from tlkit.techniques.self_supervised import SimCLR
    >>> backbone = tlkit.get("LeNet", weights=None)
    >>> learner = SelfSupervised(backbone, SimCLR())
    >>> learner.compile("adam")
    >>> history = learner.fit(np.zeros((64, 28, 28, 3), "uint8"), batch_size=32, epochs=2, verbose=0)
    >>> len(history.history["loss"])
    2
    """

    def __init__(self, backbone: keras.Model, objective: Objective, **options: Any) -> None:
        super().__init__(**options)
        if len(backbone.input_shape) != 4 or len(backbone.output_shape) not in (2, 4):
            raise TlkitError(
                f"{backbone.name} maps {backbone.input_shape} to {backbone.output_shape}; expected a "
                "backbone from images (n, height, width, 3) to features, such as tlkit.get(name) makes."
            )
        objective.prepare(backbone)
        objective.built = self.built = True  # all variables exist
        self.backbone = backbone
        self.objective = objective
        self.measures = {name: keras.metrics.Mean(name) for name in objective.measures}
        encoder = objective.encoder
        features = encoder.outputs[0]
        self._look = keras.Model(encoder.inputs, [features, objective.embed(features)])

    def compile(self, optimizer: Any = "adam", **settings: Any) -> None:
        """Set the optimizer as in Keras; the loss is the method's.

        Raises:
            TlkitError: a loss or metrics were given.
        """
        for name in ("loss", "metrics", "weighted_metrics"):
            if settings.get(name) is not None:
                raise TlkitError(
                    f"compile was given {name}, but without labels the loss is that of the method, "
                    f"{type(self.objective).__name__}. Leave {name} out."
                )
        super().compile(optimizer, **settings)

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        return self.objective(images, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        if training:
            self.objective.step()  # not in `call`, where mixed precision rounds what is read of a variable
        for name, metric in self.measures.items():
            metric.update_state(y_pred[name])
        return replica_share() * (y_pred["loss"] + sum(map(keras.ops.sum, self.losses)))

    def fit(
        self,
        x: Split | np.ndarray | ImageFiles,
        *,
        batch_size: int = 128,
        epochs: int = 1,
        seed: int = 0,
        validation_data: Split | np.ndarray | ImageFiles | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: int | str = "auto",
        **options: Any,
    ) -> keras.callbacks.History:
        """Train as Keras does; with `keras.callbacks.BackupAndRestore` it goes on where it was stopped.

        The order of the images and all random changes of an epoch follow from `seed` and the number of the
        epoch: what was stopped and goes on ends where it would have ended.

        Args:
            x: images `(n, height, width, 3)`, values 0 to 255, or a split, whose labels are not looked at.
            batch_size: images in a step. Only full batches are used: the rest comes in another epoch.
            epochs: passes over the images.
            seed: of the order of the images and of the random changes.
            validation_data: further images, on which the same loss is measured after each epoch.
            callbacks, verbose, options: as in Keras.

        Returns:
            Keras's history: the loss, and what the method measures of itself.

        Raises:
            DataError: fewer images than a batch, images of another size, labels.
            TlkitError: the loss became NaN; the backbone has the weights of the epoch before. Or a backup is
                of another network.
        """
        batches = self._batches(x, batch_size, seed)
        held_out = None if validation_data is None else self._batches(validation_data, batch_size, seed)
        advice = "Use a smaller learning rate."
        watch = [*callbacks, _SameAgain(self, batches, seed), StopAtNaN(self.backbone, {}, advice)]
        self.objective.start()
        make_state(self)
        shared = {"epochs": epochs, "validation_data": held_out, "callbacks": watch, "verbose": verbose}
        try:
            return super().fit(batches, shuffle=False, **shared, **options)  # batches shuffle by the seed
        except ValueError as error:
            backups = [each for each in callbacks if isinstance(each, keras.callbacks.BackupAndRestore)]
            if not backups or "could not be loaded" not in str(error):
                raise
            raise TlkitError(
                f"The backup in {backups[0].backup_dir} is of another network or method than "
                f"{self.backbone.name} with {type(self.objective).__name__}. Take the same to go on, or "
                "another folder to start anew."
            ) from error

    def look(self, images: Split | np.ndarray | ImageFiles) -> tuple[np.ndarray, np.ndarray]:
        """Return features and embeddings of images in inference mode, float32 `(n, d)` each.

        Where the method compares the features themselves, they are the embeddings too.
        """
        pixels = images.images if isinstance(images, Split) else images
        features, embeddings = self._look.predict(pixels[:], batch_size=256, verbose=0)
        return features.astype("float32"), embeddings.astype("float32")

    def _batches(self, given: Any, batch_size: int, seed: int) -> Batches:
        images = given.images if isinstance(given, Split) else given
        if isinstance(images, tuple | list | dict) or not hasattr(images, "shape"):
            raise DataError(
                f"fit was given {type(given).__name__}; expected images alone: an array or a split. Labels, "
                "where there are some, are not used here."
            )
        expected = self.backbone.input_shape[1:]
        shape = tuple(images.shape[1:])
        if len(shape) != 3 or any(a not in (None, b) for a, b in zip(expected, shape, strict=True)):
            raise DataError(
                f"Images of shape {shape} were given, and {self.backbone.name} takes {expected}. Load "
                f"them with image_size={expected[0]}, or build it for theirs."
            )
        fewest, name = self.objective.fewest, type(self.objective).__name__
        if len(images) < max(fewest, 2):
            raise DataError(
                f"{len(images)} images are too few: nothing can be learned from them without labels. Give "
                "hundreds or more."
            )
        if batch_size < fewest:
            raise DataError(
                f"batch_size={batch_size} was given, but {name} compares the images of a batch with each "
                f"other and needs at least {fewest}; 64 or more are usual."
            )
        if len(images) < batch_size:
            raise DataError(
                f"{len(images)} images are fewer than a batch of {batch_size}. Use batch_size={len(images)} "
                "or less, or give more images."
            )
        return Batches(images, None, batch_size, True, seed, whole=True)


class _SameAgain(keras.callbacks.Callback):
    """Let what is random in an epoch follow from the seed and the epoch's number, and nothing else."""

    def __init__(self, learner: SelfSupervised, batches: Batches, seed: int) -> None:
        super().__init__()
        self.learner, self.batches, self.seed = learner, batches, seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.batches.start_epoch(epoch)
        states = [each for each in self.learner.variables if each.name == "seed_generator_state"]
        drawn = np.random.SeedSequence((self.seed, epoch)).generate_state(len(states))
        for state, value in zip(states, drawn, strict=True):
            state.assign(np.array([value, 0], "uint32"))
