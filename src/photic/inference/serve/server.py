"""A process that serves models: what is refused before anything loads, the socket, signals, the log, the end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import uvicorn

from photic.core.errors import ConfigError
from photic.core.plugins import model_source
from photic.inference.file_model import FileModel, open_file_model
from photic.inference.serve.application import Application
from photic.inference.serve.guarding import check_host, check_token
from photic.inference.serve.naming import model_names
from photic.inference.serve.observing import LOGGER, JSONLines
from photic.inference.serve.protocol import BoundedProtocol
from photic.inference.serve.settings import ServeConfig
from photic.inference.serve.worker import hear

_AT_ONCE = 130
_KEEP_ALIVE_S = 5
_LONGEST_HEAD = 32_768


def serve(
    models: Sequence[Path | str],
    config: ServeConfig | None = None,
    *,
    token: str | None = None,
    started: Callable[[str, Sequence[str]], None] = lambda address, names: None,
) -> int:
    """Serve models until the process is told to stop (SIGTERM, SIGINT); call it in the main thread.

    Args:
        models: bundles, runs, or names of models.
        config: where and within which limits; the defaults if omitted.
        token: what clients must send; needed unless ``config.host`` is this machine's own.
        started: called with the address and the models' names once requests are taken.

    Returns:
        0 if everything under way was finished before the end, 1 if something was cut off.

    Raises:
        ConfigError: the host needs a token, the port is taken, two models have one name, or a model cannot be served.
        UnknownNameError: there is no such model.
        CheckpointError: a model cannot be loaded.

    Example:
        >>> import photic
        >>> photic.serve(["model.photic"])  # doctest: +SKIP
    """
    config = config or ServeConfig()
    if not models:
        raise ConfigError("no models to serve; name at least one")
    check_host(config.host, token)
    if token is not None:
        check_token(token, "token")
    sources = [model_source(model) for model in models]
    names = model_names([(str(given), path) for given, path in zip(models, sources, strict=True)])
    listener = _bound(config.host, config.port)
    try:
        if config.threads:
            torch.set_num_threads(config.threads)
        opened: dict[str, FileModel] = {name: open_file_model(path, config.device) for name, path in zip(names, sources, strict=True)}
        application = Application(opened, config, token)
    except BaseException:
        listener.close()
        raise
    address = _address(listener)
    server = _Server(application, config, lambda: started(address, names))
    with _logging():
        try:
            server.run(sockets=[listener])
        finally:
            ended = application.close(_KEEP_ALIVE_S)
    if not ended:  # its thread works on, and would keep the process
        _leave(1)
    return 1 if server.was_cut_off else 0


class _Server(uvicorn.Server):
    """Stops gracefully at the first signal, at once at the second; tells when it has started."""

    def __init__(self, application: Application, config: ServeConfig, started: Callable[[], None]) -> None:
        class Protocol(BoundedProtocol):
            """One connection to this server."""

            head_timeout_s = config.idle_timeout_s
            max_connections = config.connections

        super().__init__(
            uvicorn.Config(
                application,
                http=Protocol,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(config.grace_s)),
                h11_max_incomplete_event_size=_LONGEST_HEAD,
                backlog=max(128, config.connections),
            )
        )
        self._application = application
        self._has_started = started
        self.was_cut_off = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then say so."""
        await super().startup(sockets)
        self._has_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what is under way, as long as there is time."""
        self._application.predictions.is_stopping = True
        LOGGER.info("stopping: %d predictions are finished first", self._application.predictions.under_way)
        await super().shutdown(sockets)
        self.was_cut_off = bool(self.server_state.tasks)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle signals for the time of the block; they are not raised again, for stopping is what they asked for."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully; if that was asked for already, at once."""
        if self.should_exit:
            self._application.remove_files()
            _leave(_AT_ONCE)
        self.should_exit = True


def _leave(status: int) -> None:
    """End the process without waiting for threads that compute."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that is bound, so that a port that is taken is known before models load; it does not listen yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"host '{host}': {error.strerror or error}; give an address of this machine with --host") from error
    if os.name == "posix":
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(address)
    except OSError as error:
        made.close()
        raise ConfigError(
            f"{host}:{port}: cannot listen there: {error.strerror or error}; choose another --port (0 takes a free one)"
        ) from error
    return made


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _logging() -> Generator[None, None, None]:
    """Write the log as lines of JSON to standard error, for the time of the block.

    A warning about a file goes to whoever sent it; others go into the log.
    """
    said, shown = warnings.filters[:], warnings.showwarning

    def route(message: Warning | str, category: type[Warning], *place: Any, **named: Any) -> None:
        if not (issubclass(category, UserWarning) and hear(str(message))):
            LOGGER.warning("%s: %s", category.__name__, message)

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONLines())
    # What the parser of forms warns of, clients are told.
    loggers = [LOGGER, logging.getLogger("uvicorn.error"), logging.getLogger("python_multipart")]
    levels = [logging.INFO, logging.WARNING, logging.ERROR]
    before = [(logger.level, logger.propagate) for logger in loggers]
    # Set once and for all threads: a filter that is changed while others warn would lose some.
    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = route
    for logger, level in zip(loggers, levels, strict=True):
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    try:
        yield
    finally:
        warnings.filters[:], warnings.showwarning = said, shown  # type: ignore[index]
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
