"""``photic serve`` as a process: right answers for every application, refusals, slow and rude clients, tokens, the end."""

from __future__ import annotations

import io
import json
import signal
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import photic
from photic.apps.defects.synthetic import CLASSES, draw_strip
from photic.apps.ptycho.raw import save_raw_npz
from photic.apps.ptycho.simulate import generated_scan
from photic.apps.rawnind.files.dng import write_mosaic_dng
from photic.apps.rawnind.picture import RawPicture
from photic.cli.main import main
from photic.core.checkpoint import Checkpoint, write_checkpoint
from photic.core.errors import ConfigError
from photic.core.extras import need
from photic.core.plugins import shipped_models
from photic.functional.cfa import BAYER
from photic.functional.raw_colour import XYZ_TO_SRGB
from photic.inference.file_model import FileModel, open_file_model, with_warnings

from .serving import Reply, Server, form, read_reply, start

TOKEN = "only-for-this-test-0123456789"


def write_strips_model(path: Path) -> Path:
    config = photic.recipe("quick_strips", {"model.width": 8})
    torch.manual_seed(0)
    task = config.task.build(config.model, config.loss, {"classes": CLASSES}).eval()
    description = {"config": config.to_dict(), "classes": list(CLASSES), "thresholds": [0.5] * len(CLASSES)}
    return write_checkpoint(path, Checkpoint(weights=task.state_dict(), description=description))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models and a file for each of four."""
    folder = tmp_path_factory.mktemp("serve")
    write_strips_model(folder / "strips.safetensors")
    Image.fromarray(draw_strip(1, 0, 32, 64).picture).save(folder / "strip.png")
    rng = np.random.default_rng(0)
    Image.fromarray((40 * rng.random((48, 64, 3))).astype(np.uint8)).save(folder / "dark.png")
    balance = np.array([2.0, 1.0, 1.5])
    mosaic = np.clip(0.2 + 0.05 * rng.normal(size=(48, 64)), 0, 1).astype(np.float32)
    picture = RawPicture(mosaic, BAYER["RGGB"], xyz_to_camera=XYZ_TO_SRGB / balance[:, None], white_balance=balance)
    write_mosaic_dng(folder / "photo.dng", picture)
    scan = generated_scan(size_px=32, num_positions=40, step_px=3.0, probe_diameter_px=12.0, photons=1e5)
    save_raw_npz(folder / "scan.npz", scan)
    changes = {"model.width_factor": 0.125, "training.max_steps": 1, "data.num_samples": 40, "output_dir": str(folder / "runs")}
    run = photic.train(photic.recipe("quick_ptycho", changes), quiet=True, page=False).run
    photic.bundle(run, folder / "star.photic")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All four applications, with tight limits."""
    models = [folder / "strips.safetensors", "lowlight", "rawdenoise", folder / "star.photic"]
    limits = ["--max-upload-mb", "2", "--max-megapixels", "4", "--idle-timeout", "1", "--upload-timeout", "3", "--connections", "12"]
    running = start(models, tmp_path_factory.mktemp("tmp"), *limits)
    yield running
    assert running.stop() == 0
    assert not list(running.folder.glob("photic-serve-*"))


@pytest.fixture(scope="module")
def bare(folder: Path) -> dict[str, FileModel]:
    """The same models without a server."""
    places = {"strips": folder / "strips.safetensors", "star": folder / "star.photic"}
    shipped = {name: shipped_models()[name] for name in ("lowlight", "rawdenoise")}
    return {name: open_file_model(path, "cpu") for name, path in {**places, **shipped}.items()}


def refused(reply: Reply | None, status: int, code: str, *words: str) -> None:
    assert reply is not None
    assert (reply.status, reply.code) == (status, code), reply.body
    for word in words:
        assert word in reply.message
    assert b"photic-serve-" not in reply.body


def alive(server: Server, folder: Path) -> None:
    """Check that good requests are still answered, and that nothing was left."""
    assert server.post("strips", folder / "strip.png").status == 200
    deadline = time.monotonic() + 5
    while server.uploads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.uploads() == []


