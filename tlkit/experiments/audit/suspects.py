"""The table of all suspects: a row for each image, or pair of images, that somebody should check."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tlkit.experiments.audit.check import Check

LABEL, NEAR, OUTLIER, WEAK = "label", "near duplicate", "outlier", "weak group"
COLUMNS = ["file", "split", "kind", "label", "suggested", "score", "partner", "group"]
HASH_BITS = 64


def suspects(images: pd.DataFrame, pairs: pd.DataFrame, check: Check | None) -> pd.DataFrame:
    """Return all suspects: likely label errors, near duplicates, outliers, and images of weak groups.

    The kinds follow each other in this order, and the worst suspect of each kind comes first. The scores,
    from 0 (worst) to 1, can be compared within a kind only:

    - label: the cross-validated probability of the label;
    - near duplicate (identical, similar, or with nearly equal features): `1 - exp(-distance)`, where the
      distance of the features is relative to the median distance to the nearest neighbour; without a
      backbone, the fraction of the bits of the perceptual hashes that differ;
    - outlier: `exp(-distance)`, where the distance is that of `neighbours.outliers`;
    - weak group: the accuracy of the predictions in the group.

    Args:
        images: the table of an `Inventory`.
        pairs: of `tlkit.experiments.audit.pairs.pairs`.
        check: of `tlkit.experiments.audit.check.check`; None without a backbone.

    Returns:
        A table with the columns `file`, `split`, `kind`, `label` (the label), `suggested` (the predicted
        class, if it differs), `score`, `partner` (the other file of a near duplicate) and `group` (the number
        of the weak group, from 1); "" where there is none.
    """
    parts = [_near_duplicates(pairs, check)]
    if check is not None:
        errors, far = check.label_errors, check.outliers
        parts = [errors[["row", "suggested", "score"]].assign(kind=LABEL), *parts]
        parts += [far[["row", "score"]].assign(kind=OUTLIER), *_weak_groups(images, check)]
    if not (parts := [each for each in parts if len(each)]):
        return pd.DataFrame(columns=COLUMNS)
    table = pd.concat(parts, ignore_index=True)
    chosen = images.iloc[table["row"].to_numpy(int)].reset_index(drop=True)
    table = table.assign(file=chosen["name"], split=chosen["split"], label=chosen["class"])
    return table.reindex(columns=COLUMNS).astype({"score": float}).fillna("")


def _near_duplicates(pairs: pd.DataFrame, check: Check | None) -> pd.DataFrame:
    score = pairs["bits"] / HASH_BITS
    if check is not None:
        distance = np.concatenate([check.pair_distances, check.near_duplicates["distance"]])
        pairs, score = pd.concat([pairs, check.near_duplicates]), 1 - np.exp(-distance)
    table = pd.DataFrame({"row": pairs["i"], "partner": pairs["other"]}).assign(score=score, kind=NEAR)
    return table.sort_values("score", kind="stable")


def _weak_groups(images: pd.DataFrame, check: Check) -> Iterator[pd.DataFrame]:
    given = images["class"].to_numpy()
    for number, each in enumerate(check.weak_groups, 1):
        suggested = np.where(check.predicted == given, "", check.predicted)[each.members]
        table = pd.DataFrame({"row": each.members, "suggested": suggested, "group": str(number)})
        yield table.assign(score=each.accuracy, kind=WEAK)
