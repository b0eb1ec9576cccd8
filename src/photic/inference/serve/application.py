"""The ASGI application: routes, and what stands before them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from photic.core.errors import ConfigError
from photic.inference.file_model import FileModel
from photic.inference.serve import pages
from photic.inference.serve.guarding import Guard
from photic.inference.serve.metrics import ServeMetrics
from photic.inference.serve.naming import shown
from photic.inference.serve.observing import Observer
from photic.inference.serve.openapi import document
from photic.inference.serve.predicting import Predictions, model_called
from photic.inference.serve.problems import Problem
from photic.inference.serve.served import served
from photic.inference.serve.settings import ServeConfig

_PAGE = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
}


class Application:
    """Models over HTTP, as an ASGI application; :meth:`close` it when it is done with.

    Args:
        models: by their name in addresses; each is this application's alone from now on.
        config: limits. Host, port, device are the server's business.
        token: what clients must send; None asks for nothing, and answers only requests to this machine's own names.

    Raises:
        ConfigError: no models, or one that cannot be served.

    Example:
        >>> from photic.inference.file_model import open_file_model
        >>> application = Application({"strips": open_file_model("model.photic")}, ServeConfig())  # doctest: +SKIP
    """

    def __init__(self, models: Mapping[str, FileModel], config: ServeConfig, token: str | None = None) -> None:
        if not models:
            raise ConfigError("no models to serve; name at least one")
        self.config = config
        self.metrics = ServeMetrics()
        self._readers = ThreadPoolExecutor(config.readers, thread_name_prefix="photic-read")
        self.models = {name: served(name, model, config, self._readers, self.metrics) for name, model in models.items()}
        self._folder = Path(tempfile.mkdtemp(prefix="photic-serve-"))
        self.predictions = Predictions(self.models, config, self.metrics, self._folder)
        self._document = document(self.models, config, version("photic"), with_token=token is not None)
        self._with_token = token is not None
        self._manual = pages.manual(self._document)
        routes = [
            Route("/", self._show_home),
            Route("/docs", self._show_manual),
            Route("/openapi.json", self._describe_api),
            Route("/v1/models", self._list),
            Route("/v1/models/{name}", self._describe),
            Route("/v1/models/{name}/predict", self.predictions, methods=["POST"]),
            Route("/health/live", self._live),
            Route("/health/ready", self._ready),
            Route("/metrics", self._show_metrics),
        ]
        self._router = Router(routes, redirect_slashes=False)
        self._inner = Observer(Guard(self._route, token), self.metrics, config)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await self._inner(scope, receive, send)

    def close(self, timeout_s: float = 10.0) -> bool:
        """End the models' threads and remove everything that was stored; say whether all ended in time."""
        self.predictions.is_stopping = True
        until = time.monotonic() + timeout_s
        ended = [model.worker.stop(max(0.0, until - time.monotonic())) for model in self.models.values()]
        self._readers.shutdown(wait=all(ended), cancel_futures=True)
        self.remove_files()
        return all(ended)

    def remove_files(self) -> None:
        """Remove uploads and results that are stored now."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find what is at an address; what the routes refuse gets the form that all errors have."""
        scope["app"] = self  # with an application around them, routes raise what they refuse
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            raise _problem(error, scope["method"]) from error

    # --- routes ---

    async def _show_home(self, request: Request) -> Response:
        base = f"{request.url.scheme}://{request.headers.get('host', '')}"
        return HTMLResponse(pages.home(self.models, self.config, base, with_token=self._with_token), headers=_PAGE)

    async def _show_manual(self, request: Request) -> Response:
        return HTMLResponse(self._manual, headers=_PAGE)

    async def _describe_api(self, request: Request) -> Response:
        return JSONResponse(self._document)

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"models": [model.summary for model in self.models.values()]})

    async def _describe(self, request: Request) -> Response:
        return JSONResponse(model_called(self.models, request.path_params["name"]).facts)

    async def _live(self, request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def _ready(self, request: Request) -> Response:
        if self.predictions.is_stopping:
            return JSONResponse({"status": "stopping", "reason": "the server was told to stop"}, 503)
        held_up = sum(model.worker.is_held_up for model in self.models.values())
        full = sum(model.worker.is_full for model in self.models.values())
        reasons = {
            "busy with work that nobody waits for any more and that cannot be stopped at once": held_up,
            "with a full queue": full,
        }
        said = [f"{number} of {len(self.models)} models {reason}" for reason, number in reasons.items() if number]
        if self.predictions.is_full:
            said.append("as many predictions are under way as may")
        if said:
            return JSONResponse({"status": "busy", "reason": "; ".join(said)}, 503)
        return JSONResponse({"status": "ready"})

    async def _show_metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type=self.metrics.media_type)


def _problem(error: HTTPException, method: str) -> Problem:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return Problem(405, "wrong_method", f"{shown(method, 16)} is not for this address; use {allowed}", headers=error.headers)
    if error.status_code == 404:
        return Problem(404, "unknown_address", "nothing is at this address; / and /docs say what there is")
    return Problem(error.status_code, "refused", str(error.detail), headers=error.headers)