# --- right answers -------------------------------------------------------------------------------


def test_a_classifier_answers_what_it_answers_without_a_server(server: Server, bare: dict[str, FileModel], folder: Path) -> None:
    expected = bare["strips"].apply(folder / "strip.png", None, bare["strips"].options_type()).values
    reply = server.post("strips", folder / "strip.png")
    assert reply.status == 200
    assert reply.json()["values"] == expected
    assert "maps" in server.post("strips", folder / "strip.png", {"maps": "true"}).json()["values"]


@pytest.mark.parametrize(
    "case",
    [
        ("lowlight", "dark.png", {"strength": "0.5"}, ".png"),
        ("lowlight", "dark.png", {"format": "tif"}, ".tif"),
        ("rawdenoise", "photo.dng", {"format": "png"}, ".png"),
        ("star", "scan.npz", {}, ".npz"),
    ],
)
def test_files_come_back_as_the_model_makes_them_without_a_server(
    server: Server, bare: dict[str, FileModel], folder: Path, tmp_path: Path, case: tuple[str, str, dict[str, str], str]
) -> None:
    model, source, fields, ending = case
    reply = server.post(model, folder / source, fields)
    assert reply.status == 200, reply.body
    name = f"{Path(source).stem}{ending}"
    assert reply.headers["content-disposition"] == f'attachment; filename="{name}"'
    options = bare[model].options_type.from_dict({key: float(value) for key, value in fields.items() if key != "format"})
    bare[model].is_guarded = True
    expected = with_warnings(lambda: bare[model].apply(folder / source, tmp_path / name, options))
    if ending == ".npz":
        with np.load(io.BytesIO(reply.body)) as found, np.load(tmp_path / name) as right:
            assert found.files == right.files
            np.testing.assert_array_equal(found["object"], right["object"])
    else:
        assert reply.body == (tmp_path / name).read_bytes()
    assert json.loads(reply.headers["photic-values"])["height"] > 0
    assert json.loads(reply.headers["photic-notes"]) == list(expected.notes)


def test_one_connection_serves_many_requests(server: Server, folder: Path) -> None:
    connection = server.connect()
    body, kind = form("strip.png", (folder / "strip.png").read_bytes(), {})
    for _ in range(5):
        connection.request("POST", "/v1/models/strips/predict", body, {"Content-Type": kind})
        answer = connection.getresponse()
        assert (answer.status, len(answer.read()) > 0) == (200, True)
    connection.close()


