"""`SelfSupervised`: train a backbone on images without labels, by Keras's `fit`."""

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
from tlkit.techniques.training import make_state, replica_fraction


@keras.saving.register_keras_serializable("tlkit")
class SelfSupervised(Learner):
    """Train a backbone on images without labels.

    The backbone is trained in place and remains a plain Keras model: save it, or let `ModelCheckpoint` save
    it. The other layers of the method (projector, predictor, decoder) are not needed afterwards. Save the
    learner itself to resume training.

    Args:
        backbone: any functional or `Sequential` model from raw images to a feature map `(n, h, w, c)`, tokens
            `(n, t, d)` or features `(n, d)`, such as `tlkit.load_backbone("LeNet", weights=None)`.
        objective: the method, such as `SimCLR()`, or its name, such as `"simclr"`.

    Raises:
        TlkitError: the model is not such a backbone or does not fit the method, or there is no such method.

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
        """Make a learner from the arguments that `get_config` returned."""
        _ = [method.target for method in METHODS]  # the import registers the methods with Keras
        return super().from_config(config)

    def compile(self, optimizer: Any = "adam", **settings: Any) -> None:
        """Set the optimizer as in Keras. The method defines the loss.

        Raises:
            TlkitError: a loss or metrics were given.
        """
        for name in ("loss", "metrics", "weighted_metrics"):
            if settings.get(name) is not None:
                raise TlkitError(
                    f"compile was given {name}, but the loss is that of the method, "
                    f"{type(self.objective).__name__}, since there are no labels. Omit {name}."
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
            self.objective.step()  # not in `call`, where mixed precision would round the variables
        for name, metric in self.measures.items():
            metric.update_state(y_pred[name])
        return replica_fraction() * (y_pred["loss"] + sum(map(keras.ops.sum, self.losses)))

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
        """Train as Keras does, or resume a stopped training with `keras.callbacks.BackupAndRestore`.

        `seed` and the number of the epoch determine the order of the images and all random augmentation of an
        epoch. A training that was stopped and resumed therefore gives the same result as one that was not.
        Batches keep their own order.

        Args:
            x: images `(n, height, width, 3)`, values 0 to 255, in memory or in files; a split, whose labels
                are ignored; or batches of images without labels: a `tf.data.Dataset`, a
                `keras.utils.PyDataset` or a PyTorch `DataLoader`. All batches should be full:
                `data.batch(128, drop_remainder=True)`.
            batch_size: images per step, unless `x` consists of batches. An epoch has only full batches, so it
                leaves some images to other epochs.
            epochs: number of epochs.
            seed: seed of the order of the images and of the augmentation.
            validation_data: further images, on which the loss is evaluated after each epoch.
            callbacks, verbose, options: as in Keras. A `ModelCheckpoint` saves the backbone. If the learner
                is not compiled, it uses Adam.

        Returns:
            Keras's history: the loss and the metrics of the method.

        Raises:
            DataError: there are fewer images than a batch, the images have another size, or labels were
                given. Only the first of several batches is checked.
            TlkitError: the loss became NaN (the backbone then has the weights of the previous epoch), or a
                backup belongs to another network.
        """
        if not self.compiled:
            self.compile()
        batches = self._batches(x, batch_size, seed)
        held_out = None if validation_data is None else self._batches(validation_data, batch_size, seed)
        callbacks = listed(callbacks)
        watching = [
            *saving(callbacks, self.backbone),
            _SeededEpochs(self, None if batches is x else batches, seed),
            StopAtNaN(self.backbone, {}, "Use a smaller learning rate."),
        ]
        if self.steps == 0:
            self.objective.start()
        make_state(self)
        options |= {"epochs": epochs, "validation_data": held_out, "callbacks": watching, "verbose": verbose}
        try:
            return super().fit(batches, **options)
        except ValueError as error:
            backups = [each for each in callbacks if isinstance(each, keras.callbacks.BackupAndRestore)]
            if not backups or "could not be loaded" not in str(error):
                raise
            raise TlkitError(
                f"The backup in {backups[0].backup_dir} belongs to another network or method than "
                f"{self.backbone.name} with {type(self.objective).__name__}. Use the same network and method "
                "to resume, or another folder to start again."
            ) from error

    def features_and_embeddings(
        self, images: Split | np.ndarray | ImageFiles
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the features and the embeddings of images in inference mode, float32 `(n, d)` each.

        For a method without separate embeddings, the embeddings are the features.
        """
        pixels = images.images if isinstance(images, Split) else images
        features, embeddings = self._features_and_embeddings.predict(pixels[:], batch_size=256, verbose=0)
        return features.astype("float32"), embeddings.astype("float32")

    def _batches(self, x: Any, batch_size: int, seed: int) -> Any:
        """Return checked batches of images without labels; if `x` consists of batches, return `x`."""
        if is_batches(x):
            first = _first_images(x)
            self._check(first, len(first))
            return x
        images = x.images if isinstance(x, Split) else x
        if isinstance(images, tuple | list | dict) or not hasattr(images, "shape"):
            raise DataError(
                f"fit was given {type(x).__name__}; expected images without labels: an array, a split, or "
                "batches of a tf.data.Dataset or a PyDataset."
            )
        if len(images) < max(self.objective.fewest, 2):
            raise DataError(
                f"{len(images)} images are too few for training without labels; use hundreds or more."
            )
        self._check(images, batch_size)
        if len(images) < batch_size:
            raise DataError(
                f"{len(images)} images are fewer than a batch of {batch_size}. Use batch_size={len(images)} "
                "or less, or more images."
            )
        return Batches(images, None, batch_size, True, seed, whole=True)

    def _check(self, images: Any, batch_size: int) -> None:
        expected, shape = tuple(self.backbone.inputs[0].shape[1:]), tuple(images.shape[1:])
        if not fits(shape, expected):
            raise DataError(
                f"Images of shape {shape} were given, but {self.backbone.name} takes {expected}. Load them "
                f"with image_size={expected[0]}, or build the backbone for their size."
            )
        fewest = self.objective.fewest
        if batch_size < fewest:
            raise DataError(
                f"batch_size={batch_size} was given, but {type(self.objective).__name__} compares the images "
                f"of a batch with each other and needs at least {fewest}; use 64 or more."
            )


def _first_images(batches: Any) -> np.ndarray:
    """Return the images of the first batch; raise DataError unless batches contain images only."""
    check_finite(batches, "The data set")
    batch = batches[0] if isinstance(batches, keras.utils.PyDataset) else next(iter(batches), None)
    if isinstance(batch, tuple | list) and len(batch) == 1:
        batch = batch[0]
    if batch is None or isinstance(batch, tuple | list | dict):
        what = "no batch" if batch is None else f"a {type(batch).__name__} of {len(batch)}"
        raise DataError(
            f"The data set yields {what}; expected batches of images without labels. Use "
            ".map(lambda images, labels: images) of a tf.data.Dataset, or labels=False of Split.batches."
        )
    images = keras.ops.convert_to_numpy(batch)
    if images.ndim == 3:
        raise DataError(
            f"The data set yields single images of shape {images.shape}; expected batches of images: "
            "data.batch(128, drop_remainder=True)."
        )
    return images


class _SeededEpochs(keras.callbacks.Callback):
    """Seed all random numbers of an epoch by the seed of the training and the number of the epoch."""

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
