"""From files to the network: tlkit beside Keras's and PyTorch's loaders, extraction from files, and memory.

    .venv/bin/python benchmarks/speed/input_pipeline.py

The files are JPEGs of 500 x 375 pixels, quality 90: photos of scikit-image and scikit-learn, cropped at
random. Every side makes batches of 32 images of 224 pixels, the centre of the file, in random order. The
batches of tlkit and Keras go through `fit` of a model with next to nothing in it. Those of PyTorch go through
an empty loop, and so do tlkit's once more ("batches alone"), which is the comparison like for like.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

os.environ["TLKIT_CACHE"] = tempfile.mkdtemp()  # nothing is kept from an earlier run
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import psutil
from measuring import Comparison, Peer, Report, absent, main, take_turns
from tqdm import tqdm

SIZE, BATCH, FILES = 224, 32, 1000
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
TORCH = Path(__file__).parent / "peers" / "torch_loader.py"
OURS, ALONE = "tlkit", "tlkit, batches alone"
# Both resize bilinearly with antialiasing, as tlkit does; see peers/torch_loader.py.
IMAGES, TENSORS = "torch", "torch, tensors"
FROM_FILES, FROM_MEMORY, DECODING = "from files", "from memory", "decoding alone"
FLAT = 1.15  # of the memory with the fewest files


def measure(full: bool) -> Report:
    report = Report("Input: files decoded, resized and cropped on their way to the network")
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch, "photos")
        write_photos(photos / "train", FILES)
        loading(report, f"{FILES:,} JPEG photos", photos)
        if full:
            emoji = Path(scratch, "emoji")
            loading(report, f"{write_emoji(emoji / 'train'):,} PNG drawings", emoji)
        extraction(report, photos, 1000 if full else 300)
        memory(report, photos, (1_000, 10_000, 100_000) if full else (1_000, 10_000))
    return report


def loading(report: Report, kind: str, folder: Path) -> None:
    """Each side goes over the files once a round: seconds, and processor seconds."""
    import keras

    import tlkit
    from tlkit.data import ImageFiles

    split = tlkit.load(str(folder), image_size=SIZE, in_memory=False, validation=0, test=0).train
    used: dict[str, list[float]] = {}
    pixels: dict[str, np.ndarray] = {}
    jobs: dict[str, Callable[[], Any]] = {
        OURS: through_fit(split.batches(BATCH, shuffle=True)),
        ALONE: through_loop(split.batches(BATCH, shuffle=True)),
    }
    for name, crop in (("Keras", False), ("Keras, cropped", True)):
        options: dict[str, Any] = {"image_size": (SIZE, SIZE), "batch_size": BATCH, "verbose": False}
        make = keras.utils.image_dataset_from_directory
        jobs[name] = through_fit(make(folder / "train", crop_to_aspect_ratio=crop, **options).prefetch(-1))
        ordered = make(folder / "train", crop_to_aspect_ratio=crop, shuffle=False, **options)
        pixels[name] = next(ordered.as_numpy_iterator())[0]
        pixels[OURS] = ImageFiles(ordered.file_paths[:BATCH], SIZE)[:]
    with ExitStack() as stack:
        missing = absent("torch")
        report.missing |= missing
        for name, way in () if missing else ((IMAGES, "images"), (TENSORS, "tensors")):
            written = folder.with_name(f"{way}.npy")
            arguments = (str(folder / "train"), str(SIZE), way, str(written))
            jobs[name] = stack.enter_context(Peer("torch", TORCH, *arguments)).ask
            jobs[name]()  # has written the pixels
            pixels[name] = np.load(written)
        measured = {name: watched(job, used.setdefault(name, [])) for name, job in jobs.items()}
        seconds = take_turns(measured)
    compare(report, kind, len(split), seconds, used)
    apart = {
        name: np.abs(each - pixels[OURS].astype("float32")).mean()
        for name, each in pixels.items()
        if name != OURS
    }
    if max(apart.values()) > 40 or min(apart.values()) > 8:
        raise SystemExit(f"The sides do not make the same images: {apart} levels apart.")
    shown = ", ".join(f"{name} {each:.1f}" for name, each in apart.items())
    report.notes.append(
        f"{kind}: how far the pixels of each side lie from tlkit's, on average, of 255 levels: {shown}. "
        "tlkit and torch resample bilinearly with antialiasing. Keras takes four pixels and passes over the "
        "rest (aliasing), and squeezes what it does not crop."
    )
    if not missing:
        report.notes.append(beside_torch(kind, {name: np.array(each) for name, each in seconds.items()}))


def beside_torch(kind: str, seconds: dict[str, np.ndarray]) -> str:
    """Return the ratios to torchvision, whose filter is antialiased too."""

    def times(ours: str, theirs: str) -> str:
        return f"{median(seconds[theirs] / seconds[ours]):.2f}"

    return (
        f"{kind}: as batches alone, tlkit is {times(ALONE, IMAGES)} times as fast as torchvision's Resize of "
        f"Pillow images and {times(ALONE, TENSORS)} times as fast as its decode_image and "
        "Resize(antialias=True) of uint8 tensors; all three filters are bilinear with antialiasing. With fit "
        f"on tlkit's side alone, the ratios are {times(OURS, IMAGES)} and {times(OURS, TENSORS)}."
    )


def compare(
    report: Report, kind: str, n: int, seconds: dict[str, list[float]], used: dict[str, list[float]]
) -> None:
    rates = {name: [n / each for each in values] for name, values in seconds.items()}
    report.comparisons.append(Comparison(f"{kind}, to {SIZE} pixels", "images/s", OURS, rates, "more"))
    loops = {name: values for name, values in rates.items() if name in (ALONE, IMAGES, TENSORS)}
    title = f"{kind}, to {SIZE} pixels, batches alone"
    report.comparisons.append(Comparison(title, "images/s", ALONE, loops, "more"))
    spent = {name: [1000 * each / n for each in values] for name, values in used.items()}
    title = f"{kind}, processor time of an image"
    report.comparisons.append(Comparison(title, "ms", OURS, spent))
    title = f"{kind}, fraction of {CORES} cores kept busy"
    report.comparisons.append(Comparison(title, "%", OURS, busy(seconds, used), "more"))


def busy(seconds: dict[str, list[float]], used: dict[str, list[float]]) -> dict[str, list[float]]:
    return {
        name: [100 * a / (b * CORES) for a, b in zip(used[name], values, strict=True)]
        for name, values in seconds.items()
    }


def watched(job: Callable[[], Any], used: list[float]) -> Callable[[], float]:
    """Return the seconds of a job, and note its processor seconds; a peer says both itself."""
    this = psutil.Process()
    warm = False

    def run() -> float:
        nonlocal warm
        before, start = sum(this.cpu_times()[:2]), time.perf_counter()
        answer = job()
        seconds, spent = time.perf_counter() - start, sum(this.cpu_times()[:2]) - before
        if isinstance(answer, dict) and "processor" in answer:
            seconds, spent = answer["value"], answer["processor"]
        if warm:
            used.append(spent)
        warm = True
        return seconds

    return run


def through_fit(batches: Any) -> Callable[[], dict[str, float]]:
    """Return a job that gives the batches to a model with one small layer, in their own order, for an epoch.

    Its start is not counted: Keras looks at the first two batches, once for all epochs.
    """
    import keras

    pool = keras.layers.AveragePooling2D(SIZE // 2)
    layers = [keras.Input((SIZE, SIZE, 3)), pool, keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse", jit_compile=False)

    def fit() -> dict[str, float]:
        taken: list[tuple[float, float]] = []

        def note(*_: Any) -> None:
            taken.append((time.perf_counter(), sum(psutil.Process().cpu_times()[:2])))

        watch = keras.callbacks.LambdaCallback(on_epoch_begin=note, on_epoch_end=note)
        model.fit(batches, verbose=0, shuffle=False, callbacks=[watch])
        (start, before), (end, after) = taken
        return {"value": end - start, "processor": after - before}

    return fit


def through_loop(batches: Any) -> Callable[[], None]:
    """Return a job that asks for the batches of an epoch, one after the other, and does nothing with them."""

    def loop() -> None:
        for i in range(len(batches)):
            batches[i]
        batches.on_epoch_end()

    return loop


def extraction(report: Report, folder: Path, n: int) -> None:
    """Is decoding hidden while a network computes? If all cores are busy, it slows the network."""
    import tlkit

    network = tlkit.load_backbone("EfficientNetLite0", image_size=SIZE)
    split = tlkit.load(str(folder), image_size=SIZE, in_memory=False, validation=0, test=0).train
    files = split.images.take(np.arange(n))
    pixels = files[:]
    features = {
        name: tlkit.extract(network, images, keep=False)
        for name, images in ((FROM_FILES, files), (FROM_MEMORY, pixels))
    }
    np.testing.assert_array_equal(features[FROM_FILES], features[FROM_MEMORY])
    jobs: dict[str, Callable[[], Any]] = {
        FROM_FILES: lambda: tlkit.extract(network, files, keep=False),
        FROM_MEMORY: lambda: tlkit.extract(network, pixels, keep=False),
        DECODING: lambda: [len(block) for block in files.blocks(BATCH)],
    }
    used: dict[str, list[float]] = {}
    seconds = take_turns({name: watched(job, used.setdefault(name, [])) for name, job in jobs.items()})
    title = f"Features of {n:,} photos, EfficientNetLite0, {SIZE} pixels"
    report.comparisons.append(Comparison(title, "s", FROM_FILES, seconds))
    shares = Comparison(f"{title}: cores kept busy", "%", FROM_FILES, busy(seconds, used), "more")
    report.comparisons.append(shares)
    both = np.array(seconds[FROM_MEMORY]) + np.array(seconds[DECODING])
    ratio = median(np.array(seconds[FROM_FILES]) / both)
    report.notes.append(
        f"Extraction from files takes {ratio:.2f} times what extraction from memory and decoding take one "
        "after the other; each of the two keeps the cores busy by itself, so 1.00 leaves nothing to hide."
    )


def memory(report: Report, photos: Path, counts: tuple[int, ...]) -> None:
    """The most memory that a process held which loaded n files and went over them once, as fit does."""
    taken: dict[str, list[float]] = {}
    files = sorted(photos.rglob("*.jpg"))
    for count in tqdm(counts, "memory", leave=False):
        with tempfile.TemporaryDirectory(dir=photos.parent) as folder:
            for i in range(count):
                original = files[i % len(files)]
                link = Path(folder, "train", original.parent.name, f"{i:06}.jpg")
                link.parent.mkdir(parents=True, exist_ok=True)
                link.hardlink_to(original)
            command = [sys.executable, __file__, "--hold", folder]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peak, held = answer.splitlines()[-1].split()
        taken[f"{count:,} files"] = [float(peak)]
    report.comparisons.append(
        Comparison(
            "Most memory of a process that loads files and trains on them", "MB", next(iter(taken)), taken
        )
    )
    growth = [values[0] / taken[next(iter(taken))][0] for values in taken.values()]
    verdict = "flat" if max(growth) <= FLAT else "not flat"
    report.notes.append(
        f"Memory is {verdict}: it grows {max(growth):.2f} times from {counts[0]:,} to {counts[-1]:,} files "
        f"(flat means up to {FLAT}), each measured once in a process of its own. An image that stays in its "
        f"file holds {float(held):.0f} bytes: its path, name, label and digest."
    )


def hold(folder: str) -> None:
    """Load a folder, go over it once; print the most megabytes held, and the bytes held for each image."""
    import tlkit

    split = tlkit.load(folder, image_size=SIZE, in_memory=False, validation=0, test=0).train
    through_fit(split.batches(BATCH, shuffle=True))()
    texts = sum(sys.getsizeof(each) for each in [*split.images.paths, *split.images.digests])
    held = split.names.nbytes + split.labels.nbytes + texts + 2 * 8 * len(split)
    # not getrusage, which a child inherits from its parent
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) / 1024, held / len(split))


def write_photos(folder: Path, n: int) -> None:
    """Write n JPEGs of 500 x 375 or 375 x 500 pixels, crops of real photos."""
    import skimage
    from PIL import Image
    from sklearn.datasets import load_sample_images

    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg", "motorcycle_left.png")
    found = [Path(skimage.__file__).parent / "data" / name for name in names]
    photos = [Image.open(path).convert("RGB") for path in found]
    photos += [Image.fromarray(each) for each in load_sample_images().images]
    rng = np.random.default_rng(0)
    for i in tqdm(range(n), "writing photos", leave=False):
        photo, size = photos[i % len(photos)], (500, 375) if i % 4 else (375, 500)
        scale = rng.uniform(0.5, 1) * min(photo.width / size[0], photo.height / size[1])
        width, height = (scale * side for side in size)
        left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
        path = folder / str(i % 10) / f"{i:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        box = (left, top, left + width, top + height)
        photo.resize(size, Image.Resampling.BICUBIC, box).save(path, quality=90)


def write_emoji(folder: Path) -> int:
    """Write the emoji as PNGs of 375 pixels; return how many."""
    from PIL import Image

    import tlkit

    data = tlkit.load("emoji/twemoji", image_size=375)
    splits = data.splits.values()
    for i, (pixels, label) in enumerate(
        (x, y) for s in splits for x, y in zip(s.images, s.labels, strict=True)
    ):
        path = folder / data.class_names[label] / f"{i:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return i + 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--hold"]:
        hold(sys.argv[2])
    else:
        main(measure)
