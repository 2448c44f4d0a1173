"""Many workers: train one network on several machines with TensorFlow.

Start the script on every machine with the number of the machine, from 0: `python many_workers.py 0`. Every
machine needs the whole folder and processes a part of each batch. The machines average their gradients in
every step, so all end with the same weights: those of a training on one machine, except for dropout and
rounding. The first machine saves the model.

Goyal et al. 2017, "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour": the learning rate for
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

DATA = "path/of/folder"  # one sub-folder for each class
OUT = "model.keras"
MACHINES = ["localhost:12301", "localhost:12302"]  # addresses with a free port; ignored if TF_CONFIG is set
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None for random weights
# Offline: run `tlkit.load_backbone("EfficientNetLite0", image_size=224).save("backbone.keras")` once and set
# WEIGHTS = "backbone.keras". This file replaces BACKBONE and PREPROCESS: it includes its preprocessing.
IMAGE_SIZE = 224
BATCH_SIZE = 64  # of all machines together
EPOCHS, LEARNING_RATE = 20, 1e-4
SEED = 0  # the same on all machines, so that they shuffle the images in the same order


class Workers(tf.distribute.MultiWorkerMirroredStrategy):
    """A strategy with which `fit` of Keras 3 works on more than one worker.

    Keras averages its first batch over the workers, only to find its shape. It also averages the loss and the
    metrics of each step along an axis that scalars do not have. See issue 20585 of Keras.
    """

    def reduce(self, reduce_op: Any, value: Any, axis: int | None) -> Any:
        """Average a value over the workers; return the local part of a batch."""
        if tf.nest.is_nested(value):
            return tf.nest.map_structure(lambda part: self.experimental_local_results(part)[0], value)
        scalar = self.experimental_local_results(value)[0].shape.rank == 0
        return super().reduce(reduce_op, value, None if scalar else axis)


def load_splits() -> tuple[Any, Any, Any, list[str]]:
    """Return batches for training (70 %), for validation (15 %), for the test (15 %), and the class names.

    The validation images decide when to stop; the test images are only reported. The files are drawn at
    random by SEED, and each is in one split. The splits are not stratified.
    """
    train, held_out = keras.utils.image_dataset_from_directory(
        DATA,
        image_size=(IMAGE_SIZE, IMAGE_SIZE),
        batch_size=None,
        validation_split=0.3,
        subset="both",
        seed=SEED,
    )
    half = len(held_out) // 2  # always the same images, because Keras shuffles only `train` in each epoch
    parts = train, held_out.take(half), held_out.skip(half)
    return *(part.batch(BATCH_SIZE).prefetch(2) for part in parts), train.class_names


def apply_backbone(images: Any) -> tuple[Any, keras.Model]:
    """Return the features `(n, d)` of raw pixels (0 to 255), and the backbone that extracts them."""
    if str(WEIGHTS).endswith(".keras"):  # a whole network, up to its feature maps
        backbone = keras.models.load_model(WEIGHTS)
        return keras.layers.GlobalAveragePooling2D()(backbone(images)), backbone
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    return backbone(PREPROCESS(images)), backbone


def build(classes: int) -> keras.Model:
    """Return the classifier, from raw pixels (0 to 255) to probabilities."""
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")
    features, backbone = apply_backbone(images)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # else each machine would normalise its own part of a batch
    features = keras.layers.Dropout(0.2)(features)
    outputs = keras.layers.Dense(classes, activation="softmax", name="head")(features)
    return keras.Model(images, outputs)


def predict(path: str) -> None:
    """Print the most probable class of an image file, by the saved model."""
    model = keras.models.load_model(OUT)
    class_names = json.loads(Path(OUT).with_suffix(".classes.json").read_text("utf-8"))
    pixels = keras.utils.img_to_array(keras.utils.load_img(path))
    pixels = keras.ops.image.resize(pixels, model.input_shape[1:3])  # bilinear, as in training
    probabilities = model.predict(pixels[None], verbose=0)[0]
    best = probabilities.argmax()
    print(f"{path}: {class_names[best]} ({probabilities[best]:.1%})")


def main() -> None:
    """Train on all machines, and save the model on the first one."""
    if "TF_CONFIG" not in os.environ:
        task = {"type": "worker", "index": int(sys.argv[1])}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": MACHINES}, "task": task})
    strategy = Workers()  # before any other use of TensorFlow; waits for the other machines
    keras.utils.set_random_seed(SEED)
    train, validation, test, class_names = load_splits()
    with strategy.scope():
        model = build(len(class_names))
        optimizer = keras.optimizers.Adam(LEARNING_RATE)
        model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    first = strategy.cluster_resolver.task_id == 0
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    options = {"epochs": EPOCHS, "callbacks": [stop], "verbose": 2 if first else 0}
    model.fit(train, validation_data=validation, **options)

    _, accuracy = model.evaluate(test, verbose=0)  # evaluating and saving need every machine
    with tempfile.TemporaryDirectory() as folder:
        model.save(OUT if first else Path(folder) / "model.keras")
    if first:
        Path(OUT).with_suffix(".classes.json").write_text(json.dumps(class_names), "utf-8")
        images_tested = sum(len(labels) for _, labels in test)
        print(f"{OUT}: test accuracy {accuracy:.1%} on {images_tested} images")
        print(f"classes {', '.join(class_names)}")


if __name__ == "__main__":
    # `python THIS_FILE image.jpg` predicts; a number starts a machine
    predict(sys.argv[1]) if sys.argv[1:] and not sys.argv[1].isdigit() else main()
