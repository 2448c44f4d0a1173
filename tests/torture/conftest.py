"""Random bad inputs: a small fixed sample in `make test`, hundreds of each in `make torture`."""

import os

import hypothesis

TORTURE = bool(os.environ.get("TLKIT_TORTURE"))
# a first example may import Keras or open a model, so no time limit for each
common = {"deadline": None, "database": None, "suppress_health_check": list(hypothesis.HealthCheck)}
hypothesis.settings.register_profile("sample", max_examples=15, derandomize=True, **common)
hypothesis.settings.register_profile("torture", max_examples=300, **common)
hypothesis.settings.load_profile("torture" if TORTURE else "sample")
