"""What is wrong with a folder of images, before anything is trained on it."""

from tlkit.auditing.audit import Audit, audit
from tlkit.auditing.problems import Problem

__all__ = ["Audit", "Problem", "audit"]
