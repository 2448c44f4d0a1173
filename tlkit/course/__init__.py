"""The course: what makes the notebooks lessons."""

from tlkit.course.checks import check, hint, solution
from tlkit.course.progress import record

__all__ = ["check", "hint", "record", "solution"]
