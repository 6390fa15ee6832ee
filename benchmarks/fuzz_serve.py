"""Hostile requests by the thousand: each ends in an answer with a reason, and the server goes on.

    python benchmarks/fuzz_serve.py --requests 10000

Damaged images, forms, JSON and tensors, senseless options and headers, and bytes that are no HTTP at all, each drawn from a
seed. A fault is an answer with status 500, no answer to a request that is well-formed HTTP, a traceback in the log, or a server
that is gone. Between them an image is predicted, and its answer must be the right one.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fuzz_prediction import color_model, encoded_images, mutant, senseless

from serve import memory_mb, server

IMAGES = encoded_images()
FINE = IMAGES[2]
"""An image that is sound, whose answer must stay the same."""

# fmt: off
HEADERS: tuple[tuple[str, str], ...] = (
    ("Content-Type", "multipart/form-data"), ("Content-Type", "application/json"), ("Content-Type", "\xff"),
    ("Content-Encoding", "gzip"), ("Inference-Header-Content-Length", "0"), ("Inference-Header-Content-Length", "-1"),
    ("Inference-Header-Content-Length", "9" * 40), ("X-Request-Id", "a" * 9000), ("Accept", "image/png;q=x,,"),
    ("Authorization", "Bearer"), ("Expect", "100-continue"), ("Cookie", "=" * 500), ("Origin", "null"),
)
MODELS = ("measured", "measured", "measured.images", "measured/versions/1", "measured/versions/x", "nobody")
FORMS = (
    "multipart/form-data; boundary=edge", "multipart/form-data; boundary=edge", "multipart/form-data; boundary=",
    "multipart/form-data", 'multipart/form-data; boundary="edge"; charset=utf-7', "multipart/mixed; boundary=edge",
    "multipart/form-data; boundary=" + "e" * 300,
)
NO_HTTP = (
    b"GET / HTTP/9\r\n\r\n", b"POST /predict HTTP/1.1\r\nContent-Length: 10\r\n\r\nshort", b"\x16\x03\x01\x02",
    b"GET \xff HTTP/1.1\r\n\r\n", b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is well-formed HTTP.

    Args:
        path: with its query.
        body: what it carries.
        headers: further ones.
        method: of HTTP.
    """

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"


def main() -> None:
    """Ask, and print what was answered; exits with 1 where there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="where the server's log goes; a temporary file by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        log = given.log or Path(name) / "log"
        with server(color_model(Path(name) / "model.onnx"), None, None, log) as (port, process):
            before = memory_mb(process.pid)
            answers, faults = run(port, given.requests, given.seed, say=lambda line: print(line, file=sys.stderr))
            after = memory_mb(process.pid)
            if process.poll() is not None:
                faults.append(f"the server ended with {process.returncode}")
        if "Traceback" in log.read_text(errors="replace"):
            faults.append(f"there is a traceback in {log}")
    summary = {
        "requests": given.requests,
        "answers": dict(sorted(answers.items())),
        "faults": faults,
        "memory_mb": [before, after],
    }
    print(json.dumps(summary, indent=1))
    sys.exit(1 if faults else 0)


def run(
    port: int, count: int, seed: int, *, say: Callable[[str], object] = lambda line: None
) -> tuple[Counter[str], list[str]]:
    """Ask a server hostile things; returns how often each status came, and what went wrong.

    Args:
        port: of the server; its first model is the color model.
        count: how many requests.
        seed: they are drawn from.
        say: is told how far it is.
    """
    answers: Counter[str] = Counter()
    faults: list[str] = []
    expected = asked(port, Request("/predict", FINE))
    for number in range(count):
        rng = random.Random(seed * 1_000_003 + number)
        kind = rng.choice(list(KINDS))
        found = KINDS[kind](port, rng)
        answers[found[0]] += 1
        if found[0] in ("500", "nothing"):
            faults.append(f"{kind} {number}: {found[0]} {found[1]:.200}")
        if number % 50 == 49 and asked(port, Request("/predict", FINE)) != expected:
            faults.append(f"after {number}: a sound image has another answer")
        if number % 1000 == 999:
            say(f"{number + 1:,} requests, {len(faults)} faults")
    return answers, faults


def asked(port: int, request: Request) -> tuple[str, str]:
    """The status of the answer and its text; ("nothing", why) where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(request.method, request.path, request.body, dict(request.headers))
        response = connection.getresponse()
        return str(response.status), response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return "nothing", repr(error)
    finally:
        connection.close()


