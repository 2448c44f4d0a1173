"""The section on an adaptation by vote: the methods, the choice, and the class frequencies of the target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tlkit.reports.document import Block, Section, Table, Text
from tlkit.reports.words import duration, listed, percent

SHIFT = 0.25  # total variation distance of class frequencies from which the report warns; the error of the
# estimate was at most 0.22 on 13 pairs of domains, by a vote without matched features
RARE = 0.1  # a class with less than this multiple of its frequency in the source may be missing in the target
NAMED = 5  # classes, at most

INTERRUPTED = "interrupted"
WITHOUT_VOTE = ("source only", INTERRUPTED)
CHOICES = {
    "vote": "Several methods of domain adaptation voted on the class of each target image. The classifier "
    "learned from the source with its labels, and from the target with the classes of the vote.",
    "matched features": "Several methods of domain adaptation voted on the class of each target image. The "
    "vote hardly agrees with the head on matched features, where each source feature has the mean and the "
    "standard deviation of the target. This head adapts the most cautiously, so it is used instead of the "
    "vote.",
    "source only": "The target shows hardly any structure along the features that tell the classes of the "
    "source apart, or little structure and a vote that differs much from the head on matched features. "
    "So there is probably nothing to adapt to, and the classifier learned from the source alone.",
    INTERRUPTED: "Ctrl-C stopped the training before any method had finished, so no vote affected the "
    "classifier.",
}
NETWORK = (
    "Several networks, each trained by a different method, voted on the class of each target image. The "
    "network trained by {} agrees most with the vote, so it is the result. Measuring agreement needs no "
    "target labels, but high agreement does not imply high accuracy."
)


@dataclass(frozen=True)
class Candidate:
    """What one method reached by itself.

    Attributes:
        name: of the method; or `"source only"` or `"matched features"`.
        agreement: Cohen's kappa of its classes and those of the vote; 1 is full agreement, 0 is chance.
        seconds: of its training.
        predicted: the classes that it predicts for the evaluated target images, int `(n,)`.
    """

    name: str
    agreement: float
    seconds: float
    predicted: np.ndarray

    def accuracy(self, labels: np.ndarray) -> float:
        """Return the fraction of right classes, 0 to 1."""
        return float(np.mean(self.predicted == labels))

    def metrics(self, labels: np.ndarray | None) -> dict[str, Any]:
        """Return the numbers for `metrics.json`; without labels, the accuracy is None."""
        accuracy = None if labels is None else self.accuracy(labels)
        return {
            "name": self.name,
            "agreement": self.agreement,
            "seconds": self.seconds,
            "accuracy": accuracy,
        }


def vote_section(
    choice: str,
    candidates: Sequence[Candidate],
    reached: Mapping[str, float],
    measure: str,
    selected: float | None = None,
) -> Section:
    """Return the section on what each method reached by itself.

    Args:
        choice: see `tlkit.reports.adaptation.Adaptation`.
        candidates: `"source only"`, and all that voted; empty if Ctrl-C came before there was a vote.
        reached: the accuracy of each on the labelled target, by name; empty without labels.
        measure: name of the measure, such as `"accuracy"`.
        selected: the accuracy of the classifier that was chosen; None without labels.
    """
    names = [each.name for each in candidates]
    agreement = [each.agreement for each in candidates]
    table = pd.DataFrame({"method": names, "agreement with the vote (kappa)": agreement})
    accuracies = [reached[name] for name in names] if reached else []
    if accuracies:
        table[f"{measure} on the target"] = accuracies
    table["time"] = [duration(each.seconds) for each in candidates]
    remark = (
        "Cohen's kappa is 1 if a method and the vote always agree, and 0 if they agree as often as by "
        "chance. Source only does not vote."
    )
    if "matched features" in names:
        remark += (
            " Each method trained a head on source features with the mean and the standard deviation of the "
            "target features."
        )
    style = "caution" if choice in WITHOUT_VOTE else ""
    reason = CHOICES[choice] if choice in CHOICES else NETWORK.format(choice)
    blocks: list[Block] = [Text(reason, style)]
    if candidates:
        blocks += [Table(table), Text(remark, "soft")]
    if accuracies and selected is not None:
        blocks.append(Text(regret(accuracies, selected, names, measure)))
    return Section("The vote", blocks)


def regret(accuracies: Sequence[float], selected: float, names: Sequence[str], measure: str) -> str:
    """Say how the chosen classifier compares with the best single method.

    >>> regret([0.5, 0.8], 0.78, ["jan", "mcc"], "accuracy")
    'The best of these is mcc: its accuracy is 2.0 points higher than that of the result.'
    """
    best = int(np.argmax(accuracies))
    difference = 100 * (accuracies[best] - selected)
    compared = f"{abs(difference):.1f} points {'higher' if difference > 0 else 'lower'} than"
    if abs(difference) < 0.05:
        compared = "equal to"
    return f"The best of these is {names[best]}: its {measure} is {compared} that of the result."


def frequency_cautions(source: np.ndarray, target: np.ndarray, class_names: Sequence[str]) -> list[Block]:
    """Return cautions where the class frequencies of the target seem to differ from those of the source.

    Args:
        source, target: class frequencies `(classes,)`.
        class_names: their names.
    """
    found: list[Block] = []
    if np.abs(source - target).sum() / 2 >= SHIFT:
        most = np.argsort(-np.abs(source - target))[:NAMED]
        pairs = [f"{class_names[k]} {percent(target[k])} % (source {percent(source[k])} %)" for k in most]
        found.append(
            Text(
                "The class frequencies of the target seem to differ from those of the source (label shift): "
                f"{listed(pairs)}. Most methods assume that both domains have the same class frequencies, so "
                "check some images of these classes.",
                "caution",
            )
        )
    missing = [name for name, s, t in zip(class_names, source, target, strict=True) if t < RARE * s]
    if missing:
        shown = listed([*missing[:NAMED], *(["others"] if len(missing) > NAMED else [])])
        found.append(
            Text(
                f"The target seems to have hardly any images of: {shown}. If these classes cannot occur "
                "there, leave them out of the source (Dataset.only, or other class folders) and adapt again.",
                "caution",
            )
        )
    return found
