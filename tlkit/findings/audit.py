"""The page of an audit: what is wrong, shown, and what to do about it."""

import numpy as np
import pandas as pd

from tlkit.auditing import Audit, Problem
from tlkit.auditing.pairs import BITS, COLOUR
from tlkit.findings.page import Findings, Part, captioned, counted
from tlkit.plots.audit import ABREAST, class_counts, picture_pairs

SHOWN = 9  # pairs of a kind
LISTED = 12  # names of a kind
MOST_DRAWN = 60  # classes in the figure


def findings(audit: Audit, *, seconds: float = 0.0) -> Findings:
    """Say what was found in a folder, the worst first, with pictures of the pairs.

    Args:
        audit: of `tlkit.auditing.audit`.
        seconds: how long it took.
    """
    found = Findings(
        f"{audit.title}: what to mend before training",
        answer(audit),
        f"{len(audit.images)} images of {len(audit.classes)} classes. Nearly the same are pictures of which "
        f"at most {BITS} of 64 bits of the perceptual hash differ, and the colours by {COLOUR:.0f} of 255 "
        "levels; mirrored, turned or much cropped copies are not found.",
        seconds=seconds,
    )
    if audit.drawn:
        found.detail += " The folder has no splits of its own: these are the ones that tlkit train draws."
    for each in audit.problems:
        part = Part(f"{each.level.capitalize()}: {each.name} ({each.count})", f"{each.why} {each.remedy}")
        if pictures := _pairs(audit, each):
            part.figures = [pictures]
        if each.examples:
            part.table = pd.DataFrame({_listed(each): each.examples[:LISTED]})
        found.parts.append(part)
    found.parts.append(_classes(audit))
    if names := audit.removable():
        kept = "Without these no picture is twice, under two labels, or unreadable; look at the pairs first."
        text = f"{kept} All {len(names)} names are in metrics.json, as removable."
        found.parts.append(Part("What could go", text, table=pd.DataFrame({"file": names[:LISTED]})))
    found.numbers = {
        "data": audit.title,
        "images": len(audit.images),
        "problems": [vars(each) for each in audit.problems],
        "classes": audit.classes.reset_index(),
        "pairs": audit.pairs.drop(columns=["i", "j"]),
        "unreadable": audit.unreadable,
        "removable": audit.removable(),
    }
    return found


def answer(audit: Audit) -> str:
    """Return what came out in a sentence.

    >>> answer(Audit("cats", [], pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), []))
    'Nothing wrong was found. That is no proof: a wrong label is not seen here.'
    """
    if not audit.problems:
        return "Nothing wrong was found. That is no proof: a wrong label is not seen here."
    names = [each.name for each in audit.errors]
    if not names:
        return f"No error, but {counted(len(audit.problems), 'thing')} to look at."
    others = len(audit.problems) - len(names)
    more = f" Then there {'is' if others == 1 else 'are'} {counted(others, 'thing')} to look at." * bool(
        others
    )
    return f"Mend this first: {'; '.join(names)}.{more}"


def _listed(problem: Problem) -> str:
    more = len(problem.examples) - LISTED
    return "which" if more <= 0 else f"which (the first {LISTED}, and {more} more in metrics.json)"


def _pairs(audit: Audit, problem: Problem) -> dict[str, str] | None:
    """Draw the first pairs of a problem that is about pairs."""
    lines = audit.pairs["one"] + " and " + audit.pairs["other"] if len(audit.pairs) else pd.Series(dtype=str)
    rows = audit.pairs[lines.isin(problem.examples[:SHOWN])][:SHOWN]
    if rows.empty:
        return None
    pictures = audit.look(np.concatenate([rows["i"], rows["j"]]))
    beside = np.stack([pictures[: len(rows)], pictures[len(rows) :]], axis=1)
    name, split = audit.images["class"], audit.images["split"]
    titles = [
        (f"{name[i]}, {split[i]}", f"{name[j]}, {split[j]}")
        for i, j in zip(rows["i"], rows["j"], strict=True)
    ]
    high = -(-len(rows) // ABREAST)
    return captioned(
        lambda axes: picture_pairs(beside, titles, axes),
        (9, 1.9 * high),
        f"{counted(len(rows), 'pair')} of pictures: {problem.name}.",
        "Class and split stand above each. " + ("The most alike first." if problem.count > SHOWN else ""),
        columns=ABREAST,
        rows=high,
    )


def _classes(audit: Audit) -> Part:
    few = audit.classes.sort_values("images", ascending=False, kind="stable")[:MOST_DRAWN]
    drawn = captioned(
        lambda ax: class_counts(few, ax),
        (7, 1.0 + 0.26 * len(few)),
        f"Images of {len(few)} classes by split; the largest has {few['images'].max()}.",
        "The images of each class, the largest first, by split.",
    )
    return Part("Classes", figures=[drawn], table=audit.classes.reset_index())
