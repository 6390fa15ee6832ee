"""Images by their addresses: from the places that are named, and from nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Web
from tests.serve.running import Running
from urllib3.util import parse_url

from mobilenets.errors import UsageError
from mobilenets.serve.app import Access
from mobilenets.serve.fetching import place_of
from mobilenets.serve.limits import Limits

Encode = Callable[..., bytes]
JSON = {"Content-Type": "application/json"}


def addresses(*urls: str) -> bytes:
    return json.dumps({"urls": urls}).encode()


@pytest.fixture
def fetching(web: Web, serve: Callable[..., Running], color_model: Path, encoded: Encode) -> Running:
    """A server that fetches from the folder `open` of a web server, which has others too."""
    for name, data in {
        "open/red.png": encoded("red"),
        "open/large.png": bytes(5000),
        "open/half.png": bytes(2100),
        "closed/blue.png": encoded("blue"),
    }.items():
        (web.folder / name).parent.mkdir(exist_ok=True)
        (web.folder / name).write_bytes(data)
    web.moved["/open/moved.png"] = "/closed/blue.png"
    return serve(
        color=color_model, limits=Limits(size_bytes=4000, images=3), access=Access(places=(place_of(f"{web.url}/open/"),))
    )


def test_images_are_fetched_and_named_by_their_addresses(fetching: Running, web: Web) -> None:
    url = f"{web.url}/open/red.png"
    response = fetching.ask("/predict", addresses(url), headers=JSON)
    assert response.status == 200
    assert (response.json()["file"], response.json()["label"]) == (url, "red")
    several = fetching.ask("/predict", addresses(url, url), headers=JSON)
    assert [json.loads(line)["label"] for line in several.data.splitlines()] == ["red", "red"]


def test_one_of_several_that_cannot_be_fetched_has_its_reason_in_its_line(fetching: Running, web: Web) -> None:
    gone, red = f"{web.url}/open/gone.png", f"{web.url}/open/red.png"
    several = fetching.ask("/predict", addresses(gone, red), headers=JSON)
    assert several.status == 200
    first, second = (json.loads(line) for line in several.data.splitlines())
    assert first == {"file": gone, "error": "it cannot be fetched: its server answers 404"}
    assert (second["file"], second["label"]) == (red, "red")
    none = fetching.ask("/predict", addresses(gone, gone), headers=JSON)
    assert fetching.refusal(none, 422) == f"'{gone}': it cannot be fetched: its server answers 404"
    assert fetching.ask("/predict?draw=1", addresses(gone), headers=JSON).status == 422


# fmt: off
REFUSED = [
    ("/closed/blue.png", 403, "not fetched from"),
    ("/open/../closed/blue.png", 403, "not fetched from"),
    ("/open/%2e%2e/closed/blue.png", 403, "not fetched from"),
    ("/open/..%2fclosed/blue.png", 403, "not fetched from"),
    ("/open", 403, "not fetched from"),
    ("/open/moved.png", 422, "its server answers 302"),
    ("/open/gone.png", 422, "its server answers 404"),
    ("/open/large.png", 413, "more than 4,000 bytes"),
]
# fmt: on


@pytest.mark.parametrize(("path", "status", "words"), REFUSED)
def test_what_lies_elsewhere_or_cannot_be_had_is_refused(
    path: str, status: int, words: str, fetching: Running, web: Web
) -> None:
    assert words in fetching.refusal(fetching.ask("/predict", addresses(web.url + path), headers=JSON), status)
    assert not any(asked.startswith("/closed") for asked, _ in web.asked)


def test_all_images_together_may_be_as_large_as_a_body(fetching: Running, web: Web) -> None:
    twice = addresses(*[f"{web.url}/open/half.png"] * 2)
    assert "the images have more than 4,000 bytes" in fetching.refusal(fetching.ask("/predict", twice, headers=JSON), 413)
    assert fetching.samples("mobilenets_held_bytes") == {"": 0}


# fmt: off
MALFORMED = [
    (b"{}", 400, "the body is not"),
    (b'{"urls": "x"}', 400, "the body is not"),
    (b'{"urls": []}', 400, "is empty"),
    (b'{"urls": ["file:///etc/passwd"]}', 403, "not fetched from"),
    (b'{"urls": ["http://[::"]}', 400, "is not a URL"),
    (addresses(*["http://a/"] * 4), 413, "at most 3 images"),
]
# fmt: on


@pytest.mark.parametrize(("body", "status", "words"), MALFORMED)
def test_a_malformed_list_is_refused(body: bytes, status: int, words: str, fetching: Running) -> None:
    assert words in fetching.refusal(fetching.ask("/predict", body, headers=JSON), status)


@pytest.mark.parametrize(
    ("address", "holds"),
    [
        ("https://example.org/photos/a.jpg", True),
        ("https://EXAMPLE.org:443/photos/a.jpg?size=2", True),
        ("http://example.org/photos/a.jpg", False),
        ("https://example.org:8443/photos/a.jpg", False),
        ("https://user@example.org/photos/a.jpg", False),
        ("https://example.org.evil.net/photos/a.jpg", False),
        ("https://example.org@evil.net/photos/a.jpg", False),
        ("https://example.org/photosecret/a.jpg", False),
        ("https://example.org/photos\\..\\a.jpg", False),
        ("//example.org/photos/a.jpg", False),
    ],
)
def test_a_place_holds_what_lies_below_it_on_its_server(address: str, holds: bool) -> None:
    assert place_of("https://example.org/photos/").holds(parse_url(address)) is holds


@pytest.mark.parametrize(
    "text", ["example.org/", "ftp://example.org/", "https://example.org", "https:///", "https://a/?b=/", "http://[::/"]
)
def test_a_place_is_a_whole_address(text: str) -> None:
    with pytest.raises(UsageError):
        place_of(text)
