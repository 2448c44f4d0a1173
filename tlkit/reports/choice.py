"""Sections on how a training was chosen: the strength of the head, and whether to fine-tune."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tlkit._internal.intervals import mean_interval
from tlkit.plots.style import PALETTE, lighten
from tlkit.reports.document import Block, Section, Text
from tlkit.reports.figures import figure
from tlkit.reports.words import counted, percent
from tlkit.techniques.robust_fine_tuning import RobustFineTuning


def head_section(losses: Mapping[float, float]) -> Section:
    """Return the section on C, the inverse regularisation strength of the head.

    Args:
        losses: the cross-validated log loss in nats by C.
    """
    best = min(losses, key=losses.__getitem__)

    def draw(axes: Axes) -> None:
        _line(axes, losses, best, "C (to the left: stronger regularisation)")
        axes.set_xscale("log")

    drawn = figure(
        draw,
        (6.4, 2.6),
        f"Log loss by C. It is lowest, {losses[best]:.3g} nats, at C = {best:.2g}.",
        "Each point is one value of C. For each fold, a head was solved on the other folds and predicted the "
        "images of this fold (cross-validation). The value with the lowest mean log loss was chosen.",
    )
    return Section("The head", [drawn])


def tuning_section(tuning: RobustFineTuning) -> Section:
    """Return the section on whether fine-tuning pays."""
    blocks: list[Block] = [Text(reason(tuning))]
    chosen = "The mix with the lowest log loss was chosen."
    if tuning.failed or tuning.interrupted:
        chosen = "The training on all labels did not succeed, so the network stays frozen (mix 0)."
    if tuning.held_out:
        drawn = figure(
            lambda axes: _line(
                axes, tuning.log_losses, tuning.mix, "mix (0: frozen network, 1: fine-tuned network)"
            ),
            (6.4, 2.6),
            f"Log loss of {len(tuning.labels)} held-out labels by mix; {tuning.mix:g} was chosen.",
            "Each point is one mix of the weights of the frozen and of the fine-tuned network. Its log loss, "
            "after temperature scaling, was measured on held-out images: in "
            f"{counted(tuning.folds, 'training')}, each without its fold. {chosen}",
        )
        blocks.append(drawn)
    return Section("Frozen or fine-tuned", blocks)


def _line(axes: Axes, losses: Mapping[float, float], chosen: float, setting: str) -> None:
    """Draw held-out log losses against a setting, with the chosen value marked."""
    finite = {each: loss for each, loss in losses.items() if np.isfinite(loss)}
    axes.plot(list(finite), list(finite.values()), marker="o", markersize=4, color=PALETTE["blue"])
    axes.plot(chosen, losses[chosen], "o", markersize=11, fillstyle="none", color=PALETTE["vermillion"])
    axes.annotate("chosen", (chosen, losses[chosen]), (0, 12), textcoords="offset points", ha="center")
    axes.margins(y=0.2)
    axes.set(xlabel=setting, ylabel="held-out log loss (nats)")
    lighten(axes)


def reason(tuning: RobustFineTuning) -> str:
    """Say in words why the network was fine-tuned or not."""
    if tuning.interrupted:
        return "Fine-tuning was interrupted, so this is the frozen network with its solved head."
    if not tuning.steps:
        return (
            "There was no time to fine-tune, so this is the frozen network with its solved head. Give more "
            "time: --minutes (minutes= in Python)."
        )
    if tuning.failed:
        return (
            "Fine-tuning on all labels failed: the training diverged, or the network was less accurate on "
            "these labels than the frozen network on held-out ones. So this is the frozen network with its "
            "solved head. In Python, try a smaller learning_rate=."
        )
    gain, losses = accuracy_gain(tuning), tuning.log_losses
    if not tuning.mix:
        return (
            f"Fine-tuning did not lower the log loss of {counted(len(tuning.labels), 'held-out label')}, so "
            "this is the frozen network with its solved head."
        )
    points = f"{100 * gain['difference']:+.1f} points of accuracy"
    within = f", 95 % interval {100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}"
    if gain["low"] > 0:
        told = ""
    elif len(tuning.labels) == 1:
        within, told = "", "; one label does not show which is more accurate"
    elif gain["high"] < 0:
        told = "; the accuracy is lower, although the probabilities are better"
    else:
        told = "; the interval includes 0, so these labels do not show which is more accurate"
    return (
        f"Fine-tuning lowered the log loss of {counted(len(tuning.labels), 'held-out label')} from "
        f"{losses[0.0]:.3g} to {losses[tuning.mix]:.3g} nats ({points}{within}{told}). The weights are "
        f"{percent(tuning.mix)} % of the way from the frozen to the fine-tuned network. This mix was chosen "
        "on these labels, so these figures are slightly optimistic; those of a test split are not."
    )


def accuracy_gain(tuning: RobustFineTuning) -> dict[str, float]:
    """Return the held-out accuracy of the chosen mix minus that of the frozen network, with its interval.

    Returns:
        `difference`, `low` and `high`, fractions from -1 to 1. The 95 % interval is paired by image. It is
        slightly optimistic, since the mix was chosen on the same labels. With several divisions into folds,
        each image counts once, with its prediction of the first division.
    """
    right = {mix: tuning.held_out[mix].argmax(axis=1) == tuning.labels for mix in (0.0, tuning.mix)}
    gains = right[tuning.mix].astype(float) - right[0.0]
    low, high = mean_interval(gains)
    return {"difference": float(gains.mean()), "low": low, "high": high}


def choice_metrics(
    losses: Mapping[float, float], tuning: RobustFineTuning | None, asked: str
) -> dict[str, Any]:
    """Return what `metrics.json` says about the choices."""
    found: dict[str, Any] = {
        "asked": asked,
        "head": {
            "C": min(losses, key=losses.__getitem__) if losses else None,
            "log_losses": [{"C": c, "log_loss": loss} for c, loss in losses.items()],
        },
        "fine_tuning": None,
    }
    if tuning is not None:
        found["fine_tuning"] = {
            "mix": tuning.mix,
            "steps": tuning.steps,
            "folds": tuning.folds,
            "held_out_labels": len(tuning.labels),
            "log_losses": [{"mix": mix, "log_loss": loss} for mix, loss in tuning.log_losses.items()],
            "accuracy_gain": accuracy_gain(tuning) if tuning.held_out else None,
            "reason": reason(tuning),
        }
    return found
