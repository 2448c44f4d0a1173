"""What is typed wrong ends in one line that says what to do, and leaves nothing behind."""

import importlib
import os
import shutil
import subprocess
import sys
from functools import partial

import keras
import pytest
from pushes import full

import tlkit
from tlkit.cli import cli, main
from tlkit.deployment.saved_run import open_run
from tlkit.errors import TlkitError, TlkitWarning


def shell(*words, **environment):
    """Run the command in a process of its own; return its exit code and its standard error."""
    code = "from tlkit.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "", "--out", "run"), "An argument is empty"),
        (("features", "", "--out", "run"), "An argument is empty"),
        (("train", "shapes", "--out", ""), "An argument is empty"),
        (("train", "shapes", "--out", "run", "--minutes", "nan"), "'nan' is not a finite number"),
        (("train", "shapes", "--out", "run", "--test", "nan"), "'nan' is not a finite number"),
        (("pretrain", "shapes", "--out", "run", "--learning-rate", "inf"), "'inf' is not a finite number"),
        (("train", "shapes", "--out", "run", "--image-size", "20000"), "not in the range 1<=x<=4096"),
        (("pretrain", "shapes", "--out", "run", "--epochs", "9" * 20), "not in the range 1<=x<=1000000"),
        (("train", "shapes", "--out", "run", "--resume", "--overwrite"), "not both"),
        (("adapt", "a", "b", "--out", "run", "--resume", "--overwrite"), "not both"),
        (("demo", "--resume", "--overwrite"), "not both"),
    ],
)
def test_bad_values_are_refused_in_the_words_of_the_command_line(words, said, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command(*words)
    assert done.exit_code == 2
    assert said in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (
            ("train", "shapes", "--out", "run"),
            {"KERAS_BACKEND": "nonsense"},
            "expected tensorflow, jax, torch",
        ),
        (("train", "two\nlines", "--out", "run"), {}, "There is no data set named"),
    ],
)
def test_an_error_is_one_line(words, environment, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, errors = shell(*words, **environment)
    assert code == 2
    assert errors.startswith("Error: ")
    assert len(errors.splitlines()) == 1
    assert said in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weights", "x"], '--weights x is not a file. Give "imagenet", none (random), or the path'),
        (["--image-size", "2"], "the smallest size is 12. Use --image-size 12 or more"),
        (["--test", "1"], "--validation 0.2 and --test 1.0 leave no training data"),
    ],
)
def test_errors_of_python_become_those_of_the_command_line(options, said, shapes, refused, tmp_path):
    assert said in refused("train", shapes, "--out", tmp_path / "run", "--backbone", "LeNet", *options)


def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch):
    (tmp_path / "nbformat.py").write_text("raise ModuleNotFoundError(name='nbformat')")
    code, errors = shell("course", "build", "--out", tmp_path / "copies", PYTHONPATH=str(tmp_path))
    assert code == 2
    assert errors.splitlines()[-1].startswith("Error: The package nbformat is needed, but not installed.")
    assert "pip install 'tlkit[lessons]'" in errors


