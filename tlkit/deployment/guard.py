"""What every request to the served page has to pass: the host it asks for, its size, and safe headers."""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
ANY_ADDRESS = ("0.0.0.0", "::")  # hosts that stand for every address of the machine
ROOM = 10**6  # bytes of a request beside its file

# Gradio's page has scripts and styles in its HTML and shows images as data and blobs; all else is its own.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
# Gradio would fetch addresses from the internet for visitors, and store recordings; the page does neither.
CLOSED = (
    "/gradio_api/file=http",
    "/gradio_api/proxy=",
    "/gradio_api/process_recording",
    "/proxy=",
    "/file=http",
)


class Guard:
    """ASGI middleware that refuses foreign hosts and large requests, and adds security headers.

    A page elsewhere can make a browser ask this server under its own name (DNS rebinding), and then read the
    answers. Such a request carries that name in its Host header, so it is refused with status 421.

    Args:
        app: the application that answers.
        host: the address that is served.
        max_upload: bytes of a file that may be sent; larger requests are refused with status 413.
    """

    def __init__(self, app: Any, host: str, max_upload: int) -> None:
        self.app, self.host, self.most = app, host.strip("[]").lower(), max_upload + ROOM
        self.own = {self.host, *own_names()}

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        refusal = self.refusal(scope, headers)
        if refusal:
            await _refuse(scope, send, *refusal)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return {"type": "http.disconnect"} if received > self.most else message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = [name.lower() for name, _ in message["headers"]]
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in names]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        await self.app(scope, limited, guarded)

    def refusal(self, scope: Message, headers: MutableMapping[str, str]) -> tuple[int, str] | None:
        """Return the status and the reason if a request is refused, else None."""
        if not self.is_own(headers.get("host", "")):
            return 421, "This server is not known by that name. Use the address that tlkit serve printed."
        if scope.get("path", "").startswith(CLOSED):
            return 404, "Not found."
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self.most:
            limit = (self.most - ROOM) / 1e6
            return 413, f"The file is too large: at most {limit:g} MB can be sent."
        return None

    def is_own(self, host: str) -> bool:
        """Whether a Host header, such as "localhost:7860", names this machine."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in self.own or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self.host in ANY_ADDRESS  # an address cannot be rebound


def own_names() -> set[str]:
    """Return the names under which this machine is reached, in lower case."""
    name = socket.gethostname().lower()
    return {"localhost", name, f"{name.partition('.')[0]}.local"} - {""}


async def _refuse(
    scope: Message, send: Callable[[Message], Awaitable[None]], status: int, reason: str
) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    fields = {**HEADERS, "content-type": "text/plain; charset=utf-8", "connection": "close"}
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
