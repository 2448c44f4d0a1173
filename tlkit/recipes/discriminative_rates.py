"""Discriminative rates: fine-tune all stages, with smaller learning rates for lower stages.

Low layers respond to edges and colours, which are useful for every task. High layers respond to what the
pretraining task needed, so they have to change more.

Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification".
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
EPOCHS, LEARNING_RATE = 20, 3e-4
STAGES = 5  # number of groups of the backbone's layers
DECAY = 0.4  # learning rate of a stage, relative to the stage above it; the paper uses 1 / 2.6
SEED = 0


class ScaledAdam(keras.optimizers.Adam):
    """Adam that scales the learning rate of each variable, by its path; the default scale is 1.

    The learning rate is scaled, not the gradient: Adam divides each gradient by its running size, so that a
    smaller gradient makes the same update.
    """

    def __init__(self, learning_rate: float, scales: dict[str, float]) -> None:
        super().__init__(learning_rate)
        self.scales = scales

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        path = self._trainable_variables[self._get_variable_index(variable)].path
        super().update_step(gradient, variable, learning_rate * self.scales.get(path, 1.0))


def depth_scales(backbone: keras.Model, stages: int, decay: float) -> dict[str, float]:
    """Return the scale of each variable: from `decay` in the top stage to `decay ** stages` in the lowest."""
    scales: dict[str, float] = {}
    for position, layer in enumerate(backbone.layers):
        stage = stages * position // len(backbone.layers)  # 0 is the lowest
        scales |= {variable.path: decay ** (stages - stage) for variable in layer.trainable_variables}
    return scales


def main() -> None:
    """Train the head, then all stages, and save the model."""
    keras.utils.set_random_seed(SEED)
    train, validation = keras.utils.image_dataset_from_directory(
        DATA,
        image_size=(IMAGE_SIZE, IMAGE_SIZE),
        batch_size=BATCH_SIZE,
        validation_split=0.2,
        subset="both",
        seed=SEED,
    )
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")  # raw pixels, 0 to 255
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    features = keras.layers.Dropout(0.2)(backbone(PREPROCESS(images)))
    outputs = keras.layers.Dense(len(train.class_names), activation="softmax", name="head")(features)
    model = keras.Model(images, outputs)
    settings: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}

    backbone.trainable = False  # the head first: a random head would damage the features
    model.compile(keras.optimizers.Adam(HEAD_RATE), **settings)
    model.fit(train, validation_data=validation, epochs=HEAD_EPOCHS, verbose=2)

    backbone.trainable = True
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # keeps the statistics of the many pretraining images
    model.compile(ScaledAdam(LEARNING_RATE, depth_scales(backbone, STAGES, DECAY)), **settings)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    model.fit(train, validation_data=validation, epochs=EPOCHS, callbacks=[stop], verbose=2)

    _, accuracy = model.evaluate(validation, verbose=0)
    keras.Model(images, outputs).save(OUT)  # without ScaledAdam, so the file opens anywhere
    print(f"{OUT}: validation accuracy {accuracy:.1%}; classes {', '.join(train.class_names)}")


if __name__ == "__main__":
    main()
