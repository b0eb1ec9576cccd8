"""What can be set about a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from photic.core.schema import Config, Range


@dataclass(frozen=True, kw_only=True)
class ServeConfig(Config):
    """How models are served. The token is no part of it: what is printed or stored must not hold it."""

    host: str = "127.0.0.1"
    """Address to listen at; anything but this machine's own loopback needs a token."""
    port: Annotated[int, Range(ge=0, le=65535)] = 8000
    """Port to listen at; 0 takes a free one."""
    device: str = "auto"
    """Where models run: auto, cpu, cuda, cuda:1, ..."""
    threads: Annotated[int, Range(ge=0)] = 0
    """Processor threads that each model computes with; 0 takes as many as PyTorch does by itself."""
    max_upload_mb: Annotated[float, Range(gt=0)] = 256.0
    """Largest request in megabytes (10^6 bytes), the file and everything around it."""
    max_megapixels: Annotated[float, Range(gt=0)] | None = None
    """Larger pictures are refused before they are decoded; null keeps each model's own limit."""
    timeout_s: Annotated[float, Range(gt=0)] = 300.0
    """Longest time from the end of the upload to the answer, waiting included, in seconds."""
    upload_timeout_s: Annotated[float, Range(gt=0)] = 120.0
    """Longest time for a whole upload, in seconds."""
    idle_timeout_s: Annotated[float, Range(gt=0)] = 15.0
    """Longest silence of a client that is to send or to read something, in seconds; also the time it has for the head of a request."""
    concurrency: Annotated[int, Range(ge=1)] = 64
    """Predictions under way at once over all models, uploads and waiting included; further ones are answered 503."""
    connections: Annotated[int, Range(ge=1)] = 256
    """Connections open at once; further ones are answered 503 and closed."""
    queue: Annotated[int, Range(ge=1)] = 32
    """Files that may wait for one model; further ones are answered 503."""
    max_batch: Annotated[int, Range(ge=1)] = 8
    """Most files that a model which takes several at once gets at a time."""
    batch_wait_ms: Annotated[float, Range(ge=0)] = 5.0
    """How long a file waits for others that are on their way, to share a batch, in milliseconds."""
    readers: Annotated[int, Range(ge=1)] = 2
    """Threads that decode the files of such models."""
    grace_s: Annotated[float, Range(gt=0)] = 30.0
    """How long requests under way may take to finish once the server was told to stop, in seconds."""
    access_log: bool = True
    """Write a line of JSON to standard error for every request."""

    @property
    def max_upload_bytes(self) -> int:
        """Largest request in bytes."""
        return int(self.max_upload_mb * 1_000_000)
