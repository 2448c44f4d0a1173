"""Serve a page that classifies the images you give it; on this machine only, unless asked otherwise."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit.data.decode import decode
from tlkit.deployment.saved_run import SavedRun, open_run
from tlkit.errors import DataError, TlkitError

TOP = 5  # classes shown
TRIES = 3  # of starting the page, on a machine that is too busy to answer at once
FORGET = 600  # seconds after which an image that was given is deleted
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]  # of the reader's machine


def serve(
    run: SavedRun | str | Path, *, host: str = "127.0.0.1", port: int | None = None, wait: bool = True
) -> tuple[str, Any]:
    """Serve a page that classifies images with the model of a run.

    Args:
        run: the folder that `tlkit train` wrote, or what `tlkit.open_run` returned.
        host, port, wait: as for `launch`.

    Returns:
        The address, and the page as `gradio.Blocks`, which `close()` stops.

    Raises:
        TlkitError: the folder holds no run, Gradio is missing, or see `launch`.
    """
    opened = run if isinstance(run, SavedRun) else open_run(run)
    blocks = build_page(opened.model, opened.class_names, note=note_of(opened.numbers, opened.accuracy))
    return launch(blocks, host=host, port=port, wait=wait), blocks


def build_page(
    model: keras.Model, class_names: Sequence[str], *, title: str = "What is on this image?", note: str = ""
) -> Any:
    """Return the page as `gradio.Blocks`: an image goes in, the most likely classes come out.

    Its function is also an API of the name `/classify`, for `gradio_client` or plain HTTP.

    Args:
        model: raw images `(n, size, size, 3)`, values 0 to 255, to probabilities `(n, classes)`.
        class_names: in the order of the outputs.
        title: the heading.
        note: what to know about the answers, below the heading.

    Raises:
        TlkitError: Gradio is missing; or the names do not fit the model.
    """
    if model.output_shape[-1] != len(class_names):
        raise TlkitError(
            f"{len(class_names)} class names were given for a model of {model.output_shape[-1]} outputs; "
            "expected one for each output, in their order."
        )
    gradio = _gradio()
    size = int(model.input_shape[1])

    def classify(image: str | None) -> dict[str, float] | None:
        if image is None:
            return None
        try:
            pixels = decode(image, size)
        except DataError as error:
            reason = str(error).rpartition(": ")[2]
            said = f"This file cannot be read as an image: {reason}."
            raise gradio.Error(said, duration=None, print_exception=False) from error
        probabilities = keras.ops.convert_to_numpy(
            model(pixels[np.newaxis].astype("float32"), training=False)
        )[0]
        return {name: float(each) for name, each in zip(class_names, probabilities, strict=True)}

    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(FORGET, FORGET)) as blocks:
        gradio.Markdown(f"# {title}")
        if note:
            gradio.Markdown(note)
        with gradio.Row():
            image = gradio.Image(
                type="filepath",
                format="png",
                label="image",
                buttons=[],
                sources=["upload", "clipboard", "webcam"],
            )
            answer = gradio.Label(
                num_top_classes=min(TOP, len(class_names)), label="class", show_heading=True
            )
        image.change(classify, image, answer, api_name="classify", show_progress="hidden")
    return blocks


def launch(blocks: Any, *, host: str = "127.0.0.1", port: int | None = None, wait: bool = True) -> str:
    """Serve a page and return its address; with `wait` only when it was stopped by Ctrl-C.

    Nothing is shared beyond the machine by default, and nothing is sent anywhere.

    Args:
        blocks: of `build_page`.
        host: "127.0.0.1" for this machine alone, "0.0.0.0" for everyone in the network.
        port: by default the first free one from 7860.
        wait: serve until Ctrl-C; else from a thread, until `blocks.close()`.

    Raises:
        TlkitError: the port is taken, the host is not this machine's, or the page does not answer.
    """
    if port is not None:
        _check(host, port)
    gradio = _gradio()
    settings: dict[str, Any] = {
        "server_name": host,
        "server_port": port,
        "share": False,
        "quiet": True,
        "ssr_mode": False,
        "enable_monitoring": False,
        "footer_links": [],
        "prevent_thread_lock": not wait,
        "theme": gradio.themes.Default(font=FONTS, font_mono=["ui-monospace", "monospace"]),
    }
    for _ in range(TRIES):
        try:
            return str(blocks.launch(**settings)[1])
        except ValueError as error:  # Gradio asks its page for an answer, and waits three seconds for it
            if "localhost is not accessible" not in str(error):
                raise
            blocks.close()
    raise TlkitError(
        f"The page was started at {host}, but did not answer in {TRIES} tries. If a proxy is set on this "
        f"machine, exempt this address: NO_PROXY={host}. If the machine is busy, try again later."
    )


def _check(host: str, port: int) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise TlkitError(
                f"The page cannot be served at {host}:{port}: {reason}. Choose another --port, or leave it "
                "out to take a free one."
            ) from error


def _gradio() -> Any:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it asks its maker for a newer version otherwise
    try:
        import gradio
    except ImportError as error:
        raise TlkitError(
            "The page needs Gradio, which is not installed. Install it: pip install 'tlkit[serve]'"
        ) from error
    return gradio


def note_of(numbers: dict[str, Any], accuracy: float | None) -> str:
    """Return what the page says about the model: how good it is, and what it cannot know.

    Args:
        numbers: a run's metrics.json.
        accuracy: on the split of its interval.
    """
    classes = f"It knows {len(numbers['class_names'])} classes, and calls everything by one of their names."
    interval = numbers["interval"]
    if interval is None or accuracy is None:
        return f"{classes} It was evaluated on no labelled images."
    low, high = (f"{100 * interval[end]:.0f}" for end in ("low", "high"))
    return (
        f"{classes} Right on {accuracy:.0%} of {interval['images']} {interval['split']} images, 95 % "
        f"interval {low} to {high} %."
    )
