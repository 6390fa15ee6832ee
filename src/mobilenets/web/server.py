"""A server of the page for this machine only, with the headers that browsers require for threads."""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""The first two isolate the page from others, which browsers require before threads may share memory."""

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".json": "application/json",
    ".onnx": "application/octet-stream",
    ".tflite": "application/octet-stream",
    ".svg": "image/svg+xml",
}
"""Content types by file extension. The system's own table is not used, because it may lack some of them."""


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **TYPES}  # noqa: RUF012  # as in the class above

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: object) -> None:
        """Answer 404 instead of listing a folder."""
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Do not print requests."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore browsers that hang up, for example when the user leaves the page."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as it was given


def page_server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server for the folder at 127.0.0.1, run by its caller: `with page_server(folder) as server: server.serve_forever()`.

    Args:
        folder: a folder that `write_page` wrote.
        port: 0 for any that is free.

    Raises:
        OSError: the port is taken.
    """
    return _Server(("127.0.0.1", port), partial(_Handler, directory=str(folder)))
