"""A backbone that learns from images without labels, by Keras's own fit."""

from typing import Any

import keras
import numpy as np

from tlkit._internal.registry import resolve
from tlkit.backbones.structure import check_backbone
from tlkit.callbacks import StopAtNaN, listed, saving
from tlkit.data import ImageFiles, Split
from tlkit.data.batches import Batches
from tlkit.data.labelled import check_finite, fits, is_batches
from tlkit.errors import DataError, TlkitError
from tlkit.techniques.learners import Learner
from tlkit.techniques.self_supervised.methods import METHODS
from tlkit.techniques.self_supervised.objective import Objective
from tlkit.techniques.training import make_state, replica_share


@keras.saving.register_keras_serializable("tlkit")
class SelfSupervised(Learner):
    """Train a backbone on images alone.

    The backbone learns in place and stays a plain Keras model: save it, or let `ModelCheckpoint` do so. What
    the method has beside it (projector, predictor, decoder) is thrown away; the learner itself is saved to go
    on training.

    Args:
        backbone: any functional or `Sequential` model from raw images to a feature map `(n, h, w, c)`, tokens
            `(n, t, d)` or features `(n, d)`, such as `tlkit.load_backbone("LeNet", weights=None)`.
        objective: the method, such as `SimCLR()` or its name, `"simclr"`.

    Raises:
        TlkitError: the model is no such backbone, does not fit the method, or `objective` is no method.

    >>> import tlkit
    >>> from tlkit.techniques.self_supervised import SimCLR
    >>> backbone = tlkit.load_backbone("LeNet", weights=None)
    >>> learner = SelfSupervised(backbone, SimCLR())
    >>> learner.compile("adam")
    >>> history = learner.fit(np.zeros((64, 28, 28, 3), "uint8"), batch_size=32, epochs=2, verbose=0)
    >>> len(history.history["loss"])
    2
    """

    def __init__(self, backbone: keras.Model, objective: Objective | str, **options: Any) -> None:
        super().__init__(**options)
        self.backbone = backbone
        self.objective: Objective = resolve(METHODS, objective, Objective, "objective")
        self.objective.prepare(check_backbone(backbone))
        self.objective.built = self.built = True  # all variables exist
        self.measures = {name: keras.metrics.Mean(name) for name in self.objective.measures}
        encoder = self.objective.encoder
        features = encoder.outputs[0]
        self._features_and_embeddings = keras.Model(
            encoder.inputs, [features, self.objective.embed(features)]
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SelfSupervised":
        """Make a learner of the arguments that `get_config` returned."""
        _ = [method.target for method in METHODS]  # imported, so that Keras knows them
        return super().from_config(config)

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
        x: Any,
        *,
        batch_size: int = 128,
        epochs: int = 1,
        seed: int = 0,
        validation_data: Any = None,
        callbacks: Any = (),
        verbose: int | str = "auto",
        **options: Any,
    ) -> keras.callbacks.History:
        """Train as Keras does; with `keras.callbacks.BackupAndRestore` it goes on where it was stopped.

        The order of the images and all random changes of an epoch follow from `seed` and the number of the
        epoch: what was stopped and goes on ends where it would have ended. Of batches, the order is theirs.

        Args:
            x: images `(n, height, width, 3)`, values 0 to 255, in memory or in files; a split, whose labels
                are not looked at; or batches of images alone: a `tf.data.Dataset`, a `keras.utils.PyDataset`
                or a PyTorch `DataLoader`. These should all be full: `data.batch(128, drop_remainder=True)`.
            batch_size: images in a step, where no batches are given. Only full batches are used: the rest
                comes in another epoch.
            epochs: passes over the images.
            seed: of the order of the images and of the random changes.
            validation_data: further images, on which the same loss is measured after each epoch.
            callbacks, verbose, options: as in Keras. A `ModelCheckpoint` saves the backbone. Where `compile`
                was not called, Adam trains it.

        Returns:
            Keras's history: the loss, and what the method measures of itself.

        Raises:
            DataError: fewer images than a batch, images of another size, labels; of batches the first one
                is looked at.
            TlkitError: the loss became NaN; the backbone has the weights of the epoch before. Or a backup is
                of another network.
        """
        if not self.compiled:
            self.compile()
        batches = self._batches(x, batch_size, seed)
        held_out = None if validation_data is None else self._batches(validation_data, batch_size, seed)
        given = listed(callbacks)
        watch = [
            *saving(given, self.backbone),
            _SameAgain(self, None if batches is x else batches, seed),
            StopAtNaN(self.backbone, {}, "Use a smaller learning rate."),
        ]
        if self.steps == 0:
            self.objective.start()
        make_state(self)
        shared = {"epochs": epochs, "validation_data": held_out, "callbacks": watch, "verbose": verbose}
        try:
            return super().fit(batches, **shared, **options)
        except ValueError as error:
            backups = [each for each in given if isinstance(each, keras.callbacks.BackupAndRestore)]
            if not backups or "could not be loaded" not in str(error):
                raise
            raise TlkitError(
                f"The backup in {backups[0].backup_dir} is of another network or method than "
                f"{self.backbone.name} with {type(self.objective).__name__}. Take the same to go on, or "
                "another folder to start anew."
            ) from error

    def features_and_embeddings(
        self, images: Split | np.ndarray | ImageFiles
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return features and embeddings of images in inference mode, float32 `(n, d)` each.

        Where the method compares the features themselves, they are the embeddings too.
        """
        pixels = images.images if isinstance(images, Split) else images
        features, embeddings = self._features_and_embeddings.predict(pixels[:], batch_size=256, verbose=0)
        return features.astype("float32"), embeddings.astype("float32")

    def _batches(self, given: Any, batch_size: int, seed: int) -> Any:
        """Return batches of images alone; those that were given are checked and returned themselves."""
        if is_batches(given):
            first = _first_images(given)
            self._check(first, len(first))
            return given
        images = given.images if isinstance(given, Split) else given
        if isinstance(images, tuple | list | dict) or not hasattr(images, "shape"):
            raise DataError(
                f"fit was given {type(given).__name__}; expected images alone: an array, a split, or batches "
                "of a tf.data.Dataset or a PyDataset. Labels, where there are some, are not used here."
            )
        if len(images) < max(self.objective.fewest, 2):
            raise DataError(
                f"{len(images)} images are too few: nothing can be learned from them without labels. Give "
                "hundreds or more."
            )
        self._check(images, batch_size)
        if len(images) < batch_size:
            raise DataError(
                f"{len(images)} images are fewer than a batch of {batch_size}. Use batch_size={len(images)} "
                "or less, or give more images."
            )
        return Batches(images, None, batch_size, True, seed, whole=True)

    def _check(self, images: Any, batch_size: int) -> None:
        expected, shape = tuple(self.backbone.inputs[0].shape[1:]), tuple(images.shape[1:])
        if not fits(shape, expected):
            raise DataError(
                f"Images of shape {shape} were given, and {self.backbone.name} takes {expected}. Load "
                f"them with image_size={expected[0]}, or build it for theirs."
            )
        fewest = self.objective.fewest
        if batch_size < fewest:
            raise DataError(
                f"batch_size={batch_size} was given, but {type(self.objective).__name__} compares the images "
                f"of a batch with each other and needs at least {fewest}; 64 or more are usual."
            )


def _first_images(batches: Any) -> np.ndarray:
    """Return the images of the first batch, which has nothing but images."""
    check_finite(batches, "The data set")
    batch = batches[0] if isinstance(batches, keras.utils.PyDataset) else next(iter(batches), None)
    if isinstance(batch, tuple | list) and len(batch) == 1:
        batch = batch[0]
    if batch is None or isinstance(batch, tuple | list | dict):
        what = "no batch" if batch is None else f"a {type(batch).__name__} of {len(batch)}"
        raise DataError(
            f"The data set gives {what}; expected batches of images alone, since labels are not used here: "
            ".map(lambda images, labels: images) of a tf.data.Dataset, labels=False of Split.batches."
        )
    images = keras.ops.convert_to_numpy(batch)
    if images.ndim == 3:
        raise DataError(
            f"The data set gives single images of shape {images.shape}; expected batches of them: "
            "data.batch(128, drop_remainder=True)."
        )
    return images


class _SameAgain(keras.callbacks.Callback):
    """Let what is random in an epoch follow from the seed and the epoch's number, and nothing else."""

    def __init__(self, learner: SelfSupervised, batches: Batches | None, seed: int) -> None:
        super().__init__()
        self.learner, self.batches, self.seed = learner, batches, seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.batches is not None:
            self.batches.start_epoch(epoch)
        states = [each for each in self.learner.variables if each.name == "seed_generator_state"]
        drawn = np.random.SeedSequence((self.seed, epoch)).generate_state(len(states))
        for state, value in zip(states, drawn, strict=True):
            state.assign(np.array([value, 0], "uint32"))
