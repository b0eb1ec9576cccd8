"""The application without a socket: answers, refusals, limits, who may, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from photic.core.errors import ConfigError
from photic.inference.serve.application import Application
from photic.inference.serve.guarding import check_host, check_token, is_loopback, read_token
from photic.inference.serve.settings import ServeConfig

from .conftest import Lengths, Upper

HERE = "http://127.0.0.1:8000"
TOKEN = "a-token-of-some-length"


class Served:
    """An application with two models, and requests to it."""

    def __init__(self, bundle: Path, config: ServeConfig, token: str | None = None) -> None:
        self.lengths, self.upper = Lengths(bundle), Upper(bundle)
        self.lengths.model.config.update(self.upper.model.config)
        self.application = Application({"lengths": self.lengths, "upper": self.upper}, config, token)

    def ask(self, *requests: tuple[str, str, dict[str, Any]], base: str = HERE) -> list[httpx.Response]:
        """Send requests at the same time."""

        async def all_of_them() -> list[httpx.Response]:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.application), base_url=base) as client:
                return await asyncio.gather(*(client.request(method, path, **more) for method, path, more in requests))

        return asyncio.run(all_of_them())

    def get(self, path: str, base: str = HERE, **more: Any) -> httpx.Response:
        return self.ask(("GET", path, more), base=base)[0]

    def post(self, name: str, content: bytes | str = b"text", file_name: str = "a.txt", data: Any = None, **more: Any) -> httpx.Response:
        return self.ask(("POST", f"/v1/models/{name}/predict", {"files": {"file": (file_name, content)}, "data": data, **more}))[0]

    def left(self) -> list[Path]:
        return list(self.application._folder.iterdir())


@pytest.fixture
def serve(bundle: Path) -> Iterator[Callable[..., Served]]:
    made: list[Served] = []

    def make(token: str | None = None, **settings: Any) -> Served:
        made.append(Served(bundle, ServeConfig(**settings), token))
        return made[-1]

    yield make
    for one in made:
        if one.lengths.gate is not None:
            one.lengths.gate.set()
        one.application.close()
        assert not one.application._folder.exists()


def refused(answer: httpx.Response, status: int, code: str, *words: str) -> None:
    """Check the one form that errors have."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    for word in words:
        assert word in error["message"], error["message"]
    assert "photic-serve-" not in answer.text
    assert "/tmp" not in answer.text


# --- answers -------------------------------------------------------------------------------------


def test_values_come_as_json(serve: Callable[..., Served]) -> None:
    server = serve()
    answer = server.post("lengths", b"12345")
    assert answer.status_code == 200
    assert answer.json() == {"model": "lengths", "values": {"length": 5}, "notes": []}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert server.left() == []


def test_a_file_comes_with_its_name_kind_facts_and_notes_without_our_paths(serve: Callable[..., Served]) -> None:
    server = serve()
    answer = server.post("upper", "one\ntwo", "../Größe.TXT", {"format": "csv"})
    assert answer.status_code == 200
    assert answer.text == "ONE\nTWO"
    assert answer.headers["content-type"] == "text/csv"
    assert answer.headers["content-disposition"] == "attachment; filename=\"Gro__e.csv\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.csv"
    assert json.loads(answer.headers["photic-values"]) == {"lines": 2, "where": "Größe.txt"}
    assert json.loads(answer.headers["photic-notes"]) == ["read from Größe.txt"]
    facts = server.post("upper", "one\ntwo", headers={"Accept": "application/json"}).json()
    assert facts["file"] == {"name": "a.txt", "media_type": "application/octet-stream", "num_bytes": 7}
    assert facts["values"]["lines"] == 2
    assert server.left() == []


def test_concurrent_requests_share_batches_and_get_their_own_answers(serve: Callable[..., Served]) -> None:
    server = serve(batch_wait_ms=200, max_batch=4)
    requests = [("POST", "/v1/models/lengths/predict", {"files": {"file": ("a.txt", b"x" * (2 * number + 1))}}) for number in range(16)]
    answers = server.ask(*requests)
    assert [answer.json()["values"]["length"] for answer in answers] == [2 * number + 1 for number in range(16)]
    assert max(server.lengths.batches) > 1


