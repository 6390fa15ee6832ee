"""`RefusedError`: why a request gets no answer, with an HTTP or gRPC status that tells client from server errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mobilenets.errors import MobileNetsError

Reason = Literal[
    "request",
    "key",
    "model",
    "bytes",
    "pixels",
    "images",
    "image",
    "encoding",
    "urls",
    "busy",
    "late",
    "slow",
    "gone",
    "output",
]
"""The reason under which a refusal is counted."""

# fmt: off
STATUS: Mapping[Reason, int] = {
    "request":  400,  # malformed: JSON, tensors, options
    "key":      401,
    "urls":     403,
    "model":    404,
    "slow":     408,  # the request did not arrive in time
    "bytes":    413,
    "pixels":   413,
    "images":   413,
    "encoding": 415,
    "image":    422,  # not an image, or damaged
    "output":   422,  # the network's output for this input is not finite
    "gone":     499,  # the client disconnected
    "busy":     503,
    "late":     504,  # the answer would not be ready in time
}
# fmt: on

# fmt: off
CODES: Mapping[Reason, str] = {  # by gRPC's names
    "request":  "INVALID_ARGUMENT",
    "key":      "UNAUTHENTICATED",
    "urls":     "PERMISSION_DENIED",
    "model":    "NOT_FOUND",
    "slow":     "DEADLINE_EXCEEDED",
    "bytes":    "RESOURCE_EXHAUSTED",  # the code that gRPC itself uses
    "pixels":   "INVALID_ARGUMENT",
    "images":   "INVALID_ARGUMENT",
    "encoding": "UNIMPLEMENTED",
    "image":    "INVALID_ARGUMENT",
    "output":   "INVALID_ARGUMENT",
    "gone":     "CANCELLED",
    "busy":     "UNAVAILABLE",
    "late":     "DEADLINE_EXCEEDED",
}
# fmt: on


class RefusedError(MobileNetsError):
    """A request that is refused.

    Args:
        reason: the reason under which it is counted; it determines the status.
        message: what was wrong, for the client.
        retry_s: seconds until the client may try again; 0 if that would not help.
    """

    def __init__(self, reason: Reason, message: str, *, retry_s: int = 0) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.retry_s = retry_s

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.reason]

    @property
    def headers(self) -> dict[str, str]:
        """Additional headers of the response."""
        if self.reason == "key":
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": str(self.retry_s)} if self.retry_s else {}
