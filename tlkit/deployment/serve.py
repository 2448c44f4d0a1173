"""Serve a page that classifies the images you give it; on this machine only, unless asked otherwise."""

import functools
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit.data.decode import decode
from tlkit.deployment.guard import Guard
from tlkit.deployment.networks import check_answers, kind_of, output_kinds
from tlkit.deployment.saved_run import SavedRun, open_run
from tlkit.errors import DataError, TlkitError

TOP = 5  # classes shown
TRIES = 3  # of starting the page, on a machine that is too busy to answer at once
FORGET = 60  # seconds after which an image that was given is deleted; the page shows it until then
AT_ONCE = 4  # images that are classified at the same time
WAITING = 64  # images that may wait for their turn
PATIENCE = 30.0  # seconds for one image
MAX_UPLOAD = 20.0  # MB
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]  # of the reader's machine

Kinds = Mapping[str, tuple[str, Sequence[str]]]


_free = threading.BoundedSemaphore(AT_ONCE)


def serve(
    run: SavedRun | str | Path,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    wait: bool = True,
    max_upload: float = MAX_UPLOAD,
) -> tuple[str, Any]:
    """Serve a page that classifies images with the model of a run.

    Args:
        run: the folder that `tlkit train` or `tlkit train-tasks` wrote, or what `tlkit.open_run` returned.
        host, port, wait, max_upload: as for `launch`.

    Returns:
        The address, and the page as `gradio.Blocks`, which `close()` stops.

    Raises:
        TlkitError: the folder holds no run, Gradio is missing, or see `launch`.
    """
    opened = run if isinstance(run, SavedRun) else open_run(run)
    names = [] if opened.tasks else opened.class_names
    tasks = output_kinds(opened.model, opened.tasks)[0] if opened.tasks else None
    note = note_of_tasks(opened) if opened.tasks else note_of(opened.numbers, opened.accuracy)
    blocks = build_page(opened.model, names, tasks=tasks, note=note)
    return launch(blocks, host=host, port=port, wait=wait, max_upload=max_upload), blocks


def build_page(
    model: keras.Model,
    class_names: Sequence[str] = (),
    *,
    tasks: Kinds | None = None,
    title: str = "What is on this image?",
    note: str = "",
) -> Any:
    """Return the page as `gradio.Blocks`: an image goes in, the most likely classes come out.

    Its function is also an API of the name `/classify`, for `gradio_client` or plain HTTP.

    Args:
        model: raw images `(n, size, size, 3)`, values 0 to 255, to probabilities `(n, classes)`, or to a
            dictionary of outputs by task.
        class_names: in the order of the outputs, for a model with one output.
        tasks: kind and class names of each task, as `tlkit.deployment.networks.output_kinds` returns them.
        title: the heading.
        note: what to know about the answers, below the heading.

    Raises:
        TlkitError: Gradio is missing; or the names do not fit the model.
    """
    if tasks is None and model.output_shape[-1] != len(class_names):
        raise TlkitError(
            f"{len(class_names)} class names were given for a model of {model.output_shape[-1]} outputs; "
            "expected one for each output, in their order."
        )
    gradio = _gradio()
    kinds: Kinds = {"class": (kind_of(model), class_names)} if tasks is None else tasks
    size = int(model.inputs[0].shape[1])

    def classify(image: str | None) -> Any:
        if image is None:
            found: list[Any] = [None] * len(kinds)
        else:
            try:
                found = within(PATIENCE, lambda: answers(model, kinds, image, size))
            except TlkitError as error:
                raise gradio.Error(str(error), duration=None, print_exception=False) from error
        return found if len(found) > 1 else found[0]

    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(FORGET // 4, FORGET)) as blocks:
        gradio.Markdown(f"# {title}")
        if note:
            gradio.Markdown(note)
        with gradio.Row():
            image = gradio.Image(
                type="filepath",
                format="png",
                label="image to classify",
                buttons=[],
                sources=["upload", "clipboard", "webcam"],
            )
            image.preprocess = functools.partial(_path_of, image.preprocess)
            with gradio.Column():
                shown = [_display(gradio, task, kind, names) for task, (kind, names) in kinds.items()]
        image.change(
            classify, image, shown, api_name="classify", show_progress="hidden", concurrency_limit=AT_ONCE
        )
    return blocks.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE)


