"""Figures of domain adaptation: features of both domains, discriminator accuracy, and gain per class."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from tlkit.plots.style import PALETTE, axes_or_new, lighten, shortened

ITERATIONS = 500  # on 1,000 digits, twice as many preserve no more neighbours
DOMAINS = {"source": (PALETTE["blue"], "o"), "target": (PALETTE["vermillion"], "^")}


def domains(
    source: np.ndarray,
    target: np.ndarray,
    source_labels: np.ndarray | None = None,
    target_labels: np.ndarray | None = None,
    axes: Any = None,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Draw the features of two domains in two dimensions by t-SNE, coloured by domain and by class.

    t-SNE preserves neighbours. The sizes of clusters and the distances between them have no meaning.
    Van der Maaten & Hinton 2008, "Visualizing Data using t-SNE".

    Args:
        source, target: features `(n, d)` and `(m, d)`; a few hundred of each are enough.
        source_labels, target_labels: int class indices `(n,)` and `(m,)`; examples without labels are grey.
            Without any labels there is no plot by class.
        axes: one or two axes, for the plots by domain and by class.
        seed: random seed for t-SNE.

    Returns:
        The axes, as an array.

    >>> rng = np.random.default_rng(0)
    >>> domains(rng.normal(size=(30, 4)), rng.normal(size=(20, 4))).shape
    (1,)
    """
    both = np.concatenate([source, target])
    perplexity = min(30.0, (len(both) - 1) / 3)
    with threadpool_limits(1):  # with few points, threads only add overhead
        embedding = TSNE(perplexity=perplexity, init="pca", random_state=seed, max_iter=ITERATIONS)
        points = embedding.fit_transform(both)
    points_of = {"source": points[: len(source)], "target": points[len(source) :]}
    labels = {"source": source_labels, "target": target_labels}
    by_class = any(each is not None for each in labels.values())
    if axes is None:
        columns = 1 + by_class
        _, axes = plt.subplots(1, columns, figsize=(4 * columns, 3.6), layout="constrained")
    axes = np.atleast_1d(axes)
    for name, (color, marker) in DOMAINS.items():
        style = {"marker": marker, "s": 14, "linewidths": 0}
        axes[0].scatter(*points_of[name].T, color=color, alpha=0.6, label=name, **style)
        if len(axes) > 1:
            classes = labels[name]
            if classes is None:
                axes[1].scatter(*points_of[name].T, color=PALETTE["light"], **style)
            else:
                axes[1].scatter(*points_of[name].T, c=classes, cmap="tab20", vmin=0, vmax=19, **style)
    axes[0].legend(frameon=False, fontsize=9, markerscale=1.6)
    for ax, title in zip(axes, ("by domain", "by class"), strict=False):
        ax.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2")
        ax.set_title(title, fontsize=10)
        lighten(ax)
    return axes


def discriminator(history: Any, ax: Axes | None = None) -> Axes:
    """Draw the accuracy of the domain discriminator per epoch, with a line at chance.

    Args:
        history: Keras's `History` from training with an adversarial method, or its `history` dictionary.
        ax: axes to draw on; new ones by default.

    >>> discriminator({"discriminator_accuracy": [0.9, 0.7, 0.6]}).get_ylabel()
    'discriminator accuracy'
    """
    values = getattr(history, "history", history)["discriminator_accuracy"]
    ax = axes_or_new(ax, (5, 3.2))
    ax.plot(
        range(1, len(values) + 1), values, color=PALETTE["blue"], marker="o" if len(values) < 12 else None
    )
    ax.axhline(0.5, color=PALETTE["grey"], linestyle="--", linewidth=1)
    ax.text(0.6, 0.49, "chance", ha="left", va="top", fontsize=9, color="#444444")
    ax.set(xlabel="epoch", ylabel="discriminator accuracy", ylim=(0, 1.02), xlim=(0.5, len(values) + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    lighten(ax)
    return ax


def class_gains(
    labels: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    class_names: Sequence[str],
    ax: Axes | None = None,
) -> Axes:
    """Draw the change in recall of each class, sorted; bars left of zero are negative transfer.

    Args:
        labels: int `(n,)` true classes of the target images.
        before, after: int `(n,)` predicted classes, without and with adaptation.
        class_names: names of the classes, by index.
        ax: axes to draw on; new ones by default.

    >>> class_gains(np.array([0, 1]), np.array([1, 1]), np.array([0, 0]), ["cat", "dog"]).get_xlabel()
    'change in recall'
    """
    present = np.unique(labels)
    change = np.array(
        [np.mean((after == labels)[labels == k]) - np.mean((before == labels)[labels == k]) for k in present]
    )
    order = np.argsort(-change, kind="stable")
    ax = axes_or_new(ax, (6, 1.0 + 0.26 * len(present)))
    colors = [PALETTE["green"] if value >= 0 else PALETTE["vermillion"] for value in change[order]]
    ax.barh(range(len(present)), change[order], color=colors, height=0.7)
    names = [shortened(class_names[k], 24) for k in present[order]]
    ax.set_yticks(range(len(present)), names, fontsize=8, parse_math=False)
    ax.axvline(0, color=PALETTE["grey"], linewidth=1)
    ax.invert_yaxis()
    ax.set(xlabel="change in recall")
    lighten(ax)
    return ax
