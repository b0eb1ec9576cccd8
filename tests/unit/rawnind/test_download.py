"""`photic data download rawnind` against a local server that drops connections, ignores ranges, gives wrong bytes and errors."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from photic.apps.rawnind.pairs.dataverse import listing_url, parse_listing, read_listing
from photic.apps.rawnind.pairs.download import DOI, VERIFIED, Verified, main
from photic.apps.rawnind.pairs.fetching import PART, Fetcher, Stopped, md5_of
from photic.core.errors import ConfigError, DataError

SIZES = {"Bayer_a_ISO100.arw": 300_000, "Bayer_b_ISO200.arw": 80_000, "X-Trans_c.raf": 1, "dataset.yaml": 0}
NUMBERS = {name: 1000 + row for row, name in enumerate(SIZES)}
CONTENT = {name: np.random.default_rng(row).bytes(size) for row, (name, size) in enumerate(SIZES.items())}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves the files; ``behaviour`` of a file is what it does the next times it is asked for it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour: dict[str, list[str]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.sent: Counter[str] = Counter()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address) -> None:
        """Say nothing about clients that are gone."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *words) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path.startswith("/api/datasets/"):
            self.answer(200, json.dumps(listing()).encode())
            return
        name = next((name for name, number in NUMBERS.items() if self.path == f"/api/access/datafile/{number}"), None)
        wanted = self.headers.get("Range")
        self.server.asked.append((name or self.path, wanted))
        steps = self.server.behaviour.get(name or "", [])
        step = steps.pop(0) if steps else "good"
        if name is None or step == "404":
            self.answer(404, b"no")
        elif step in ("500", "503", "429"):
            self.answer(int(step), b"later", {"Retry-After": "0"})
        elif step == "redirect":
            self.answer(302, b"", {"Location": f"{self.server.address}{self.path}"})
        else:
            self.give(name, step, int(wanted[6:-1]) if wanted and step != "whole" else 0, wanted is not None and step != "whole")

    def give(self, name: str, step: str, start: int, partial: bool) -> None:
        data = CONTENT[name]
        if step == "wrong":
            data = bytes(len(data))
        if step == "longer":
            data = data + b"more"
        if partial and start >= len(data):
            self.answer(416, b"")
            return
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if partial else {}
        if step == "elsewhere":
            headers["Content-Range"] = f"bytes 0-{len(data) - 1}/{len(data)}"
        body = data[start:]
        self.send_response(206 if partial else 200)
        if step != "unknown length":
            headers["Content-Length"] = str(len(body))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if step.startswith("drop"):  # after so many bytes
            body = body[: int(step.split()[1])]
        self.wfile.write(body)
        self.server.sent[name] += len(body)
        if step.startswith("drop"):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)


def listing() -> dict:
    files = [
        {"label": name, "dataFile": {"id": NUMBERS[name], "filename": name, "filesize": size, "md5": md5(CONTENT[name])}}
        for name, size in SIZES.items()
    ]
    return {"status": "OK", "data": files}


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


QUICK = Fetcher(attempts=3, timeout_s=5, first_pause_s=0.001, longest_pause_s=0.002)
NAME = "Bayer_a_ISO100.arw"


def fetch(server: Server, path: Path, fetcher: Fetcher = QUICK, name: str = NAME) -> list[int]:
    came: list[int] = []
    fetcher.fetch(f"{server.address}/api/access/datafile/{NUMBERS[name]}", path, SIZES[name], md5(CONTENT[name]), came.append)
    return came


def run(server: Server, output: Path, *words: str) -> int:
    return main(["-o", str(output), "--server", server.address, "--yes", "--quiet", "--attempts", "3", *words])


@pytest.mark.parametrize(
    "steps",
    [
        [],
        ["drop 1000", "drop 0", "drop 250000"],
        ["drop 5000", "whole"],  # begins anew, where bytes from 5000 on were asked for
        ["503", "429", "redirect"],
        ["redirect"],
        ["drop 70000", "500", "redirect", "drop 10", "unknown length"],
        ["wrong"],
        ["longer", "longer"],
        ["unknown length"],
    ],
    ids=str,
)
def test_a_file_arrives_whole_whatever_the_server_does(server, tmp_path, steps):
    server.behaviour[NAME] = list(steps)
    came = fetch(server, tmp_path / "a.arw")
    assert (tmp_path / "a.arw").read_bytes() == CONTENT[NAME]
    assert not (tmp_path / ("a.arw" + PART)).exists()
    assert sum(came) == SIZES[NAME]


