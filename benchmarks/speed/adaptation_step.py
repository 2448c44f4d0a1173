"""What a training step of each method of domain adaptation costs over a plain supervised one.

    .venv/bin/python benchmarks/adaptation_step.py

LeNet on 64 source and 64 target digits; the plain step learns from as many images with labels. All take turns
in this one process, so what slows the machine slows all. Closed-form CORAL, AdaBN, TENT and the weighting
methods have no step of their own kind and are left out.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
ROUNDS, STEPS, BATCH = 25, 8, 64
WITHOUT = ("coral-closed", "adabn", "tent", "kliep", "ratio")


def main() -> None:
    import numpy as np
    from tqdm import tqdm

    import tlkit
    from tlkit.techniques.domain_adaptation.methods import METHODS

    source, target = (tlkit.load(f"digits/{name}").train for name in ("mnist", "optical"))
    domains = {"source": source.images[:BATCH], "target": target.images[:BATCH]}
    labels = source.labels[:BATCH]
    together = np.concatenate(list(domains.values())), np.concatenate([labels, target.labels[:BATCH]])
    jobs = {"plain": partial(network().train_on_batch, *together)}
    for method in METHODS:
        if method.name not in WITHOUT:
            jobs[method.name] = partial(network(method).train_on_batch, domains, labels)
    for job in jobs.values():
        job()  # builds the graph
    rounds = [[timed(job) for job in jobs.values()] for _ in tqdm(range(ROUNDS), unit="round")]
    ratios = np.array(rounds) / np.array(rounds)[:, :1]
    print(f"plain step {1000 * np.median(np.array(rounds)[:, 0]) / STEPS:.1f} ms; over it, with quartiles:")
    for name, column in zip(jobs, ratios.T, strict=True):
        low, middle, high = np.quantile(column, [0.25, 0.5, 0.75])
        print(f"  {name:13} {middle:5.2f}   ({low:.2f} to {high:.2f})")


def network(method: Any = None) -> Any:
    from tlkit import DomainAdapter, build_classifier

    model = build_classifier("LeNet", 10, weights=None, dropout=0.0)
    trained = model if method is None else DomainAdapter(model, method.build())
    trained.compile("adam", loss="sparse_categorical_crossentropy")
    return trained


def timed(job: Callable[[], Any]) -> float:
    start = time.perf_counter()
    for _ in range(STEPS):
        job()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