def test_what_is_served_is_described(serve: Callable[..., Served]) -> None:
    server = serve()
    listed = server.get("/v1/models").json()["models"]
    assert [model["name"] for model in listed] == ["lengths", "upper"]
    assert listed[1]["formats"] == ["txt", "csv"]
    described = server.get("/v1/models/lengths").json()
    assert described["options"]["factor"]["maximum"] == 10
    assert described["batched"] is True
    assert len(described["sha256"]) == 64
    document = server.get("/openapi.json").json()
    fields = document["paths"]["/v1/models/lengths/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(fields["properties"]) == {"file", "factor", "unit", "pair", "depth", "exact"}
    assert fields["required"] == ["file"]
    for path in ("/", "/docs"):
        page = server.get(path)
        assert "text/html" in page.headers["content-type"]
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "<script" not in page.text
        assert "lengths" in page.text
        assert "src=" not in page.text


# --- refusals ------------------------------------------------------------------------------------


def test_the_file_must_be_one_of_the_models(serve: Callable[..., Served]) -> None:
    server = serve()
    refused(server.post("lengths", file_name="a.png"), 415, "wrong_kind_of_file", "texts", ".txt, .text, .csv", "'a.png'")
    refused(server.post("lengths", file_name="noending"), 415, "wrong_kind_of_file")
    refused(server.post("lengths", b"bad", "my \x00strip.txt"), 422, "unusable_file", "no text")
    refused(server.ask(("POST", "/v1/models/lengths/predict", {"data": {"factor": "1"}, "files": {}}))[0], 415, "not_multipart")
    refused(server.ask(("POST", "/v1/models/lengths/predict", {"files": {"factor": (None, "1")}}))[0], 422, "no_file")
    refused(server.ask(("POST", "/v1/models/lengths/predict", {"files": {"file": (None, "text")}}))[0], 422, "bad_field", "expected a file")
    two = [("file", ("a.txt", b"1")), ("file", ("b.txt", b"2"))]
    refused(server.ask(("POST", "/v1/models/lengths/predict", {"files": two}))[0], 422, "bad_field", "several files")
    refused(server.ask(("POST", "/v1/models/lengths/predict", {"files": {"other": ("a.txt", b"1")}}))[0], 422, "bad_field", "'other'")
    assert server.left() == []


def test_a_file_without_a_name_goes_by_its_type(serve: Callable[..., Served]) -> None:
    server = serve()
    body = b'--b\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: %s\r\n\r\n1234\r\n--b--\r\n'
    for kind, status in ((b"text/csv", 200), (b"application/octet-stream", 415), (b"image/png", 415)):
        more = {"content": body % kind, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}
        assert server.ask(("POST", "/v1/models/lengths/predict", more))[0].status_code == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing of the kind",
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\ncut off',
        b"--b\r\n\r\nno name\r\n--b--\r\n",
        b"--b\r\n" + b"X: y\r\n" * 100 + b"\r\n\r\n--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="' + b"n" * 9000 + b'"\r\n\r\n1\r\n--b--\r\n',
        b"".join(b'--b\r\nContent-Disposition: form-data; name="%d"\r\n\r\n1\r\n' % number for number in range(100)) + b"--b--\r\n",
    ],
)
def test_malformed_forms_are_refused(serve: Callable[..., Served], body: bytes) -> None:
    server = serve()
    more = {"content": body, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}
    refused(server.ask(("POST", "/v1/models/lengths/predict", more))[0], 400, "malformed_form")
    assert server.left() == []


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'b' * 99}"])
def test_a_form_needs_a_boundary(serve: Callable[..., Served], kind: str) -> None:
    more = {"content": b"--b--", "headers": {"Content-Type": kind}}
    refused(serve().ask(("POST", "/v1/models/lengths/predict", more))[0], 400, "malformed_form", "boundary")


def test_addresses_methods_and_names_that_are_none(serve: Callable[..., Served]) -> None:
    server = serve()
    refused(server.post("lenghts"), 404, "unknown_model", "did you mean 'lengths'")
    refused(server.get("/v1/models/nothing"), 404, "unknown_model", "models: lengths, upper")
    refused(server.get("/v1/models/..%2f..%2fetc%2fpasswd"), 404, "unknown_address")
    refused(server.get("/v1/models/%00%0d%0aX:"), 404, "unknown_model")
    refused(server.get("/etc/passwd"), 404, "unknown_address")
    wrong = server.get("/v1/models/lengths/predict")
    refused(wrong, 405, "wrong_method", "POST")
    assert wrong.headers["allow"] == "POST"
    refused(server.post("lengths", data={"factr": "1"}), 422, "bad_field", "did you mean 'factor'")
    refused(server.post("upper", "a", data={"format": "png"}), 422, "bad_field", "txt, csv")


def test_large_requests_are_refused_by_what_they_announce_and_by_what_they_are(serve: Callable[..., Served]) -> None:
    server = serve(max_upload_mb=0.001)
    refused(server.post("lengths", b"x" * 2000), 413, "too_large", "0.001 MB")

    async def pieces() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        for _ in range(100):
            yield b"x" * 100

    more = {"content": pieces(), "headers": {"Content-Type": "multipart/form-data; boundary=b"}}
    refused(server.ask(("POST", "/v1/models/lengths/predict", more))[0], 413, "too_large")
    assert server.left() == []


