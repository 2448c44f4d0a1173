"""Check whether this machine is ready for the lessons, and report each finding as soon as it is known."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from tlkit.course import machine
from tlkit.course.machine import Finding, first_line, pip_install
from tlkit.errors import TlkitError

REFERENCE_SECONDS = 4.8  # of the training check, on the machine where the lessons were executed


class Check(NamedTuple):
    """One check of the machine.

    Attributes:
        name: of the check.
        run: returns the finding.
        needs: names of checks; if one of them found an error, this check is skipped.
    """

    name: str
    run: Callable[[], Finding]
    needs: tuple[str, ...] = ()


CHECKS = (
    Check("Python", machine.python),
    Check("packages", machine.packages),
    Check("memory", machine.memory),
    Check("disk", machine.disk),
    Check("cores", machine.cores),
    Check("Keras", machine.backend),
    Check("GPU", machine.gpu, needs=("Keras",)),
    Check("weights", machine.weights, needs=("Keras",)),
    Check("data sets", machine.data_sets),
    Check("training", machine.training, needs=("Keras", "weights", "data sets")),
    Check("Jupyter", machine.jupyter),
)


def examine(announce: Callable[[str], object] = lambda name: None) -> Iterator[Finding]:
    """Run every check, and yield each finding as soon as it is known.

    A check that raises an exception yields a finding with the state "error".

    Args:
        announce: is called with the name of each check before the check starts.

    >>> next(examine()).name
    'Python'
    """
    failed: set[str] = set()
    for check in CHECKS:
        announce(check.name)
        try:
            if blocking := [name for name in check.needs if name in failed]:
                finding = Finding("note", f"skipped until this is fixed: {', '.join(blocking)}")
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    finding = check.run()
        except Exception as error:
            reinstall = pip_install("tlkit[tensorflow,lessons]", options="--upgrade --force-reinstall")
            finding = Finding("error", f"the check failed: {first_line(error)}", reinstall)
        if finding.state == "error":
            failed.add(check.name)
        yield replace(finding, name=check.name)


def minutes(findings: list[Finding]) -> float | None:
    """Estimate how many minutes all lessons take on this machine; None if no estimate is possible.

    The notebooks record their running time on the machine where they were last executed. The training check
    took `REFERENCE_SECONDS` there, so its time on this machine gives the ratio of the two speeds.
    """
    here = next((each.measured["seconds"] for each in findings if "seconds" in each.measured), None)
    try:
        from tlkit.course.lessons import lessons

        seconds = [lesson.seconds for lesson in lessons()]
    except (ImportError, TlkitError):
        return None
    return None if here is None or 0 in seconds else sum(seconds) * here / REFERENCE_SECONDS / 60


def verdict(findings: list[Finding]) -> str:
    """Return one line that says whether the machine is ready.

    >>> verdict([Finding("error", "ipykernel missing", name="Jupyter")])
    'Not ready: Jupyter. Apply the fix of each error, then run tlkit doctor again.'
    """
    if failed := [each.name for each in findings if each.state == "error"]:
        return f"Not ready: {', '.join(failed)}. Apply the fix of each error, then run tlkit doctor again."
    estimate = minutes(findings)
    if not estimate:
        return "Ready."
    return f"Ready. All lessons together take about {max(1, round(estimate))} minutes on this machine."