def answers(model: keras.Model, kinds: Kinds, image: str, size: int) -> list[Any]:
    """Return what the page shows for an image: for each task probabilities by class, or a number as text.

    Raises:
        TlkitError: the file is no image, or the model's answers cannot be right; the message is for visitors.
    """
    try:
        pixels = decode(Path(image), size)
    except DataError as error:
        reason = str(error).rpartition(": ")[2].rstrip(".")
        raise TlkitError(
            f"This file cannot be read as an image: {reason}. Choose another file, such as a JPEG or PNG."
        ) from error
    outputs = model(pixels[np.newaxis].astype("float32"), training=False)
    found: list[Any] = []
    for task, (kind, names) in kinds.items():
        output = outputs[task] if isinstance(outputs, dict) else outputs
        values = keras.ops.convert_to_numpy(output)
        check_answers(values, "The model", kind)
        if kind == "regression":
            found.append(", ".join(f"{value:.4g}" for value in values[0]))
        else:
            found.append({name: float(each) for name, each in zip(names, values[0], strict=True)})
    return found


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """Return the result of a function that runs in a thread.

    A thread cannot be stopped: after the time it goes on, but nobody waits for it.

    Args:
        seconds: the time limit.
        function: without arguments.

    Raises:
        TlkitError: the time is over.
        Exception: what the function raised.
    """
    future: Future[Any] = Future()
    if not _free.acquire(timeout=seconds):  # threads that went on after their time
        raise TlkitError("The page is busy with other images. Try again later.")

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)
        finally:
            _free.release()

    threading.Thread(target=run, name="tlkit-serve", daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError as error:
        raise TlkitError(
            f"This image took more than {seconds:g} seconds, which is the limit. Choose a smaller one, or "
            "try again later."
        ) from error


def launch(
    blocks: Any,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    wait: bool = True,
    max_upload: float = MAX_UPLOAD,
) -> str:
    """Serve a page and return its address; with `wait` only when it was stopped by Ctrl-C.

    Nothing is shared beyond the machine by default, and nothing is sent anywhere. Requests that name another
    host than this machine are refused, and every answer has security headers; see `tlkit.deployment.guard`.

    Args:
        blocks: of `build_page`.
        host: "127.0.0.1" for this machine alone, "0.0.0.0" for everyone in the network.
        port: by default the first free one from 7860.
        wait: serve until Ctrl-C; else from a thread, until `blocks.close()`.
        max_upload: the largest file that can be sent, in MB.

    Raises:
        TlkitError: the port is taken, the host is not this machine's, the page does not answer, or
            `max_upload` is not above 0.
    """
    if not 0 < max_upload < float("inf"):
        raise TlkitError(f"max_upload={max_upload} was given; expected a number of MB above 0, such as 20.")
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    _check(host, port)
    gradio = _gradio()
    most = int(max_upload * 1e6)
    settings: dict[str, Any] = {
        "server_name": host,
        "server_port": port,
        "share": False,
        "quiet": True,
        "inline": False,  # other pages must not frame it
        "ssr_mode": False,
        "enable_monitoring": False,
        "run_history": False,
        "footer_links": [],
        "prevent_thread_lock": not wait,
        "max_file_size": most,
        "theme": gradio.themes.Default(font=FONTS, font_mono=["ui-monospace", "monospace"]),
    }
    for _ in range(TRIES):
        try:
            return str(blocks.launch(**settings, app_kwargs={"middleware": [_middleware(host, most)]})[1])
        except OSError as error:  # no port is free, or the server did not start
            raise _not_served(host, port, str(error)) from error
        except ValueError as error:  # Gradio asks its page for an answer, and waits three seconds for it
            if "localhost is not accessible" not in str(error):
                raise
            blocks.close()
    raise TlkitError(
        f"The page was started at {host}, but did not answer in {TRIES} tries. If a proxy is set on this "
        f"machine, exempt this address: NO_PROXY={host}. If the machine is busy, try again later."
    )


def _check(host: str, port: int | None) -> None:
    """Raise TlkitError if the page cannot be served there; without a port any free one is tried."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except (OSError, OverflowError, ValueError) as error:
        port = None if isinstance(error, socket.gaierror) else port
        raise _not_served(host, port, getattr(error, "strerror", None) or str(error)) from error


def _not_served(host: str, port: int | None, reason: str) -> TlkitError:
    where, advice = f"{host}:{port}", "Choose another --port, or leave it out to take a free one."
    if port is None:
        where = host
        advice = (
            "Choose another --host: 127.0.0.1 for this machine alone, 0.0.0.0 for everyone in your network."
        )
    return TlkitError(
        f"The page cannot be served at {where}: {' '.join(reason.split()).rstrip('.')}. {advice}"
    )


def _middleware(host: str, most: int) -> Any:
    from starlette.middleware import Middleware

    return Middleware(Guard, host=host, max_upload=most)


def _display(gradio: Any, task: str, kind: str, names: Sequence[str]) -> Any:
    if kind == "regression":
        return gradio.Textbox(label=task, interactive=False)
    return gradio.Label(num_top_classes=min(TOP, len(names)), label=task, show_heading=True)


def _path_of(decoded: Callable[[Any], Any], payload: Any) -> str | None:
    """Return the path of a file that was sent; Gradio would decode it first, with messages of its own."""
    if payload is None or payload.path:
        return payload and payload.path
    try:
        return decoded(payload)  # an image within the request, as base64
    except Exception:
        return ""  # `decode` says that it is no image


def _gradio() -> Any:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it asks its maker for a newer version otherwise
    os.environ.setdefault("GRADIO_TEMP_DIR", _folder().name)
    try:
        import gradio
    except ImportError as error:
        raise TlkitError(
            "The page needs Gradio, which is not installed. Install it: pip install 'tlkit[serve]'"
        ) from error
    return gradio


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """Return the folder for the images that are sent; it is removed when Python ends."""
    return tempfile.TemporaryDirectory(prefix="tlkit-serve-", ignore_cleanup_errors=True)


def note_of(numbers: dict[str, Any], accuracy: float | None) -> str:
    """Return what the page says about the model: how good it is, and what it cannot know.

    Args:
        numbers: a run's metrics.json.
        accuracy: on the split of its interval.
    """
    classes = f"It assigns every image to one of {len(numbers['class_names'])} classes, whatever it shows."
    interval = numbers["interval"]
    if interval is None or accuracy is None:
        return f"{classes} It was evaluated on no labelled images."
    low, high = (f"{100 * interval[end]:.0f}" for end in ("low", "high"))
    return (
        f"{classes} Right on {accuracy:.0%} of {interval['images']} {interval['split']} images, 95 % "
        f"interval {low} to {high} %."
    )


def note_of_tasks(run: SavedRun) -> str:
    """Return what the page says about a model with several tasks: how good each is."""
    split, said = run.split, []
    for task, about in run.tasks.items():
        value, images = about[about["measure"]][split], about["labelled"].get(split)
        if value is None:
            said.append(f"{task}: evaluated on no labelled images")
        elif about["measure"] == "accuracy":
            said.append(f"{task}: right on {value:.0%} of {images} {split} images")
        else:
            said.append(f"{task}: mean absolute error {value:.4g} on {images} {split} images")
    return f"It answers {len(run.tasks)} questions about every image, whatever it shows. {'; '.join(said)}."