def test_faults_of_ours_say_a_number_and_the_log_says_more(serve: Callable[..., Served], caplog: pytest.LogCaptureFixture) -> None:
    server = serve()
    with caplog.at_level(logging.INFO, "photic.serve"):
        answer = server.post("lengths", b"fault")
    refused(answer, 500, "internal")
    assert "ZeroDivisionError" not in answer.text
    number = answer.json()["error"]["id"]
    (record,) = [record for record in caplog.records if record.exc_info]
    assert number in record.getMessage()


# --- time and room -------------------------------------------------------------------------------


def test_too_long_is_answered_and_the_server_says_that_it_is_held_up(serve: Callable[..., Served]) -> None:
    server = serve(timeout_s=0.2)
    server.lengths.gate = threading.Event()
    refused(server.post("lengths"), 504, "too_long", "0.2 s")
    ready = server.get("/health/ready")
    assert ready.status_code == 503
    assert "1 of 2 models busy with work that nobody waits for" in ready.json()["reason"]
    assert len(server.left()) == 1  # the model still works with the file
    assert server.post("upper", "the other model answers").status_code == 200
    server.lengths.gate.set()
    server.lengths.gate = None
    assert server.post("lengths").status_code == 200
    assert server.left() == []
    assert server.get("/health/ready").json() == {"status": "ready"}


def test_more_than_there_is_room_for_is_told_to_come_again(serve: Callable[..., Served]) -> None:
    server = serve(queue=2, max_batch=1, timeout_s=5)
    server.lengths.gate = threading.Event()
    threading.Timer(0.5, server.lengths.gate.set).start()
    answers = server.ask(*[("POST", "/v1/models/lengths/predict", {"files": {"file": ("a.txt", b"text")}})] * 8)
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) >= 2
    assert set(statuses) == {200, 503}
    busy = next(answer for answer in answers if answer.status_code == 503)
    refused(busy, 503, "busy", "2 files wait")
    assert int(busy.headers["retry-after"]) >= 1
    assert server.left() == []


def test_a_limit_holds_over_all_models(serve: Callable[..., Served]) -> None:
    server = serve(concurrency=1)
    server.lengths.gate = threading.Event()
    threading.Timer(0.5, server.lengths.gate.set).start()
    one = ("POST", "/v1/models/lengths/predict", {"files": {"file": ("a.txt", b"text")}})
    other = ("POST", "/v1/models/upper/predict", {"files": {"file": ("a.txt", b"text")}})
    assert [answer.status_code for answer in server.ask(one, other)] == [200, 503]


def test_stopping_refuses_what_is_new(serve: Callable[..., Served]) -> None:
    server = serve()
    server.application.predictions.is_stopping = True
    refused(server.post("lengths"), 503, "stopping")
    assert server.get("/health/ready").json()["status"] == "stopping"
    assert server.get("/health/live").status_code == 200


def test_a_client_that_goes_away_stops_the_work(serve: Callable[..., Served]) -> None:
    server = serve()
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' + b"wait\n" * 1000 + b"\r\n--b--\r\n"
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"multipart/form-data; boundary=b"), (b"content-length", b"%d" % len(body))]
    scope = {
        "type": "http", "method": "POST", "path": "/v1/models/upper/predict", "raw_path": b"", "query_string": b"", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "scheme": "http", "root_path": "", "http_version": "1.1",
    }  # fmt: skip
    sent: list[Any] = []

    async def run() -> None:
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            message = next(messages, None)
            if message is None:
                while not server.upper.started.is_set():
                    await asyncio.sleep(0.005)
                return {"type": "http.disconnect"}
            return message

        async def send(message: Any) -> None:
            sent.append(message)

        await server.application(scope, receive, send)

    asyncio.run(run())
    assert sent == []
    assert server.post("upper", "next").text == "NEXT"
    assert server.upper.stopped_at < 900
    assert server.left() == []
    assert b'photic_requests_total{model="upper",status="499"} 1.0' in server.application.metrics.text()


# --- numbers and lines ---------------------------------------------------------------------------


