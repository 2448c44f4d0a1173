"""Keras is imported without its start-up lines and without garbage collections."""

import gc
import signal
import sys

import pytest

from tlkit._internal.keras_import import import_keras, interrupts_wait

KERAS = """
import gc, os
collects = gc.isenabled()
os.write(2, b"oneDNN custom operations are on.\\nthe disk is failing\\n")
"""


@pytest.fixture
def keras(tmp_path, monkeypatch):
    """In place of Keras a file that writes to standard error, and whose text can be changed."""
    path = tmp_path / "keras.py"
    path.write_text(KERAS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "keras", None)  # afterwards all is as before, with Keras or without
    monkeypatch.delitem(sys.modules, "keras")
    return path


def test_only_the_known_start_up_lines_are_lost(keras, capfd):
    import_keras()
    assert capfd.readouterr().err == "the disk is failing\n"


def test_garbage_is_collected_again_after_the_import_alone(keras):
    assert import_keras().collects is False
    assert gc.isenabled()


def test_a_failed_import_leaves_screen_and_collector_as_they_were(keras, capfd):
    keras.write_text(KERAS + "raise ImportError('no backend')")
    with pytest.raises(ImportError, match="no backend"):
        import_keras()
    assert gc.isenabled()
    print("seen", file=sys.stderr)
    assert capfd.readouterr().err.endswith("failing\nseen\n")


def test_ctrl_c_acts_after_the_block():
    done = []

    def press():
        with interrupts_wait():
            signal.raise_signal(signal.SIGINT)
            done.append("import")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt):
            press()
        assert done == ["import"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
