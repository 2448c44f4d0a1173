"""Find what is wrong with a folder of images, before anything is trained on it."""

from tlkit.experiments.audit.audit import Audit, audit
from tlkit.experiments.audit.check import Check
from tlkit.experiments.audit.problems import Problem

__all__ = ["Audit", "Check", "Problem", "audit"]
