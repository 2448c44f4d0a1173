"""Fine-tuning: train a new head, then the network's top with it in small steps.

The head comes first: while it is random, its large gradients would destroy good features.

Yosinski et al. 2014, "How transferable are features in deep neural networks?"; Kumar et al. 2022,
"Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution".
"""

from typing import Any

import keras

DATA = "path/of/folder"  # one sub-folder a class
OUT = "model.keras"
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None: random
IMAGE_SIZE = 224
BATCH_SIZE = 32
HEAD_EPOCHS, HEAD_RATE = 10, 1e-3
EPOCHS, LEARNING_RATE = 20, 1e-4  # large steps would forget what was learned before
UNFROZEN = 0.3  # the top share of the backbone's layers learns; more of them with more images
FLIP = "horizontal"  # None for digits and letters
SEED = 0


def build(classes: int) -> tuple[keras.Model, keras.Model]:
    """The classifier, from raw pixels, 0 to 255, to probabilities; and the backbone in it."""
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")
    x = images
    if FLIP:  # these layers act in training only
        x = keras.layers.RandomFlip(FLIP)(x)
    x = keras.layers.RandomRotation(0.03)(x)
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    features = keras.layers.Dropout(0.2)(backbone(PREPROCESS(x)))
    outputs = keras.layers.Dense(classes, activation="softmax", name="head")(features)
    return keras.Model(images, outputs), backbone


def unfreeze(backbone: keras.Model, share: float) -> None:
    """Let the top share of the layers learn, 0 to 1, but for BatchNormalization.

    Frozen, it goes on with the statistics of the many images of before. Calling the backbone with
    `training=False` would not do that: in Keras 3 the `training=True` of `fit` overrules it.
    """
    backbone.trainable = True
    first = round(len(backbone.layers) * (1 - share))
    for position, layer in enumerate(backbone.layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = position >= first and not is_norm


def train_on(model: keras.Model, train: Any, validation: Any, rate: float, epochs: int) -> None:
    """Compile and fit; what is trainable is fixed by `compile`, so it comes after every change of that."""
    model.compile(keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    model.fit(train, validation_data=validation, epochs=epochs, callbacks=[stop], verbose=2)


def main() -> None:
    """Train the head, then the top of the network, and keep the model."""
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
