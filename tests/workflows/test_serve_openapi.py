"""Schemathesis attacks the server by its own OpenAPI description: every answer must be one that is described."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import schemathesis
import schemathesis.engine
from hypothesis import strategies as st
from PIL import Image
from schemathesis.engine import events

from photic.apps.lowlight.file_model import PICTURES
from photic.core.plugins import shipped_models
from photic.inference.file_model import open_file_model
from photic.inference.serve.application import Application
from photic.inference.serve.settings import ServeConfig

from .test_serve import write_strips_model

TOKEN = "a-token-for-schemathesis"
KINDS = {
    "image/png": "PNG", "image/jpeg": "JPEG", "image/bmp": "BMP", "image/tiff": "TIFF", "image/webp": "WEBP",
    "image/x-portable-graymap": "PPM", "image/x-portable-pixmap": "PPM",
}  # fmt: skip


def picture(kind: str, seed: int) -> bytes:
    """Return a small picture; what a form calls a file is more than some bytes."""
    mode = "L" if kind == "image/x-portable-graymap" else "RGB"
    content = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 255, (32, 40 + seed, 3), dtype=np.uint8)
    Image.fromarray(values).convert(mode).save(content, format=KINDS[kind])
    return content.getvalue()


for media_type in KINDS:
    schemathesis.openapi.media_type(media_type, st.sampled_from([picture(media_type, seed) for seed in range(3)]))


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    strips = write_strips_model(tmp_path_factory.mktemp("openapi") / "strips.safetensors")
    models = {"strips": open_file_model(strips, "cpu"), "lowlight": open_file_model(shipped_models()["lowlight"], "cpu")}
    # Videos are files that no few bytes can be, and results that no picture can have.
    models["lowlight"].endings = tuple(ending for ending in models["lowlight"].endings if ending in models["strips"].endings)
    models["lowlight"].writable = PICTURES
    made = Application(models, ServeConfig(access_log=False), TOKEN)
    yield made
    assert made.close()


def is_the_same_as_a_form(body: object) -> bool:
    """Say whether all that is wrong with a body is lost on the way: a form has no lists, [x] is sent as x and [] not at all."""
    lists = [value for value in body.values() if isinstance(value, list)] if isinstance(body, dict) else []
    return bool(lists) and all(len(value) <= 1 for value in lists)


def attack(application: Application, max_examples: int, seed: int | None) -> tuple[int, set[int], list[str]]:
    """Let schemathesis try everything it knows; return how many requests, which statuses came, and what it finds wrong."""
    config = schemathesis.Config(seed=seed)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    config.projects.default.update(headers=headers)
    config.projects.default.generation.update(max_examples=max_examples, database="none")
    schema = schemathesis.openapi.from_asgi("/openapi.json", application, config=config, headers=headers)
    num_requests, statuses, found = 0, set[int](), []
    for event in schemathesis.engine.from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.append(f"{type(event).__name__}: {event.info if isinstance(event, events.NonFatalError) else event.exception}")
        if not isinstance(event, events.ScenarioFinished):
            continue
        answers = {case: seen.response for case, seen in event.recorder.interactions.items() if seen.response is not None}
        num_requests += len(answers)
        statuses |= {answer.status_code for answer in answers.values()}
        for case, checks in event.recorder.checks.items():
            body = event.recorder.cases[case].value.body
            for failed in (check for check in checks if check.failure_info is not None):
                if failed.name == "negative_data_rejection" and is_the_same_as_a_form(body):
                    continue
                said = answers[case].content[:300] if case in answers else "no answer"
                request = event.recorder.cases[case].value.as_curl_command()[:600]
                found.append(f"{event.label}: {failed.name}: {failed.failure_info.failure}\n{said!r}\n{request}")
    return num_requests, statuses, found


def test_every_answer_is_one_that_is_described(application: Application) -> None:
    num_requests, statuses, found = attack(application, max_examples=10, seed=1)
    assert found == []
    assert num_requests > 100
    assert {200, 401, 404, 405, 422} <= statuses
    assert max(statuses) < 500


@pytest.mark.slow
def test_every_answer_is_one_that_is_described_however_long_one_tries(application: Application) -> None:
    num_requests, _, found = attack(application, max_examples=500, seed=None)
    assert found == []
    assert num_requests > 1000


def test_nothing_was_left_by_so_many_requests(application: Application) -> None:
    assert list(application._folder.iterdir()) == []