def an_image(port: int, rng: random.Random) -> tuple[str, str]:
    """A damaged image, and options that may be senseless."""
    data = mutant(rng.choice(IMAGES), rng.randrange(10**9))
    option = rng.choice(
        ("", "", "?draw=1", "?top=2", "?top=-1", "?top=1e9", "?threshold=nan", "?model=x", "?draw=maybe", "?%ff=%00")
    )
    return asked(port, Request(f"/predict{option}", data))


def a_form(port: int, rng: random.Random) -> tuple[str, str]:
    """A form with several images, damaged as a whole."""
    parts = b"".join(
        b'--edge\r\nContent-Disposition: form-data; name="image"; filename="%d.png"\r\n\r\n%s\r\n' % (i, rng.choice(IMAGES))
        for i in range(rng.randrange(1, 4))
    )
    body = mutant(parts + b"--edge--\r\n", rng.randrange(10**9)) if rng.random() < 0.8 else parts
    return asked(port, Request("/predict", body, {"Content-Type": rng.choice(FORMS)}))


def some_json(port: int, rng: random.Random) -> tuple[str, str]:
    """A request of the protocol with one value that makes no sense, or damaged as text."""
    data = senseless(_sound(), rng)
    text = json.dumps(data).encode()
    body = mutant(text, rng.randrange(10**9)) if rng.random() < 0.3 else text
    return asked(port, Request(f"/v2/models/{rng.choice(MODELS)}/infer", body))


def a_tensor(port: int, rng: random.Random) -> tuple[str, str]:
    """A request with values behind the JSON, with wrong sizes, shapes, types and lengths."""
    values = np.random.default_rng(rng.randrange(10**9)).normal(size=768).astype(np.float32).tobytes()
    one = {"name": "image", "shape": [1, 3, 16, 16], "datatype": "FP32", "parameters": {"binary_data_size": len(values)}}
    data = {"inputs": [one], "parameters": {"binary_data_output": True}}
    head = json.dumps(senseless(data, rng) if rng.random() < 0.6 else data).encode()
    length = rng.choice((len(head), len(head), len(head) - 1, len(head) + 3, 0, 10**12))
    body = head + (mutant(values, rng.randrange(10**9)) if rng.random() < 0.6 else values)
    return asked(
        port, Request(f"/v2/models/{rng.choice(MODELS)}/infer", body, {"Inference-Header-Content-Length": str(length)})
    )


def an_oddity(port: int, rng: random.Random) -> tuple[str, str]:
    """An odd path, method or header."""
    path = rng.choice(
        ("/predict", "/v2/models/measured", "/v2/models/%00/infer", "/v2/models/../../etc/passwd", "/%ff", "//", "/v2/", "/")
    )
    headers = dict(rng.sample(HEADERS, rng.randrange(3)))
    method = rng.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"))
    return asked(port, Request(path, rng.randbytes(rng.choice((0, 1, 100, 70_000))), headers, method))


def no_http(port: int, rng: random.Random) -> tuple[str, str]:
    """Bytes that are no HTTP, or a request that breaks off: what is answered does not matter."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        try:
            link.sendall(mutant(rng.choice((*NO_HTTP, rng.randbytes(50))), rng.randrange(10**9)))
            link.shutdown(socket.SHUT_WR)
            link.settimeout(0.05)
            link.recv(4096)
        except OSError:
            pass
    return "no HTTP", ""


KINDS: dict[str, Callable[[int, random.Random], tuple[str, str]]] = {
    "image": an_image, "form": a_form, "json": some_json, "tensor": a_tensor, "oddity": an_oddity, "no http": no_http,
}  # fmt: skip


def _sound() -> dict[str, object]:
    return {
        "id": "1",
        "inputs": [{"name": "image", "shape": [1, 3, 2, 2], "datatype": "FP32", "data": [0.5] * 12}],
        "outputs": [{"name": "logits", "parameters": {"binary_data": False}}],
        "parameters": {},
    }


if __name__ == "__main__":
    main()