def test_it_goes_on_where_it_was_and_fetches_nothing_twice(server, tmp_path):
    part = tmp_path / ("a.arw" + PART)
    part.write_bytes(CONTENT[NAME][:123_457])
    server.behaviour[NAME] = ["drop 50000"]
    fetch(server, tmp_path / "a.arw")
    assert [wanted for _, wanted in server.asked] == ["bytes=123457-", "bytes=173457-"]
    assert server.sent[NAME] == SIZES[NAME] - 123_457


def test_a_part_of_something_else_is_found_out_by_the_checksum(server, tmp_path):
    for content in (bytes(1000), bytes(SIZES[NAME]), bytes(SIZES[NAME] + 9)):
        (tmp_path / ("a.arw" + PART)).write_bytes(content)
        fetch(server, tmp_path / "a.arw")
        assert md5_of(tmp_path / "a.arw") == md5(CONTENT[NAME])


@pytest.mark.parametrize(
    ("steps", "words", "kept"),
    [
        (["404"], "answers 404", None),
        (["500"] * 9, "answers 500 .*3 times in a row; 0 of 300000 bytes", None),
        (["drop 400", *["503"] * 9], "503.*400 of 300000 bytes are kept", 400),
        (["drop 0"] * 9, "connection broke.*3 times in a row", 0),
        (["wrong"] * 9, "3 times 300000 bytes with another checksum", None),
        (["longer"] * 9, "more than the 300000 bytes", 0),
        (["drop 9000", "elsewhere"], "the server answers 'bytes 0-", 9000),
    ],
)
def test_what_does_not_arrive_is_said_and_never_looks_complete(server, tmp_path, steps, words, kept):
    server.behaviour[NAME] = list(steps)
    with pytest.raises(DataError, match=words):
        fetch(server, tmp_path / "a.arw")
    assert not (tmp_path / "a.arw").exists()
    part = tmp_path / ("a.arw" + PART)
    assert (part.stat().st_size if part.exists() else None) == kept


def test_a_server_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/x: .*refused"):
        QUICK.fetch("http://127.0.0.1:9/x", tmp_path / "a", 1, "0" * 32)
    with pytest.raises(DataError, match="give --index FILE"):
        QUICK.text("http://127.0.0.1:9/x")
    with pytest.raises(DataError, match="no address"):
        QUICK.text("nonsense")


def test_a_stop_keeps_what_came(server, tmp_path):
    fetcher = Fetcher(attempts=3, first_pause_s=60)
    server.behaviour[NAME] = ["drop 400"]
    timer = threading.Timer(0.3, fetcher.stop.set)
    timer.start()
    with pytest.raises(Stopped):  # in the pause
        fetch(server, tmp_path / "a.arw", fetcher)
    timer.join()
    assert (tmp_path / ("a.arw" + PART)).stat().st_size == 400


# --- the command ----------------------------------------------------------------------------------


def test_the_whole_set_from_the_server_s_own_list(server, tmp_path, capsys):
    assert listing_url(server.address, DOI).endswith("/files?persistentId=doi:10.14428/DVN/DEQCIM")
    output = tmp_path / "set"
    assert run(server, output) == 0
    text = capsys.readouterr().out
    assert "CC BY-SA 4.0" in text
    assert "4 of 4 files, 380.0 kB; 0 are in" in text
    for name, data in CONTENT.items():
        assert (output / name).read_bytes() == data
    asked = len(server.asked)
    assert run(server, output) == 0
    assert "nothing to fetch" in capsys.readouterr().out
    assert len(server.asked) == asked
    # A file that was changed is noticed, one that nobody verified is read instead of fetched.
    (output / NAME).write_bytes(bytes(SIZES[NAME]))
    (output / VERIFIED).unlink()
    assert run(server, output) == 0
    assert "1 files fetched and checked" in capsys.readouterr().out
    assert [name for name, _ in server.asked[asked:]] == [NAME]
    assert md5_of(output / NAME) == md5(CONTENT[NAME])


