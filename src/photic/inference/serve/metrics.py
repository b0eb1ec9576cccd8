"""What Prometheus reads at ``/metrics``; a registry of its own, so that several applications can live in one process."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
OTHER = "-"
"""The model of requests that name none; names from clients never become labels."""


class ServeMetrics:
    """Counters and histograms of one application."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter("photic_requests", "Requests answered", ("model", "status"), registry=self.registry)
        self._seconds = Histogram(
            "photic_request_seconds",
            "From the head of a request to the end of its answer",
            ("model",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._computing = Histogram(
            "photic_compute_seconds", "Time a model took for a batch of files", ("model",), buckets=_SECONDS, registry=self.registry
        )
        self._batches = Histogram("photic_batch_size", "Files in a batch", ("model",), buckets=_BATCHES, registry=self.registry)
        self._in_flight = Gauge(
            "photic_in_flight", "Predictions under way, uploads and waiting included", ("model",), registry=self.registry
        )
        self._queues = Gauge("photic_queue_length", "Files that wait for a model", ("model",), registry=self.registry)
        self._uploaded = Counter("photic_uploaded_bytes", "Bytes of requests that were read", ("model",), registry=self.registry)
        self._abandoned = Counter(
            "photic_abandoned", "Predictions whose client had gone or whose time was over", ("model",), registry=self.registry
        )
        self._facts = Gauge("photic_model_info", "1 for each model that is served", ("model", "task", "sha256"), registry=self.registry)

    def add_model(self, name: str, task: str, sha256: str, waiting: Callable[[], int]) -> None:
        """Begin to count for a model; everything about it is there from the start, with zeros."""
        self._facts.labels(name, task, sha256).set(1)
        self._queues.labels(name).set_function(waiting)
        for metric in (self._seconds, self._computing, self._batches, self._in_flight, self._uploaded, self._abandoned):
            metric.labels(name)

    def request(self, model: str, status: int, seconds: float, uploaded: int) -> None:
        """Count an answer."""
        self._requests.labels(model, str(status)).inc()
        self._seconds.labels(model).observe(seconds)
        self._uploaded.labels(model).inc(uploaded)

    def batch(self, model: str, size: int, seconds: float) -> None:
        """Count a batch; called by workers' threads."""
        self._batches.labels(model).observe(size)
        self._computing.labels(model).observe(seconds)

    def under_way(self, model: str, change: int) -> None:
        """Count a prediction in or out."""
        self._in_flight.labels(model).inc(change)

    def abandoned(self, model: str) -> None:
        """Count a prediction that nobody waits for any more."""
        self._abandoned.labels(model).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' format."""
        return generate_latest(self.registry)
