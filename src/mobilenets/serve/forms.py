"""Reads multipart forms in memory: the files of a form, in order."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mobilenets.serve.refusal import RefusedError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

RAW = "-"
"""Name of an image without a name, as `predict` calls one from standard input."""

_PARTS = 16  # maximum number of parts that are not files
# The only name that some clients send.
_EXTENDED = re.compile(rb"""\bfilename\*\s*=\s*"?[\w-]*'[\w-]*'([^";\s]*)""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image in a request.

    Args:
        name: name of its file.
        data: the encoded image.
        missing: why there is no data; None if there is.
    """

    name: str
    data: bytes
    missing: RefusedError | None = None


def form_images(content_type: str, body: bytes, *, most: int) -> list[EncodedImage]:
    """The files of a form. Its other fields are ignored.

    Args:
        content_type: the request's content type, which states the boundary between parts.
        body: the request's body.
        most: maximum number of files.

    Raises:
        RefusedError: it is not a form, is truncated, or has no file or too many.
    """
    try:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    except ValueError as error:  # not latin-1
        raise RefusedError("request", "the form cannot be read: the header 'Content-Type' is damaged") from error
    if not boundary:
        raise RefusedError("request", "the form cannot be read: the header 'Content-Type' names no boundary")
    reading = _Reading(most)
    try:
        MultipartParser(boundary, reading.callbacks).write(body)
    except FormParserError as error:
        raise RefusedError("request", f"the form cannot be read: {str(error) or 'it is damaged'}") from error
    if not reading.ended:
        raise RefusedError("request", "the form is cut off: its last boundary is missing")
    if not reading.images:
        raise RefusedError("request", "the form has no file; send an image as a file: curl -F image=@photo.jpg")
    return reading.images


@dataclass(slots=True)
class _Reading:
    """The state of reading a form.

    Args:
        most: maximum number of files.
    """

    most: int
    images: list[EncodedImage] = field(default_factory=list)
    ended: bool = False
    _others: int = 0
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _name: str | None = None
    _data: bytearray = field(default_factory=bytearray)

    @property
    def callbacks(self) -> MultipartCallbacks:
        """The parser's callbacks."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self._data.extend(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._name, self._data = None, bytearray()

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            options = parse_options_header(bytes(self._value))[1]
            extended = _EXTENDED.search(self._value)
            if b"filename" in options:
                self._name = options[b"filename"].decode("utf-8", "replace") or RAW
            elif extended is not None:
                self._name = unquote_to_bytes(bytes(extended[1])).decode("utf-8", "replace") or RAW
        self._header.clear()
        self._value.clear()

    def _end(self) -> None:
        if self._name is None:
            self._others += 1
        else:
            self.images.append(EncodedImage(self._name, bytes(self._data)))
        if len(self.images) > self.most:
            raise RefusedError("images", f"at most {self.most} images are accepted at once")
        if self._others > _PARTS:
            raise RefusedError("request", f"the form has more than {_PARTS} fields that are not files")

    def _finish(self) -> None:
        self.ended = True
