"""PyTorch's DataLoader with torchvision over a folder of images: the peer of `input_pipeline.py`.

    .peers/torch/bin/python benchmarks/speed/peers/torch_loader.py FOLDER SIZE images|tensors WRITTEN

Both ways resize bilinearly with antialiasing. `images` is torchvision's usual way: Pillow decodes and
resizes. `tensors` is its fastest way: torchvision decodes to a uint8 tensor and resizes that. The script
writes the pixels of the first batch in the order of the paths, to be compared.
"""

import os
import sys
import time

import numpy as np
import psutil
import torch
from measuring import serve
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import pil_loader
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

BATCH = 32


def tensor_loader(path: str) -> torch.Tensor:
    return decode_image(path, ImageReadMode.RGB)


if __name__ == "__main__":
    folder, size, way, written = sys.argv[1:]
    turn = v2.Compose([v2.Resize(int(size), antialias=True), v2.CenterCrop(int(size)), v2.PILToTensor()])
    files = ImageFolder(folder, turn, loader={"images": pil_loader, "tensors": tensor_loader}[way])
    np.save(written, np.stack([files[i][0].numpy().transpose(1, 2, 0) for i in range(BATCH)]))
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    loader = DataLoader(files, BATCH, shuffle=True, num_workers=workers, persistent_workers=True)

    def used() -> float:
        this = psutil.Process()
        return sum(sum(each.cpu_times()[:2]) for each in [this, *this.children()])

    def once() -> dict[str, float]:
        before, start = used(), time.perf_counter()
        seen = sum(len(images) for images, _ in loader)
        seconds = time.perf_counter() - start
        return {"value": seconds, "processor": used() - before, "seen": seen}

    serve(once)