def test_concurrent_clients_get_their_own_answers(server: Server, bare: dict[str, FileModel], tmp_path: Path) -> None:
    paths = []
    for number in range(6):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(draw_strip(2, number, 32, 64).picture).save(paths[-1])
    options = bare["strips"].options_type()
    expected = [bare["strips"].apply(path, None, options).values["probabilities"] for path in paths]
    found: list[list[Any]] = [[] for _ in paths]

    def client(number: int) -> None:
        for _ in range(5):
            found[number].append(server.post("strips", paths[number]).json()["values"]["probabilities"])

    threads = [threading.Thread(target=client, args=(number,)) for number in range(len(paths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answers, right in zip(found, expected, strict=True):
        assert len(answers) == 5
        for answer in answers:
            assert np.abs(np.subtract(list(answer.values()), list(right.values()))).max() < 2e-6


def test_pages_metrics_and_health_answer(server: Server) -> None:
    assert b"rawdenoise" in server.get("/").body
    assert b"/v1/models/star/predict" in server.get("/docs").body
    assert server.get("/openapi.json").json()["openapi"].startswith("3.1")
    assert server.get("/health/live").json() == {"status": "live"}
    assert server.get("/health/ready").json() == {"status": "ready"}
    metrics = server.get("/metrics").body.decode()
    assert 'photic_model_info{model="star",sha256="' in metrics
    assert "process_resident_memory_bytes" in metrics


# --- what is sent is wrong -----------------------------------------------------------------------


def bomb() -> bytes:
    """Return a PNG of 30,000 x 30,000 pixels in some kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    side = (30_000).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", side + side + b"\x08\x00\x00\x00\x00") + chunk(b"IDAT", b"x\x9c") + chunk(b"IEND", b"")


def five_channels() -> bytes:
    content = io.BytesIO()
    tifffile.imwrite(content, np.zeros((5, 16, 16), np.uint8), photometric="minisblack", planarconfig="separate")
    return content.getvalue()


def linked() -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["diffraction"] = h5py.ExternalLink("/etc/hostname", "/data")
    return content.getvalue()


@pytest.mark.parametrize(
    "case",
    [
        ("strips", "scan.npz", b"PK", 415, ".png"),
        ("star", "strip.png", b"\x89PNG", 415, ".npz"),
        ("rawdenoise", "photo.txt", b"x", 415, "raw files"),
        ("strips", "strip.png", b"no picture at all", 422, "strip.png"),
        ("lowlight", "dark.jpg", b"\xff\xd8\xff\xe0 cut off", 422, "dark.jpg"),
        ("rawdenoise", "photo.dng", b"II*\x00" + bytes(100), 422, "photo.dng"),
        ("star", "scan.npz", b"PK\x03\x04 broken", 422, "scan.npz"),
        ("strips", "five.tif", five_channels(), 422, "five.tif"),
        ("lowlight", "five.tif", five_channels(), 422, "five.tif"),
        ("strips", "bomb.png", bomb(), 422, "bomb.png"),
        ("lowlight", "bomb.png", bomb(), 422, "bomb.png"),
        ("star", "linked.h5", linked(), 422, "linked.h5"),
        ("strips", "empty.png", b"", 422, "empty.png"),
    ],
)
def test_files_that_a_model_cannot_take_are_refused_by_name(server: Server, case: tuple[str, str, bytes, int, str]) -> None:
    model, name, content, status, word = case
    reply = server.post(model, (name, content))
    assert reply.status == status, reply.body
    assert word in reply.message
    assert str(server.folder).encode() not in reply.body
    assert b"upload." not in reply.body


def test_a_scan_that_does_not_fit_the_network_is_refused(server: Server, tmp_path: Path) -> None:
    save_raw_npz(tmp_path / "other.npz", generated_scan(size_px=48, num_positions=20, step_px=3.0, probe_diameter_px=12.0, photons=1e5))
    refused(server.post("star", tmp_path / "other.npz"), 422, "unusable_file", "48")


def test_options_are_checked(server: Server, folder: Path) -> None:
    refused(server.post("lowlight", folder / "dark.png", {"strenght": "1"}), 422, "bad_field", "did you mean 'strength'")
    refused(server.post("lowlight", folder / "dark.png", {"strength": "3"}), 422, "bad_field", "field 'strength'")
    refused(server.post("lowlight", folder / "dark.png", {"format": "mp4"}), 422, "bad_field", ".png")
    refused(server.post("rawdenoise", folder / "photo.dng", {"format": "dng", "exposure_ev": "1"}), 422, "unusable_option", "exposure")
    refused(server.post("star", folder / "scan.npz", {"refine_probe": "true"}), 422, "unusable_option", "refine")


@pytest.mark.parametrize(
    ("name", "given_back"),
    [
        ("../../x.png", "x.png"),
        ("/etc/cron.d/x.png", "x.png"),
        ("..\\..\\x.png", "x.png"),
        ("a\x00b.png", "ab.png"),
        ("a%0d%0aX-Evil: 1.png", "a_0d_0aX-Evil_ 1.png"),
        ("x" * 3000 + ".png", "x" * 80 + ".png"),
        ("~root/.ssh.PNG", "ssh.png"),
        ("$(reboot);`id`|x.png", "_(reboot)__id__x.png".strip("_")),
    ],
)
def test_tricks_in_file_names_lead_nowhere(server: Server, folder: Path, name: str, given_back: str) -> None:
    before = {path for path in server.folder.rglob("*") if "photic-serve-" not in str(path)}
    reply = server.post("lowlight", (name, (folder / "dark.png").read_bytes()))
    assert reply.status == 200, reply.body
    assert reply.headers["content-disposition"] == f'attachment; filename="{given_back}"'
    assert "x-evil" not in reply.headers
    assert {path for path in server.folder.rglob("*") if "photic-serve-" not in str(path)} == before


def test_line_ends_in_file_names_are_no_headers(server: Server, folder: Path) -> None:
    reply = server.post("lowlight", ("a\r\nX-Evil: 1.png", (folder / "dark.png").read_bytes()))
    assert reply.status in (400, 415, 422)  # the name ends at the line's end
    assert "x-evil" not in reply.headers
    assert all(json.loads(line) for line in server.log.read_text().splitlines())


def test_names_in_addresses_lead_nowhere(server: Server) -> None:
    for path in ("/v1/models/../../etc/passwd", "/v1/models/%2e%2e%2f%2e%2e", "//etc/passwd", "/v1/models/" + "x" * 5000, "/v1/models/%00"):
        reply = server.get(path)
        assert reply.status == 404
        assert reply.code in ("unknown_model", "unknown_address")
        assert len(reply.body) < 1000


def test_a_huge_upload_is_refused_before_it_is_read(server: Server, folder: Path) -> None:
    head = b"POST /v1/models/strips/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    started = time.monotonic()
    refused(server.raw(head + b"Content-Length: 5000000000\r\nExpect: 100-continue\r\n\r\n"), 413, "too_large", "2 MB")
    assert time.monotonic() - started < 5
    refused(server.raw(head + b"Content-Length: 5000000\r\n\r\n", *[b"x" * 100_000] * 50), 413, "too_large")
    refused(server.raw(head + b"Content-Length: 99999999999999999999\r\n\r\n"), 413, "too_large")
    pieces = [b"%x\r\n%s\r\n" % (100_000, b"x" * 100_000) for _ in range(30)]
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    first = b"%x\r\n%s\r\n" % (len(part), part)
    refused(server.raw(head + b"Transfer-Encoding: chunked\r\n\r\n", first, *pieces, b"0\r\n\r\n"), 413, "too_large")
    alive(server, folder)


def test_what_is_no_http_is_answered_as_an_error(server: Server, folder: Path) -> None:
    refused(server.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n"), 400, "bad_request")
    refused(server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 500_000), 400, "bad_request")
    refused(server.raw(b"POST /v1/models/strips/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n"), 400, "bad_request")
    alive(server, folder)


# --- slow clients --------------------------------------------------------------------------------


def test_a_head_that_dribbles_is_given_up(server: Server, folder: Path) -> None:
    started = time.monotonic()
    reply = server.raw(*[b"GET / HTTP/1.1\r\n", *[b"X: y\r\n"] * 30], pause_s=0.1)
    refused(reply, 408, "too_slow", "head")
    assert time.monotonic() - started < 6
    alive(server, folder)


def test_a_body_that_stops_or_dribbles_is_given_up(server: Server, folder: Path) -> None:
    head = b"POST /v1/models/strips/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    stops, dribbles = [], []

    def stopping() -> None:
        stops.append(server.raw(head + b"Content-Length: 1000\r\n\r\n" + part))

    def dribbling() -> None:  # never silent for a second, and never done
        dribbles.append(server.raw(head + b"Content-Length: 1000\r\n\r\n" + part, *[b"x"] * 50, pause_s=0.1))

    threads = [threading.Thread(target=stopping), threading.Thread(target=dribbling)]
    for thread in threads:
        thread.start()
    assert server.post("strips", folder / "strip.png").status == 200  # others are not held up
    for thread in threads:
        thread.join()
    refused(stops[0], 408, "too_slow", "1 s of silence")
    refused(dribbles[0], 408, "too_slow", "3 s in all")
    alive(server, folder)


def test_a_client_that_does_not_read_is_given_up(server: Server, folder: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (2000, 1900), (20, 10, 5)).save(content, format="PNG")  # 11 MB to read
    body, kind = form("dark.png", content.getvalue(), {"format": "bmp", "strength": "0"})
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((server.host, server.port))
        head = (
            f"POST /v1/models/lowlight/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        deadline = time.monotonic() + 20
        while '"status": 499' not in server.log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert '"status": 499' in server.log.read_text()
    alive(server, folder)


def test_more_connections_than_may_be_open_are_told_so(server: Server, folder: Path) -> None:
    time.sleep(0.2)
    held = [socket.create_connection((server.host, server.port), timeout=10) for _ in range(12)]
    try:
        replies = [server.raw(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(2)]
        refused(replies[-1], 503, "busy", "12 connections")
        assert replies[-1] is not None
        assert replies[-1].headers["retry-after"] == "1"
    finally:
        for connection in held:
            connection.close()
    time.sleep(0.2)
    alive(server, folder)


# --- tokens, the start, the end ------------------------------------------------------------------


def test_what_is_under_way_is_finished_and_the_token_is_nowhere(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    large = tmp_path / "large.png"
    Image.fromarray((60 * rng.random((1200, 1600, 3))).astype(np.uint8)).save(large)
    server = start(["lowlight"], tmp_path / "tmp", token=TOKEN)
    assert "token needed" in server.first_line
    assert server.get("/v1/models").status == 200
    assert server.get("/v1/models", Authorization="Bearer wrong").code == "token_needed"
    arguments = Path(f"/proc/{server.process.pid}/cmdline")
    if arguments.exists():
        assert TOKEN.encode() not in arguments.read_bytes()
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(server.post("lowlight", large)))
    thread.start()
    metrics = ""
    while 'photic_in_flight{model="lowlight"} 1.0' not in metrics:
        metrics = server.get("/metrics").body.decode()
    server.process.send_signal(signal.SIGTERM)
    thread.join()
    assert server.process.wait(30) == 0
    assert replies[0].status == 200
    with Image.open(io.BytesIO(replies[0].body)) as made:
        assert made.size == (1600, 1200)
    with pytest.raises(ConnectionRefusedError):
        server.get("/health/live")
    log = server.log.read_text()
    assert TOKEN not in log
    assert '"message": "stopping: 1 prediction' in log
    assert list(server.folder.glob("photic-serve-*")) == []


def test_the_second_signal_ends_at_once(folder: Path, tmp_path: Path) -> None:
    server = start([folder / "strips.safetensors"], tmp_path / "tmp", "--idle-timeout", "30")
    head = b"POST /v1/models/strips/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    with socket.create_connection((server.host, server.port), timeout=20) as connection:
        connection.sendall(head + b"Content-Length: 1000\r\n\r\n--b\r\n")
        while len(server.uploads()) < 1:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert server.process.poll() is None  # it waits for the upload
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(5) == 130
        assert read_reply(connection) is None
    assert list(server.folder.glob("photic-serve-*")) == []


def test_what_cannot_be_served_is_refused_before_it_begins(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PHOTIC_TOKEN", raising=False)
    strips = str(folder / "strips.safetensors")
    copy = tmp_path / "strips.safetensors"
    copy.write_bytes(Path(strips).read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for words, message in (
            ([strips, "--host", "0.0.0.0"], "a token is needed"),
            ([strips, str(copy)], "would both be served as 'strips'"),
            (["lowlihgt"], "did you mean 'lowlight'"),
            ([str(folder / "strip.png")], "strip.png"),
            ([strips, "--port", port], "choose another --port"),
            ([strips, "--port", "70000"], "port: expected a value >= 0 and <= 65535"),
            ([strips, "--timeout", "0"], "expected a number from 0.001"),
            ([strips, "--token-file", str(tmp_path / "absent")], "the token cannot be read"),
            ([strips, "--tokenfile", "x"], "did you mean '--token-file'"),
            ([], "MODEL"),
        ):
            assert main(["serve", *words]) == 2
            assert message in capsys.readouterr().err


def test_missing_packages_are_named_with_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r'not installed \(no_such_package\): pip install "photic\[serve\]"'):
        need("serve", ("json", "no_such_package"), "photic serve")


def test_the_help_has_examples_and_loads_no_torch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--help"]) == 0
    assert "curl -F file=@strip.png" in capsys.readouterr().out