@pytest.fixture(scope="module")
def run(shapes, command, lenet, tmp_path_factory):
    """The folder of a run of `tlkit train`; tests may add files to it."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert command("train", shapes, "--out", out, *lenet).exit_code == 0
    return out


@pytest.fixture(scope="module")
def adapted(run, shapes, command):
    """A run that was adapted without its source."""
    out = run.parent / "adapted"
    done = command("adapt", run, shapes, "--out", out, "--evaluate", shapes, "--epochs", 1)
    assert done.exit_code == 0
    return out


@full
def test_a_run_that_was_adapted_without_its_source_has_a_card_and_can_be_evaluated(adapted, shapes, command):
    for words in (("evaluate", adapted, shapes), ("card", adapted), ("export", adapted)):
        assert command(*words).exit_code == 0, words
    card = (adapted / "MODEL_CARD.md").read_text("utf-8")
    assert "without its own training images" in card
    assert "40 images of *my shapes*, whose labels took no part" in card


def test_an_evaluation_does_not_replace_the_model(run, shapes, refused):
    assert "whose model would be lost" in refused("evaluate", run, shapes, "--out", run, "--overwrite")
    assert (run / "model.keras").exists()


def test_results_are_not_written_among_the_images(shapes, refused):
    assert "Choose an --out outside it" in refused("train", shapes, "--out", shapes / "runs")
    assert not (shapes / "runs").exists()


def test_a_stopped_training_is_named_by_commands_that_need_a_result(refused, shapes, tmp_path):
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "settings.json").write_text("{}")
    for words in (("predict", tmp_path, shapes), ("evaluate", tmp_path, shapes), ("card", tmp_path)):
        assert "run its command again with --resume" in refused(*words)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_instead_of_the_numbers_is_refused_at_once(refused, tmp_path):
    os.mkfifo(tmp_path / "metrics.json")
    assert "it is not a regular file" in refused("card", tmp_path)


def test_images_to_compare_on_must_exist(run, refused):
    assert "There is no file or folder at nothere" in refused("export", run, "--images", "nothere")


def test_cards_and_exports_of_an_earlier_run_are_named(run, shapes, command, lenet, tmp_path):
    out = shutil.copytree(run, tmp_path / "run")
    assert command("card", out, "--overwrite").exit_code == 0
    with pytest.warns(TlkitWarning, match=r"MODEL_CARD.md in .* belong to an earlier run"):
        command("train", shapes, "--out", out, "--overwrite", *lenet)


def test_ctrl_c_that_python_ignores_is_repeated():
    """As in a callback of the garbage collector, whose errors Python ignores."""
    code = (
        "import gc, time; import tlkit.cli as c\n"
        "def ignored(phase, about):\n"
        "    gc.callbacks.clear(); raise KeyboardInterrupt\n"
        "def work(**options):\n"
        "    gc.callbacks.append(ignored); gc.collect()\n"
        "    for _ in range(300): time.sleep(0.1)\n"
        "c.cli.main = work\n"
        "try: c.main()\n"
        "except KeyboardInterrupt: print('ended')"
    )
    handler = "import signal as s; s.signal(s.SIGINT, s.default_int_handler)\n"
    done = subprocess.run([sys.executable, "-c", handler + code], capture_output=True, text=True, timeout=25)
    assert done.stdout == "ended\n", done.stderr


def test_too_little_memory_is_an_error_in_one_line(monkeypatch, capsys):
    def exhausted(**options):
        raise MemoryError

    monkeypatch.setattr(cli, "main", exhausted)
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == 2
    assert capsys.readouterr().err.startswith("Error: There is not enough memory for this command.")


def test_every_option_of_train_has_a_default_or_says_what_it_does_without():
    context = cli.commands["train"].make_context("train", ["folder", "--out", "run"])
    flags = {"help", "list", "_click_default_help", "resume", "overwrite", "mirrored_views"}
    for option in cli.commands["train"].get_params(context):
        if option.param_type_name == "option" and option.name not in flags:
            assert option.required or "[default:" in option.get_help_record(context)[1], option.name


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), 0.0, -1e-3])
def test_learning_rates_are_finite_and_above_zero(rate, digits):
    model = tlkit.build_classifier("LeNet", classes=10, weights=None)
    images, labels = digits.train.images[:8], digits.train.labels[:8]
    for use in (
        lambda: tlkit.fine_tune(model, (images, labels), learning_rate=rate, epochs=1),
        lambda: tlkit.train_head(model, (images, labels), learning_rate=rate, epochs=1),
        lambda: tlkit.pretrain(digits, learning_rate=rate, epochs=1),
        lambda: tlkit.train(digits, technique="fine-tuning", backbone=model, learning_rate=rate),
    ):
        with pytest.raises(TlkitError, match="learning_rate"):
            use()


@pytest.mark.parametrize(
    "options",
    [{"minutes": float("nan")}, {"minutes": -1}, {"epochs": 2.5}, {"epochs": 10**20}, {"backup": ""}],
)
def test_lengths_and_folders_of_a_training_are_checked(options, digits):
    with pytest.raises(TlkitError, match=rf"{next(iter(options))}=.* was given; expected"):
        tlkit.train(digits, technique="fine-tuning", backbone="LeNet", weights=None, **options)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, "one"])
def test_seeds_are_whole_numbers_in_range(seed, digits):
    for use in (
        lambda: tlkit.load("digits/optical", seed=seed),
        lambda: digits.train.few(2, seed=seed),
        lambda: tlkit.train(digits, technique="scratch", backbone="LeNet", seed=seed),
        lambda: tlkit.select(digits, seed=seed),
    ):
        with pytest.raises(TlkitError, match="expected a whole number from 0 to 4294967295"):
            use()


@pytest.mark.parametrize("size", [0, -3, 20_000])
def test_image_sizes_are_in_range(size, shapes):
    for use in (
        lambda: tlkit.load(shapes, image_size=size),
        lambda: tlkit.load("digits/optical", image_size=size),
        lambda: tlkit.load_backbone("LeNet", weights=None, image_size=size),
    ):
        with pytest.raises(TlkitError, match="expected 1 to 4096 pixels"):
            use()


def test_an_interrupted_command_says_how_to_continue(shapes, tmp_path, command, lenet, monkeypatch):
    class CtrlC(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    module = importlib.import_module("tlkit.experiments.train")
    interrupted = partial(module.train, callbacks=[CtrlC()])
    out = tmp_path / "run"
    words = ("train", shapes, "--out", out, *lenet)
    with monkeypatch.context() as patch:
        patch.setattr(module, "train", interrupted)
        with pytest.warns(UserWarning, match=r"broken\.png"):
            done = command(*words)
    assert done.exit_code == 130
    assert "Interrupted by Ctrl-C. The same command with --resume continues." in done.output
    assert "Pass --resume to continue it" in str(command(*words).exception)
    with pytest.warns(UserWarning, match=r"broken\.png"):
        assert command(*words, "--resume").exit_code == 0
    assert sorted(each.name for each in out.iterdir()) == [
        "metrics.json",
        "model.keras",
        "predictions.csv",
        "report.html",
    ]


def test_names_that_are_not_utf_8_do_not_stop_the_results(digits, tmp_path, command, lenet):
    from PIL import Image

    root = tmp_path / os.fsdecode(b"my \xff data")
    for label in (0, 1):
        for i, image in enumerate(digits.train.images[digits.train.labels == label][:10]):
            path = root / os.fsdecode(b"class \xfe %d" % label) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    done = command("train", root, "--out", tmp_path / "run", *lenet)
    assert done.exit_code == 0, done
    assert open_run(tmp_path / "run").class_names == ["class \\xfe 0", "class \\xfe 1"]
    assert "class" in (tmp_path / "run" / "predictions.csv").read_text("utf-8")
