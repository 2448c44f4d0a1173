"""The page classifies an image over HTTP, is served on this machine only, and says what is wrong."""

import re
import socket
import sys
import urllib.request

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tlkit.cli import cli
from tlkit.deployment import serve as serving
from tlkit.deployment.saved_run import open_run
from tlkit.errors import TlkitError

gradio_client = pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def run(with_model):
    return open_run(with_model)


@pytest.fixture(scope="module")
def blocks(run):
    return serving.build_page(run.model, run.class_names, note=serving.note_of(run.numbers, run.accuracy))


@pytest.fixture(scope="module")
def client(blocks):
    address = serving.launch(blocks, wait=False)
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
    assert "It knows 10 classes" in page


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
