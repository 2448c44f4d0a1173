"""LogME: rank pretrained networks for your images without training.

Each network extracts the features of the images once. Its score is the log evidence of the labels given
these features. Compare scores only on the same images. A score is a forecast, so train the best two or three.

You, Liu, Wang & Long 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning".
"""

from typing import Any

import keras
import numpy as np
from keras import applications

DATA = "path/of/folder"  # one sub-folder for each class
CANDIDATES: dict[str, tuple[Any, Any, str | None]] = {
    # name: (network, its preprocessing, weights: "imagenet", the path of a weights file, or None for random)
    # Offline: `tlkit.load_backbone("EfficientNetLite0", image_size=224).save("lite0.keras")`, then the
    # row "EfficientNetLite0": (None, None, "lite0.keras"), because this file includes its preprocessing.
    "EfficientNetV2B0": (
        applications.EfficientNetV2B0,
        applications.efficientnet_v2.preprocess_input,
        "imagenet",
    ),
    "MobileNetV2": (applications.MobileNetV2, applications.mobilenet_v2.preprocess_input, "imagenet"),
    "ResNet50V2": (applications.ResNet50V2, applications.resnet_v2.preprocess_input, "imagenet"),
    "DenseNet121": (applications.DenseNet121, applications.densenet.preprocess_input, "imagenet"),
    "random": (applications.MobileNetV2, applications.mobilenet_v2.preprocess_input, None),  # the baseline
}
IMAGE_SIZE = 224
BATCH_SIZE = 32
IMAGES = 1000  # at most; each takes 0.6 MB of memory
SEED = 0


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the log maximum evidence of labels `(n,)` given features `(n, d)`, per example and class.

    The one-hot labels of each class are modelled as `y = F w + noise`, with `w ~ N(0, 1 / alpha)` and noise
    `N(0, 1 / beta)`. The weights are integrated out, so more dimensions alone do not raise the evidence. The
    loop finds the alpha and beta that maximise the evidence, by fixed-point iteration.
    """
    n, d = features.shape
    u, s, _ = np.linalg.svd(features.astype("float64") / np.abs(features).max(), full_matrices=False)
    s = np.maximum(s**2, 1e-12 * s[0] ** 2)  # eigenvalues of F'F; the other d - len(s) are 0
    evidences = []
    for class_index in np.unique(labels):
        y = (labels == class_index).astype("float64")
        along = (u.T @ y) ** 2
        outside = max(y @ y - along.sum(), 0.0)  # the part that no weights can explain
        alpha = beta = 1.0
        for _ in range(200):
            ratio = alpha / beta
            gamma = (s / (s + ratio)).sum()  # dimensions that the labels determine
            length = (s * along / (s + ratio) ** 2).sum()  # |w|^2 and |F w - y|^2 at the best w
            residual = (along * (ratio / (s + ratio)) ** 2).sum() + outside
            alpha, beta = gamma / max(length, 1e-12), (n - gamma) / max(residual, 1e-12)
            if abs(alpha / beta - ratio) <= 1e-6 * ratio:
                break
        evidence = d * np.log(alpha) + n * np.log(beta) - beta * residual - alpha * length
        evidence -= np.log(alpha + beta * s).sum() + (d - len(s)) * np.log(alpha) + n * np.log(2 * np.pi)
        evidences.append(evidence / (2 * n))
    return float(np.mean(evidences))


def main() -> None:
    """Score every candidate on the same images, and print the scores, the best first."""
    keras.utils.set_random_seed(SEED)
    dataset = keras.utils.image_dataset_from_directory(
        DATA, image_size=(IMAGE_SIZE, IMAGE_SIZE), batch_size=BATCH_SIZE, seed=SEED
    )
    batches = dataset.take(-(-IMAGES // BATCH_SIZE)).as_numpy_iterator()  # the files were shuffled first
    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))

    scores = {}
    for name, (network, preprocess, weights) in CANDIDATES.items():
        pixels = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
        if str(weights).endswith(".keras"):  # a whole network, up to its feature maps
            features = keras.layers.GlobalAveragePooling2D()(keras.models.load_model(weights)(pixels))
        else:
            shape = pixels.shape[1:]
            backbone = network(include_top=False, weights=weights, input_shape=shape, pooling="avg")
            features = backbone(preprocess(pixels))
        extractor = keras.Model(pixels, features)
        scores[name] = logme(extractor.predict(images, BATCH_SIZE, verbose=0), labels)
        keras.backend.clear_session()  # frees memory for the next network
    print(f"LogME on {len(images)} images (higher is better)")
    for name in sorted(scores, key=scores.__getitem__, reverse=True):
        print(f"{scores[name]:8.3f}  {name}")


if __name__ == "__main__":
    main()
