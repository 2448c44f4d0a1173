"""Domain adaptation: DANN and Deep CORAL by tlkit, by ADAPT, and by a loop written by hand.

From end to end (LeNet, MNIST to optical digits), and on kept features (EfficientNetLite0, emoji of two
styles). The losses of the first steps of tlkit and the loop agree, or this stops. ADAPT trains the same
network as its own documentation does. Target labels serve evaluation alone.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
from measuring import Comparison, Peer, Report, absent, main, take_turns
from peers.adaptation_tensorflow import TensorFlowLoop
from peers.sides import FIRST, Tlkit, write

import tlkit

HERE = Path(__file__).parent / "peers"
OURS, LOOP, ADAPT = "tlkit", "tf.function loop", "ADAPT 0.4.5"
METHODS = {"dann": "DANN", "coral": "Deep CORAL"}
DIGITS, FEATURES = "LeNet on digits, end to end", "a head on kept features"
TOLERANCE = 1e-4  # of the losses of the first steps
SHORT_STEPS = ("dann", "coral", "jan")
WITHOUT = ("coral-closed", "adabn", "kliep")  # these have no step of their own kind
STEPS, BATCH = 8, 64

Examples = tuple[np.ndarray, np.ndarray]


def measure(full: bool) -> Report:
    report = Report("Domain adaptation beside its peers", missing=absent("adapt"))
    apart = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, domains in ((DIGITS, digits()), (FEATURES, emoji())):
            epochs = {DIGITS: 15 if full else 2, FEATURES: 40 if full else 4}[kind]
            used = domains if full or kind == FEATURES else [(x[:1000], y[:1000]) for x, y in domains]
            given = str(Path(folder, "given.npz"))
            write(given, *used)
            apart += [compare(report, kind, method, given, epochs) for method in METHODS]
    report.comparisons.append(step_costs(full))
    report.notes.append(
        f"From the same weights and batches the losses of the first {FIRST} steps of tlkit and of the loop "
        f"are at most {max(apart):.0e} of their size apart."
    )
    return report


def digits() -> list[Examples]:
    """2,000 images of MNIST, and all 1,797 optical digits."""
    source, target = tlkit.load("digits/mnist").train, tlkit.load("digits/optical").splits.values()
    images, labels = (
        np.concatenate([getattr(split, name)[:] for split in target]) for name in ("images", "labels")
    )
    return [(source.images[:2000], source.labels[:2000]), (images, labels)]


def emoji() -> list[Examples]:
    """Features of Twemoji and OpenMoji of 64 pixels."""
    backbone, found = tlkit.load_backbone("EfficientNetLite0", image_size=64), []
    for style in ("twemoji", "openmoji"):
        splits = tlkit.load(f"emoji/{style}", image_size=64).splits.values()
        features = np.concatenate([tlkit.extract(backbone, split) for split in splits])
        found.append((features, np.concatenate([split.labels for split in splits])))
    return found


def compare(report: Report, kind: str, method: str, given: str, epochs: int) -> float:
    """tlkit, the loop and ADAPT take turns; a round is a seed."""
    with ExitStack() as stack:
        sides = {OURS: Tlkit(method, given, epochs), LOOP: TensorFlowLoop(method, given, epochs)}
        apart = agree({name: side.first_losses() for name, side in sides.items()})
        runs: dict[str, Callable[[], dict[str, Any]]] = {
            name: partial(run_next, side, iter(range(10**6))) for name, side in sides.items()
        }
        if "adapt" not in report.missing:
            peer = stack.enter_context(Peer("adapt", HERE / "adapt_library.py", method, given, str(epochs)))
            runs[ADAPT] = peer.ask
        title = f"{METHODS[method]}, {kind}, {sizes(given)}, {epochs} epochs"
        report.comparisons += turns(title, runs)
    return apart


def sizes(given: str) -> str:
    with np.load(given) as file:
        return f"{len(file['ys']):,} to {len(file['yt']):,}"


def run_next(side: Any, seeds: Iterator[int]) -> dict[str, Any]:
    return side.run(next(seeds))


def turns(title: str, runs: dict[str, Callable[[], dict[str, Any]]]) -> list[Comparison]:
    """Return the seconds an epoch and the target accuracies; the loop has learned as well as tlkit."""
    accuracy: dict[str, list[float]] = {name: [] for name in runs}

    def job(name: str) -> float:
        said = runs[name]()
        accuracy[name].append(said["accuracy"])
        return said["value"]

    seconds = take_turns({name: partial(job, name) for name in runs})
    accuracy = {name: values[1:] for name, values in accuracy.items()}  # without the round that warms up
    one, other = (np.array(accuracy[name]) for name in (OURS, LOOP))
    spread = np.hypot(one.std(ddof=1), other.std(ddof=1))
    assert abs(one.mean() - other.mean()) <= max(2 * spread, 2.0), f"{title}: not the same accuracy"
    return [
        Comparison(f"{title}: an epoch", "s", OURS, seconds),
        Comparison(f"{title}: target accuracy", "%", OURS, accuracy, better="more"),
    ]


def agree(losses: dict[str, list[float]]) -> float:
    """Return how far the losses of the first steps are from those of tlkit, or stop where it is too far."""
    for name, values in losses.items():
        np.testing.assert_allclose(values, losses[OURS], rtol=TOLERANCE, err_msg=f"first losses of {name}")
    ratios = np.array(list(losses.values())) / losses[OURS]
    return float(np.abs(ratios - 1).max())


def step_costs(full: bool) -> Comparison:
    """What a step of each method costs over a plain supervised one of as many images."""
    from tlkit.techniques.domain_adaptation.methods import METHODS as ALL

    source, target = (tlkit.load(f"digits/{name}").train for name in ("mnist", "optical"))
    domains = {"source": source.images[:BATCH], "target": target.images[:BATCH]}
    labels = source.labels[:BATCH]
    together = np.concatenate(list(domains.values())), np.concatenate([labels, target.labels[:BATCH]])

    def network(method: Any = None) -> Any:
        model = tlkit.build_classifier("LeNet", 10, weights=None, dropout=0.0)
        trained = model if method is None else tlkit.DomainAdapter(model, method.build())
        trained.compile("adam", loss="sparse_categorical_crossentropy")
        return trained

    def step(job: Callable[[], Any]) -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            job()
        return 1000 * (time.perf_counter() - start) / STEPS

    chosen = [m for m in ALL if m.name not in WITHOUT and (full or m.name in SHORT_STEPS)]
    jobs = {"plain": partial(step, partial(network().train_on_batch, *together))}
    jobs |= {m.name: partial(step, partial(network(m).train_on_batch, domains, labels)) for m in chosen}
    title = f"A step on {BATCH} source and {BATCH} target digits, LeNet; plain: with labels for all"
    return Comparison(title, "ms", "plain", take_turns(jobs, 25 if full else 5))


if __name__ == "__main__":
    main(measure)
