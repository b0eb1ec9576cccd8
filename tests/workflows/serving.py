"""A server in a process of its own, and ways to speak to it, polite and not."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Reply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json()["error"]["code"]

    @property
    def message(self) -> str:
        return self.json()["error"]["message"]


@dataclass
class Server:
    """A running ``photic serve``."""

    process: subprocess.Popen[str]
    host: str
    port: int
    folder: Path
    log: Path
    token: str | None = None
    first_line: str = field(default="")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=60)

    def get(self, path: str, **headers: str) -> Reply:
        return self._ask("GET", path, None, headers)

    def post(self, model: str, file: Path | tuple[str, bytes], fields: Mapping[str, str] | None = None, **headers: str) -> Reply:
        name, content = (file.name, file.read_bytes()) if isinstance(file, Path) else file
        body, kind = form(name, content, fields or {})
        return self._ask("POST", f"/v1/models/{model}/predict", body, {"Content-Type": kind, **headers})

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        connection = self.connect()
        try:
            own = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
            connection.request(method, path, body, {**own, **headers})
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def raw(self, *pieces: bytes, pause_s: float = 0.0, timeout_s: float = 20.0) -> Reply | None:
        """Send bytes as they are, with pauses, and read to the end; None where the server closed without a word."""
        with socket.create_connection((self.host, self.port), timeout=timeout_s) as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause_s)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has had enough; what it said can still be read
            return read_reply(connection)

    def uploads(self) -> list[Path]:
        """Return what lies in the folder for uploads now."""
        return [path for root in self.folder.glob("photic-serve-*") for path in root.iterdir()]

    def stop(self, timeout_s: float = 30.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


def read_reply(connection: socket.socket) -> Reply | None:
    content = b""
    try:
        while piece := connection.recv(65536):
            content += piece
    except ConnectionResetError:
        pass
    if not content:
        return None
    head, _, body = content.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split()[1]), headers, body)


def form(name: str, content: bytes, fields: Mapping[str, str]) -> tuple[bytes, str]:
    """Return body and type of a form, the file's name as it is given."""
    mark = uuid.uuid4().hex.encode()
    parts = [b'Content-Disposition: form-data; name="%s"\r\n\r\n%s' % (key.encode(), value.encode()) for key, value in fields.items()]
    quoted = name.encode("utf-8", "surrogateescape")
    parts.append(b'Content-Disposition: form-data; name="file"; filename="%s"\r\n\r\n' % quoted + content)
    body = b"".join(b"--%s\r\n%s\r\n" % (mark, part) for part in parts) + b"--%s--\r\n" % mark
    return body, f"multipart/form-data; boundary={mark.decode()}"


def start(models: Sequence[Path | str], folder: Path, *options: str, token: str | None = None) -> Server:
    """Start a server on a free port and wait until it takes requests."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    if token is not None:
        environment["PHOTIC_TOKEN"] = token
    command = [sys.executable, "-m", "photic", "serve", *map(str, models), "--port", "0", "--device", "cpu", *options]
    said = folder / "said.txt"
    with open(log, "w") as errors, open(said, "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=errors, text=True, env=environment)
    while not (line := said.read_text()).endswith("\n") and process.poll() is None:
        time.sleep(0.02)
    found = re.search(r"http://([\d.]+):(\d+)", line)
    assert found is not None, f"{line}{log.read_text()}"
    return Server(process, found.group(1), int(found.group(2)), folder, log, token, line)
