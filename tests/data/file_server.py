"""A local HTTP server that serves files well, or in one of the ways in which servers fail."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Served:
    """A file and how it is served.

    Attributes:
        ranges: whether a part may be asked for.
        truncate: how many answers end half way; "always" for all.
        corrupt: whether one byte is another one.
        statuses: sent for the first requests instead of the file.
        redirect: where to, instead.
        stalls: how many answers stop half way and say nothing more.
    """

    content: bytes
    ranges: bool = True
    truncate: int | str = 0
    corrupt: bool = False
    statuses: list[int] = field(default_factory=list)
    redirect: str | None = None
    stalls: int = 0
    etag: str | None = None

    def take(self, what: str) -> bool:
        """Whether the next answer misbehaves so."""
        left = getattr(self, what)
        if isinstance(left, int) and left > 0:
            setattr(self, what, left - 1)
        return bool(left)


class FileServer:
    """Files by path; `requests` lists (method, path, Range header) of what was asked."""

    def __init__(self):
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.stop = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with suppress(BrokenPipeError, ConnectionResetError):
                    server.answer(self)

            do_HEAD = do_GET

            def log_message(self, *arguments):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.stop.set()
        self._http.shutdown()
        self._http.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.requests.append((request.command, path, request.headers.get("Range")))
        served = self.files.get(path)
        if served is None or served.statuses:
            self._empty(request, served.statuses.pop(0) if served else 404)
        elif served.redirect is not None:
            self._empty(request, 302, Location=served.redirect)
        else:
            self._file(request, served)

    def _empty(self, request: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _file(self, request: BaseHTTPRequestHandler, served: Served) -> None:
        content = served.content
        etag = served.etag or f'"{hashlib.sha256(content).hexdigest()}"'
        start = self._start(request, served, etag)
        if start and start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if served.corrupt:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.send_header("Content-Length", str(len(content) - start))
        request.send_header("ETag", etag)
        request.send_header("X-Repo-Commit", COMMIT)  # what huggingface_hub asks for
        request.end_headers()
        if request.command == "HEAD":
            return
        body = content[start:]
        if served.take("truncate"):
            request.wfile.write(body[: len(body) // 2])
            request.close_connection = True
            return
        if served.take("stalls"):
            request.wfile.write(body[: len(body) // 2])
            self.stop.wait(5)
            request.close_connection = True
            return
        request.wfile.write(body)

    def _start(self, request: BaseHTTPRequestHandler, served: Served, etag: str) -> int:
        wanted = request.headers.get("Range", "")
        same = request.headers.get("If-Range", etag) == etag
        return int(wanted[len("bytes=") :].split("-")[0]) if wanted and served.ranges and same else 0
