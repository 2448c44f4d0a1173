"""The page classifies an image over HTTP, is served on this machine only, and says what is wrong."""

import re
import shutil
import socket
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tlkit.cli import cli
from tlkit.deployment import serve as serving
from tlkit.deployment.guard import Guard
from tlkit.deployment.saved_run import open_run
from tlkit.errors import TlkitError

gradio_client = pytest.importorskip("gradio_client")
httpx = pytest.importorskip("httpx")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def run(with_model):
    return open_run(with_model)


@pytest.fixture(scope="module")
def blocks(run):
    return serving.build_page(run.model, run.class_names, note=serving.note_of(run.numbers, run.accuracy))


@pytest.fixture(scope="module")
def client(blocks):
    address = serving.launch(blocks, wait=False, max_upload=1)
    assert address.startswith("http://127.0.0.1:")
    yield gradio_client.Client(address, verbose=False, analytics_enabled=False)
    blocks.close()


def test_an_image_that_is_posted_comes_back_with_its_classes(client, run, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    answer = client.predict(gradio_client.handle_file(tmp_path / "digit.png"), api_name="/classify")
    expected = run.model.predict(pixels[None], verbose=0)[0]
    assert answer["label"] == str(expected.argmax())
    confidences = {each["label"]: each["confidence"] for each in answer["confidences"]}
    assert len(confidences) == 5
    assert confidences[answer["label"]] == pytest.approx(expected.max(), abs=1e-4)


def test_an_image_that_breaks_off_is_said_to_be_unreadable(client, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "broken.png")
    whole = (tmp_path / "broken.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(gradio_client.exceptions.AppError, match="cannot be read as an image: image file is"):
        client.predict(gradio_client.handle_file(tmp_path / "broken.png"), api_name="/classify")


def test_nothing_on_the_page_is_asked_of_another_machine(blocks, client):
    settings = blocks.get_config_file()
    assert settings["analytics_enabled"] is False
    assert not blocks.share
    assert all("http" not in sheet for sheet in blocks.stylesheets)
    page = str(settings["components"])
    assert "Right on 75% of 359 test images, 95 % interval 70 to 79 %" in page
    assert "It assigns every image to one of 10 classes" in page


def test_one_call_serves_a_run(with_model):
    address, blocks = serving.serve(with_model, wait=False)
    try:
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert answer.status == 200
    finally:
        blocks.close()


def test_the_command_serves_until_ctrl_c(with_model, monkeypatch):
    import gradio

    def interrupted(blocks):
        blocks.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(gradio.Blocks, "block_thread", interrupted)
    done = CliRunner().invoke(cli, ["serve", str(with_model)])
    assert done.exit_code == 0, done
    assert re.search(r"Open http://127\.0\.0\.1:\d+/; Ctrl-C stops it\.", done.output)


def test_a_port_that_is_taken_is_refused(run, client):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TlkitError, match=f"cannot be served at 127.0.0.1:{port}"):
            serving.launch(None, port=port)


def test_names_that_do_not_fit_the_model_are_refused(run):
    with pytest.raises(TlkitError, match="2 class names were given for a model of 10 outputs"):
        serving.build_page(run.model, ["cat", "dog"])


def test_without_gradio_the_error_names_what_to_install(with_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    refused = CliRunner().invoke(cli, ["serve", str(with_model)]).exception
    assert isinstance(refused, TlkitError)
    assert "pip install 'tlkit[serve]'" in str(refused)


@pytest.mark.parametrize("failures", [1, 3])
def test_a_page_that_answers_late_is_started_again(run, monkeypatch, failures):
    import gradio

    answers = iter([False] * failures)
    monkeypatch.setattr(gradio.networking, "url_ok", lambda url: next(answers, True))
    blocks = serving.build_page(run.model, run.class_names, note="")
    if failures < serving.TRIES:
        assert serving.launch(blocks, wait=False).startswith("http://127.0.0.1:")
        blocks.close()
    else:
        with pytest.raises(TlkitError, match=r"did not answer in 3 tries.*NO_PROXY=127\.0\.0\.1"):
            serving.launch(blocks, wait=False)


@pytest.mark.parametrize(
    ("served", "host", "known"),
    [
        ("127.0.0.1", "127.0.0.1:7860", True),
        ("127.0.0.1", "localhost:7860", True),
        ("127.0.0.1", "[::1]:7860", True),
        ("127.0.0.1", socket.gethostname(), True),
        ("127.0.0.1", "rebound.example:7860", False),
        ("127.0.0.1", "localhost.rebound.example", False),
        ("127.0.0.1", "10.1.2.3", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "[", False),
        ("0.0.0.0", "10.1.2.3:7860", True),
        ("0.0.0.0", "rebound.example", False),
        ("classifier.example", "classifier.example", True),
    ],
)
def test_only_the_machines_own_names_are_answered(served, host, known):
    assert Guard(None, served, 1).is_own(host) is known


def test_a_foreign_host_is_refused_and_every_answer_has_security_headers(client):
    for host, status in ((None, 200), ("rebound.example", 421)):
        answer = httpx.get(client.src, headers={"host": host} if host else {})
        assert answer.status_code == status
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_a_large_file_is_refused(client):
    sent = {"files": ("large.png", bytes(3_000_000))}
    answer = httpx.post(f"{client.src}gradio_api/upload", files=sent)
    assert answer.status_code == 413
    assert "at most 1 MB" in answer.text
    with pytest.raises(TlkitError, match="max_upload=0 was given"):
        serving.launch(None, max_upload=0)


def test_nothing_is_fetched_for_a_visitor(client):
    for path in ("gradio_api/file=https://example.com/", "gradio_api/process_recording"):
        assert httpx.get(f"{client.src}{path}").status_code == 404


def test_a_file_that_is_no_image_is_said_to_be_none(client, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(
        gradio_client.exceptions.AppError, match="cannot be read as an image: cannot identify"
    ):
        client.predict(gradio_client.handle_file(tmp_path / "text.png"), api_name="/classify")


def test_files_that_were_sent_are_deleted_when_the_server_ends(run, tmp_path):
    Image.new("RGB", (30, 30), (1, 2, 3)).save(tmp_path / "one.png")
    blocks = serving.build_page(run.model, run.class_names)
    folder = Path(blocks.GRADIO_CACHE)
    before = set(folder.rglob("*.png"))
    mine = gradio_client.Client(serving.launch(blocks, wait=False), verbose=False, analytics_enabled=False)
    mine.predict(gradio_client.handle_file(tmp_path / "one.png"), api_name="/classify")
    assert set(folder.rglob("*.png")) > before
    blocks.close()
    assert set(folder.rglob("*.png")) == before


def test_an_image_that_takes_too_long_blocks_nobody():
    end = threading.Event()
    with pytest.raises(TlkitError, match=r"more than 0\.01 seconds"):
        serving.within(0.01, end.wait)
    end.set()
    assert serving.within(60, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        serving.within(60, lambda: 1 / 0)


@pytest.mark.parametrize("host", ["no such host", "203.0.113.7", "h" * 300, "\0", ""])
@pytest.mark.parametrize("port", [None, 8123])
def test_a_host_that_is_not_this_machines_is_refused(host, port):
    with pytest.raises(TlkitError, match="cannot be served at") as refused:
        serving.launch(None, host=host, port=port)
    assert len(str(refused.value).splitlines()) == 1


def test_answers_that_are_no_probabilities_are_not_shown(run, tmp_path):
    import keras

    Image.new("RGB", (30, 30), (1, 2, 3)).save(tmp_path / "one.png")
    inputs = keras.Input((28, 28, 3))
    sums = keras.layers.Rescaling(100.0)(keras.layers.Flatten()(keras.layers.AveragePooling2D(28)(inputs)))
    kinds = {"class": ("classification", ["a", "b", "c"])}
    with pytest.raises(
        TlkitError, match="does not answer with probabilities: its outputs lie between 100 and 300"
    ):
        serving.answers(keras.Model(inputs, sums), kinds, str(tmp_path / "one.png"), 28)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome on this machine")
def test_in_a_browser_the_page_classifies_and_is_accessible(client, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    Image.new("RGB", (30, 30), (1, 2, 3)).save(tmp_path / "one.png")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(reduced_motion="reduce")
        wrong = []
        tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        tab.on("response", lambda got: wrong.append(got.url) if got.status >= 400 else None)
        tab.goto(client.src)
        tab.set_input_files("input[type=file]", tmp_path / "one.png")
        tab.wait_for_selector("[data-testid=label-output-value]")
        assert [each for each in wrong if "Content Security Policy" in each or "http" in each] == []
        assert [each["id"] for each in axe.Axe().run(tab).response["violations"]] == []
        browser.close()
