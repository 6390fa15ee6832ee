"""The server's metrics, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from mobilenets.serve.batching import Stage
from mobilenets.serve.refusal import Reason

MEDIA = "text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Bounds of the histograms of times."""

IMAGES = (1, 2, 4, 8, 16, 32, 64)
"""Bounds of the histogram of batches."""


@dataclass(frozen=True, slots=True)
class ModelMetrics:
    """The metrics of one model.

    Args:
        stages: histogram of the time in each stage.
        batches: histogram of batch sizes.
    """

    stages: Mapping[Stage, Histogram]
    batches: Histogram

    def stage(self, stage: Stage, seconds: float) -> None:
        """A request spent this time in a stage."""
        self.stages[stage].observe(seconds)

    def batch(self, images: int) -> None:
        """A batch of this many images went through the network."""
        self.batches.observe(images)


class Metrics:
    """All metrics of one server, in a separate registry."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._requests = Counter(
            "mobilenets_requests",
            "Requests by endpoint, model and status of HTTP or gRPC.",
            ["endpoint", "model", "status"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "mobilenets_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["endpoint", "model"],
            buckets=SECONDS,
            registry=registry,
        )
        self._rejected = Counter("mobilenets_rejected", "Requests that were refused, by reason.", ["reason"], registry=registry)
        self._stages = Histogram(
            "mobilenets_stage_seconds",
            "Time of answered requests by stage: receive, queue, prepare, network, answer.",
            ["model", "stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "mobilenets_batch_images",
            "Images per run of the network.",
            ["model"],
            buckets=IMAGES,
            registry=registry,
        )
        self._waiting = Gauge("mobilenets_queue_requests", "Requests waiting for a thread.", ["model"], registry=registry)
        self._held = Gauge("mobilenets_held_bytes", "Bytes of the requests in memory.", registry=registry)
        self._models: dict[str, ModelMetrics] = {}  # looking up labels costs more than counting
        self._answers: dict[tuple[str, str, int | str], tuple[Counter, Histogram]] = {}
        self._reloads = Counter("mobilenets_reloads", "Reloads by outcome.", ["model", "outcome"], registry=registry)

    def of_model(self, name: str) -> ModelMetrics:
        """The metrics of a model."""
        if name not in self._models:
            stages = {stage: self._stages.labels(name, stage) for stage in get_args(Stage)}
            self._models[name] = ModelMetrics(stages, self._batches.labels(name))
        return self._models[name]

    def watch_queue(self, name: str, waiting: Callable[[], float]) -> None:
        """Read the length of a model's queue from this function whenever metrics are requested."""
        self._waiting.labels(name).set_function(waiting)

    def watch_held(self, size_bytes: Callable[[], float]) -> None:
        """Read the number of bytes in memory from this function whenever metrics are requested."""
        self._held.set_function(size_bytes)

    def answered(self, endpoint: str, model: str, status: int | str, seconds: float) -> None:
        """Count a request that was answered or refused."""
        key = (endpoint, model, status)
        if key not in self._answers:
            self._answers[key] = (
                self._requests.labels(endpoint, model, str(status)),
                self._request_seconds.labels(endpoint, model),
            )
        requests, times = self._answers[key]
        requests.inc()
        times.observe(seconds)

    def rejected(self, reason: Reason) -> None:
        """Count a refused request."""
        self._rejected.labels(reason).inc()

    def reloaded(self, model: str, outcome: str) -> None:
        """Count a model that was reloaded, or could not be."""
        self._reloads.labels(model, outcome).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)
