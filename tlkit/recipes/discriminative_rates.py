"""Discriminative rates: fine-tune all stages, the lower ones in smaller steps.

Low layers see edges and colours, which every task shares; high ones see what the old task asked for.

Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification".
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
EPOCHS, LEARNING_RATE = 20, 3e-4
STAGES = 5  # the backbone's layers in so many groups
DECAY = 0.4  # each stage takes this share of the step of the stage above it; 2.6 times less in the paper
SEED = 0


class ScaledAdam(keras.optimizers.Adam):
    """Adam with a share of the step for each variable, by its path; 1 where none is given.

    The step is scaled, not the gradient: Adam divides each gradient by its own running size, so a smaller
    gradient makes the same step.
    """

    def __init__(self, learning_rate: float, shares: dict[str, float]) -> None:
        super().__init__(learning_rate)
        self.shares = shares

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        path = self._trainable_variables[self._get_variable_index(variable)].path
        super().update_step(gradient, variable, learning_rate * self.shares.get(path, 1.0))


def depth_shares(backbone: keras.Model, stages: int, decay: float) -> dict[str, float]:
    """Share of the step for each variable: `decay` in the top stage, `decay ** stages` in the lowest."""
    shares: dict[str, float] = {}
    for position, layer in enumerate(backbone.layers):
        stage = stages * position // len(backbone.layers)  # 0 is the lowest
        shares |= {variable.path: decay ** (stages - stage) for variable in layer.trainable_variables}
    return shares


def main() -> None:
    """Train the head, then all stages, and keep the model."""
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
    judged: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}

    backbone.trainable = False  # the head first: while it is random, it would spoil the features
    model.compile(keras.optimizers.Adam(HEAD_RATE), **judged)
    model.fit(train, validation_data=validation, epochs=HEAD_EPOCHS, verbose=2)

    backbone.trainable = True
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # goes on with the statistics of the many images of before
    model.compile(ScaledAdam(LEARNING_RATE, depth_shares(backbone, STAGES, DECAY)), **judged)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    model.fit(train, validation_data=validation, epochs=EPOCHS, callbacks=[stop], verbose=2)

    _, accuracy = model.evaluate(validation, verbose=0)
    keras.Model(images, outputs).save(OUT)  # without the optimizer: the file opens where its class is not
    print(f"{OUT}: validation accuracy {accuracy:.1%}; classes {', '.join(train.class_names)}")


if __name__ == "__main__":
    main()
