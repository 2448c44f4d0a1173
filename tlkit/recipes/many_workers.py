"""Many workers: train one network on several machines.

They average their gradients in every step. Start it on each machine with the machine's number, the first of
which is 0: `python many_workers.py 0`. Every machine holds the whole folder and takes its share of each
batch. All end with the same weights, and but for dropout and rounding with those that one machine would
reach. The first one keeps the model. TensorFlow only.

Goyal et al. 2017, "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour": the step size for
large batches.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

DATA = "path/of/folder"  # one sub-folder a class
OUT = "model.keras"
MACHINES = ["localhost:12301", "localhost:12302"]  # a free port of each; unused where TF_CONFIG is set
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None: random
IMAGE_SIZE = 224
BATCH_SIZE = 64  # of all machines together
EPOCHS, LEARNING_RATE = 20, 1e-4
SEED = 0  # the same on all: each takes its share of the same order of the images


class Workers(tf.distribute.MultiWorkerMirroredStrategy):
    """The strategy as `fit` of Keras 3 needs it: without this, fit fails with more than one worker.

    Keras averages its first batch over the workers, only to see its shape, and then the loss and the metrics
    of each step along an axis that numbers do not have. See issue 20585 of Keras.
    """

    def reduce(self, reduce_op: Any, value: Any, axis: int | None) -> Any:
        """Average over the workers; of a whole batch return what is here."""
        if tf.nest.is_nested(value):
            return tf.nest.map_structure(lambda part: self.experimental_local_results(part)[0], value)
        number = self.experimental_local_results(value)[0].shape.rank == 0
        return super().reduce(reduce_op, value, None if number else axis)


def build(classes: int) -> keras.Model:
    """The classifier, from raw pixels, 0 to 255, to probabilities."""
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # else each machine would normalise by its own share of a batch
    features = keras.layers.Dropout(0.2)(backbone(PREPROCESS(images)))
    outputs = keras.layers.Dense(classes, activation="softmax", name="head")(features)
    return keras.Model(images, outputs)


def main() -> None:
    """Train on all machines, and keep the model on the first."""
    if "TF_CONFIG" not in os.environ:
        task = {"type": "worker", "index": int(sys.argv[1])}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": MACHINES}, "task": task})
    strategy = Workers()  # before all else of TensorFlow; waits for the other machines
    keras.utils.set_random_seed(SEED)
    train, validation = keras.utils.image_dataset_from_directory(
        DATA,
        image_size=(IMAGE_SIZE, IMAGE_SIZE),
        batch_size=BATCH_SIZE,
        validation_split=0.2,
        subset="both",
        seed=SEED,
    )
    with strategy.scope():
        model = build(len(train.class_names))
        optimizer = keras.optimizers.Adam(LEARNING_RATE)
        model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    first = strategy.cluster_resolver.task_id == 0
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    options = {"epochs": EPOCHS, "callbacks": [stop], "verbose": 2 if first else 0}
    model.fit(train, validation_data=validation, **options)

    _, accuracy = model.evaluate(validation, verbose=0)  # this and saving needs every machine
    with tempfile.TemporaryDirectory() as folder:
        model.save(OUT if first else Path(folder) / "model.keras")
    if first:
        print(f"{OUT}: validation accuracy {accuracy:.1%}; classes {', '.join(train.class_names)}")


if __name__ == "__main__":
    main()
