"""Fine-tuning: train a new head, then also the top layers, at a low learning rate.

The head is trained first, because the large gradients of a random head would destroy good features.

Yosinski et al. 2014, "How transferable are features in deep neural networks?"; Kumar et al. 2022,
"Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution".
"""

from typing import Any

import keras

DATA = "path/of/folder"  # one sub-folder for each class
OUT = "model.keras"
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None for random weights
IMAGE_SIZE = 224
BATCH_SIZE = 32
HEAD_EPOCHS, HEAD_RATE = 10, 1e-3
EPOCHS, LEARNING_RATE = 20, 1e-4  # a high learning rate would destroy the pretrained features
UNFROZEN = 0.3  # top fraction of the backbone's layers that is trained; use more with more images
FLIP = "horizontal"  # None for digits and letters
SEED = 0


def build(classes: int) -> tuple[keras.Model, keras.Model]:
    """Return the classifier, from raw pixels (0 to 255) to probabilities, and its backbone."""
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")
    x = images
    if FLIP:  # augmentation layers are active only in training
        x = keras.layers.RandomFlip(FLIP)(x)
    x = keras.layers.RandomRotation(0.03)(x)
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    features = keras.layers.Dropout(0.2)(backbone(PREPROCESS(x)))
    outputs = keras.layers.Dense(classes, activation="softmax", name="head")(features)
    return keras.Model(images, outputs), backbone


def unfreeze(backbone: keras.Model, fraction: float) -> None:
    """Make the top fraction of the layers (0 to 1) trainable, except BatchNormalization.

    Frozen BatchNormalization layers keep the statistics of the many pretraining images. Calling the backbone
    with `training=False` is not enough, because `fit` in Keras 3 overrides it with `training=True`.
    """
    backbone.trainable = True
    first = round(len(backbone.layers) * (1 - fraction))
    for position, layer in enumerate(backbone.layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = position >= first and not is_norm


def train_on(model: keras.Model, train: Any, validation: Any, rate: float, epochs: int) -> None:
    """Compile and fit the model; a change of `trainable` takes effect only at the next `compile`."""
    model.compile(keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    model.fit(train, validation_data=validation, epochs=epochs, callbacks=[stop], verbose=2)


def main() -> None:
    """Train the head, then the top of the network, and save the model."""
    keras.utils.set_random_seed(SEED)
    train, validation = keras.utils.image_dataset_from_directory(
        DATA,
        image_size=(IMAGE_SIZE, IMAGE_SIZE),
        batch_size=BATCH_SIZE,
        validation_split=0.2,
        subset="both",
        seed=SEED,
    )
    model, backbone = build(len(train.class_names))
    backbone.trainable = False
    train_on(model, train, validation, HEAD_RATE, HEAD_EPOCHS)
    unfreeze(backbone, UNFROZEN)
    train_on(model, train, validation, LEARNING_RATE, EPOCHS)

    model.save(OUT)
    _, accuracy = model.evaluate(validation, verbose=0)
    print(f"{OUT}: validation accuracy {accuracy:.1%}; classes {', '.join(train.class_names)}")


if __name__ == "__main__":
    main()