def test_files_that_fail_do_not_stop_the_others(server, tmp_path, capsys):
    server.behaviour[NAME] = ["404"]
    assert run(server, tmp_path) == 1
    text = capsys.readouterr().out
    assert "3 files fetched" in text
    assert f"1 FAILED:\n  {NAME}: " in text
    assert run(server, tmp_path) == 0


def test_a_part_of_the_set_by_name_from_a_saved_list(server, tmp_path, capsys):
    rows = [f"{name},{NUMBERS[name]},{size},{md5(CONTENT[name])}" for name, size in SIZES.items()]
    table = "\n".join(["filename,dataverse_file_id,bytes,md5", *rows])
    (tmp_path / "files.csv.gz").write_bytes(gzip.compress(table.encode()))
    (tmp_path / "files.json").write_text(json.dumps(listing()))
    assert read_listing(tmp_path / "files.csv.gz") == read_listing(tmp_path / "files.json")
    words = ["--index", str(tmp_path / "files.csv.gz"), "--match", "Bayer_*", "--match", "*.yaml"]
    assert run(server, tmp_path / "some", *words) == 0
    assert sorted(path.name for path in (tmp_path / "some").iterdir()) == sorted([VERIFIED, *(name for name in SIZES if name[0] in "Bd")])
    with pytest.raises(ConfigError, match=r"none of 4 files"):
        run(server, tmp_path / "some", "--match", "*.nef")
    with pytest.raises(DataError, match="no such file"):
        run(server, tmp_path / "some", "--index", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="add --yes"):
        main(["-o", str(tmp_path / "new"), "--server", server.address, "--quiet"])
    assert not (tmp_path / "new").exists()


def test_a_damaged_note_of_what_was_verified_is_no_harm(server, tmp_path):
    run(server, tmp_path, "--match", "*.raf")
    (one,) = [row for row in parse_listing(json.dumps(listing()), "x") if row.name.endswith(".raf")]
    with (tmp_path / VERIFIED).open("a") as handle:
        handle.write('["cut sho')
    assert Verified(tmp_path).holds(one)


def test_lists_in_all_shapes_of_the_api():
    files = listing()["data"]
    expected = parse_listing(json.dumps(listing()), "x")
    for content in (
        {"status": "OK", "data": {"files": files}},
        {"data": {"latestVersion": {"files": files}}},
        {"datasetVersion": {"files": files}},
        files,
    ):
        assert parse_listing(json.dumps(content), "x") == expected
    deep = [files[0] | {"directoryLabel": "a/b"}]
    assert parse_listing(json.dumps(deep), "x")[0].name == f"a/b/{NAME}"
    checksum = {"label": "n", "dataFile": {"id": 1, "filesize": 2, "checksum": {"type": "MD5", "value": "0" * 32}}}
    assert parse_listing(json.dumps([checksum]), "x")[0].md5 == "0" * 32


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"status": "ERROR", "message": "not found"}', "answered 'not found'"),
        ('{"data": 3}', "no list of files"),
        ('[{"dataFile": {"id": 1}}]', "file 0"),
        ('[{"dataFile": 3}]', "file 0"),
        ("[]", "lists no files"),
        ("{", "no JSON"),
        ("a,b\n1,2", "no column filename"),
        ("filename,dataverse_file_id,bytes,md5\nx,1,2,zz", "line 2 .x.: expected"),
        (f"filename,dataverse_file_id,bytes,md5\nx,1,-2,{'0' * 32}", "line 2"),
        (f"filename,dataverse_file_id,bytes,md5\nx,1,2,{'0' * 32}\nx,1,2,{'0' * 32}", "twice"),
        *(
            (f"filename,dataverse_file_id,bytes,md5\n{name},1,2,{'0' * 32}", "damaged or hostile")
            for name in ("../x", "/etc/x", "a/../../x", "a\\b", "c:x", "")
        ),
        ('[{"dataFile": {"id": 1, "filename": "x", "filesize": 2, "checksum": {"type": "SHA-1", "value": "0"}}}]', "SHA-1"),
    ],
)  # fmt: skip
def test_lists_that_are_none_or_lead_elsewhere_are_refused(text, words):
    with pytest.raises(DataError, match=words):
        parse_listing(text, "list")