def test_metrics_count_what_happened(serve: Callable[..., Served]) -> None:
    server, other = serve(), serve()
    server.post("lengths", b"12345")
    server.post("lengths", b"bad")
    server.post("upper", "x")
    server.post("no-such-model-name-as-a-label")
    text = server.get("/metrics").text
    for line in (
        'photic_requests_total{model="lengths",status="200"} 1.0',
        'photic_requests_total{model="lengths",status="422"} 1.0',
        'photic_requests_total{model="-",status="404"} 1.0',
        'photic_request_seconds_count{model="lengths"} 2.0',
        'photic_batch_size_bucket{le="1.0",model="lengths"} 1.0',
        'photic_in_flight{model="lengths"} 0.0',
        'photic_queue_length{model="upper"} 0.0',
    ):
        assert line in text.splitlines()
    assert "no-such-model" not in text
    uploaded = next(float(line.split()[-1]) for line in text.splitlines() if line.startswith('photic_uploaded_bytes_total{model="upper"}'))
    assert uploaded > 100
    assert 'photic_requests_total{model="lengths"' not in other.get("/metrics").text


def test_the_log_has_a_line_for_each_request_and_no_secrets(serve: Callable[..., Served], caplog: pytest.LogCaptureFixture) -> None:
    server = serve(token=TOKEN)
    with caplog.at_level(logging.INFO, "photic.serve"):
        server.get("/v1/models/a%0d%0a%22%7d?token=query-secret", headers={"Authorization": f"Bearer {TOKEN}"})
    (record,) = caplog.records
    from photic.inference.serve.observing import JSONLines

    text = JSONLines().format(record)
    assert "\n" not in text
    assert json.loads(text)["path"] == '/v1/models/a\r\n"}'
    assert json.loads(text)["status"] == 404
    assert TOKEN not in text
    assert "query-secret" not in text
    with caplog.at_level(logging.INFO, "photic.serve"):
        caplog.clear()
        serve(access_log=False).get("/health/live")
    assert caplog.records == []


# --- who may -------------------------------------------------------------------------------------


def test_a_token_is_asked_for_and_compared_as_a_whole(serve: Callable[..., Served]) -> None:
    server = serve(token=TOKEN)
    basic = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
    for header in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Basic {basic}"):
        assert server.get("/v1/models", headers={"Authorization": header}).status_code == 200
    for header in ("", "Bearer", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer ü", "Basic !!!"):
        for path in ("/", "/docs", "/openapi.json", "/v1/models", "/metrics", "/nothing"):
            answer = server.get(path, headers={"Authorization": header.encode("utf-8")} if header else {})
            refused(answer, 401, "token_needed")
            assert "Bearer" in answer.headers["www-authenticate"]
            assert TOKEN not in answer.text
    refused(server.post("lengths"), 401, "token_needed")
    assert server.get("/health/live").status_code == server.get("/health/ready").status_code == 200
    assert server.get("/v1/models", base="http://photic.example", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_without_a_token_only_this_machines_names_are_answered(serve: Callable[..., Served]) -> None:
    server = serve()
    for base in ("http://localhost:8000", "http://127.0.0.1", "http://[::1]:8000"):
        assert server.get("/v1/models", base=base).status_code == 200
    for base in ("http://attacker.example", "http://127.0.0.1.attacker.example", "http://192.168.1.1"):
        refused(server.get("/v1/models", base=base), 403, "foreign_host")


def test_pages_of_other_origins_cannot_send_anything(serve: Callable[..., Served]) -> None:
    for server, more in ((serve(), {}), (serve(token=TOKEN), {"Authorization": f"Bearer {TOKEN}"})):
        refused(server.post("lengths", headers={"Origin": "http://attacker.example", **more}), 403, "foreign_origin")
        refused(server.post("lengths", headers={"Origin": "null", **more}), 403, "foreign_origin")
        assert server.post("lengths", headers={"Origin": HERE, **more}).status_code == 200


def test_tokens_come_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    monkeypatch.delenv("PHOTIC_TOKEN", raising=False)
    assert read_token(file) == TOKEN
    assert read_token(None) is None
    monkeypatch.setenv("PHOTIC_TOKEN", TOKEN + "2")
    assert read_token(None) == TOKEN + "2"
    import os

    assert "PHOTIC_TOKEN" not in os.environ  # children of the server need not know it
    file.chmod(0o644)
    with pytest.warns(UserWarning, match="others on this machine can read the token"):
        read_token(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(tmp_path / "absent")
    for text in ("", "short", "with spaces in between it all", "überlang-genug-aber-nicht-ascii"):
        with pytest.raises(ConfigError, match="at least 16") as caught:
            check_token(text, "token")
        assert not text or text not in str(caught.value)


def test_other_machines_are_not_let_in_without_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.1", "", "photic.invalid"):
        with pytest.raises(ConfigError, match="a token is needed"):
            check_host(host, None)
        check_host(host, TOKEN)
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        check_host(host, None)
        assert is_loopback(host)
