import os
import tempfile

# before Keras loads: its backend's log lines, and a cache of the tests' own
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TLKIT_CACHE"] = tempfile.mkdtemp(prefix="tlkit-tests-")
