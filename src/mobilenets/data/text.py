"""Reads text files that describe a dataset: their encoding, and the names and numbers in them."""

from __future__ import annotations

import codecs
import math
import os
import re
import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data import limits
from mobilenets.data.faults import Fault
from mobilenets.errors import DataError
from mobilenets.files import stand_in

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAVE = "save the file as UTF-8"
_HIGH = re.compile(rb"[\x80-\xff]+")


@dataclass(frozen=True, slots=True)
class Text:
    """The content of a text file.

    Args:
        content: its characters, without a byte-order mark.
        encoding: the encoding that it was read with.
        guessed: whether the encoding was guessed, because nothing in the file states it.
    """

    content: str
    encoding: str = "utf-8"
    guessed: bool = False

    @property
    def lines(self) -> list[str]:
        """Its lines, which end with a line feed, a carriage return, or both."""
        return re.split(r"\r\n|\n|\r", self.content)

    def faults(self, shown: str) -> list[Fault]:
        """A fault if the encoding was guessed; `shown` is the file's name for display."""
        if not self.guessed:
            return []
        named = {"cp1252": "Windows-1252 (Western European)", "gb18030": "GB 18030 (Chinese)"}.get(self.encoding, self.encoding)
        return [Fault("encoding", f"is not UTF-8; it was read as {named}", shown)]


def read_text(path: Path, *, most: int = limits.TEXT_BYTES) -> Text:
    """The text of a file in UTF-8, UTF-16, UTF-32, Windows-1252 or GB 18030.

    Raises:
        DataError: it cannot be read, is larger than `most` bytes, or its encoding is unknown; the message names the line.
    """
    return decoded(read_bytes(path, most=most), path)


def read_bytes(path: Path, *, most: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        DataError: it cannot be read, is a pipe or device, or is larger than `most` bytes.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"'{path}' is not a regular file")
        if status.st_size > most:
            raise DataError(f"'{path}' has {status.st_size:,} bytes; at most {most:,} are read")
        with path.open("rb") as file:
            return file.read(status.st_size)  # read(most) would allocate that many bytes first
    except (OSError, ValueError, MemoryError) as error:
        raise DataError(f"'{path}' cannot be read: {getattr(error, 'strerror', None) or error or 'out of memory'}") from error


def decoded(data: bytes, path: Path) -> Text:
    """The text in the bytes of a file, in one of the encodings of `read_text`.

    Raises:
        DataError: its encoding is unknown; the message names the line.
    """
    other = stand_in(data[:64])
    if other is not None:
        raise DataError(f"'{path}' is {other[0]}, not the file itself", hint=other[1])
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return _checked(Text(data[len(mark) :].decode(encoding), encoding), path)
            except UnicodeDecodeError as error:
                line = _line(data[len(mark) : len(mark) + error.start].decode(encoding, "replace"))
                raise DataError(f"'{path}' line {line} is not valid {encoding.upper()}", hint=_SAVE) from error
    encoding = _wide(data)
    if encoding:
        try:
            return _checked(Text(data.decode(encoding), encoding, guessed=True), path)
        except UnicodeDecodeError:
            pass
    try:
        return _checked(Text(data.decode("utf-8")), path)
    except UnicodeDecodeError as error:
        encoding = guess(data)
        if encoding:
            return _checked(Text(data.decode(encoding), encoding, guessed=True), path)
        line = data.count(b"\n", 0, error.start) + 1
        message = f"'{path}' line {line} is not UTF-8 (byte 0x{data[error.start]:02X}), and its encoding is unknown"
        raise DataError(message, hint=_SAVE) from error


def guess(data: bytes) -> str:
    """The likely encoding of bytes that are not UTF-8: "gb18030" or "cp1252"; "" if both or neither are likely.

    Chinese characters are pairs of high bytes, which seldom have Latin letters on both sides. Accented letters of Western
    languages are one high byte, seldom two, among Latin letters.
    """
    pairs, singles, inside = 0, 0, 0
    for run in _HIGH.finditer(data):
        length = run.end() - run.start()
        before, after = data[max(run.start() - 1, 0) : run.start()], data[run.end() : run.end() + 1]
        inside += before.isalpha() and after.isalpha()
        pairs += length % 2 == 0 and min(run[0]) >= 0xA1
        singles += length <= 2
    runs = len(_HIGH.findall(data))
    likely = ["gb18030"] * (pairs == runs and inside < runs / 2) + ["cp1252"] * (
        singles == runs and (pairs < runs or inside > 0)
    )
    fitting = [encoding for encoding in likely if _decodes(data, encoding)]
    return fitting[0] if len(fitting) == 1 else ""


def class_name(name: str, where: str) -> str:
    """A class name without the spaces around it.

    Args:
        name: the name as it is written.
        where: the file and the place in it, for the error.

    Raises:
        DataError: the name is empty, too long, or has characters that a file of names cannot contain.
    """
    text = name.strip()
    if not text:
        raise DataError(f"{where} has an empty class name")
    if len(text) > limits.NAME_LENGTH:
        raise DataError(f"{where} has a class name of {len(text):,} characters; at most {limits.NAME_LENGTH} are allowed")
    bad = next((character for character in text if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")), None)
    if bad is not None:
        what = "bytes that are not UTF-8" if unicodedata.category(bad) == "Cs" else f"the control character U+{ord(bad):04X}"
        raise DataError(f"{where} has the class name '{legible(text)}' with {what}", hint="rename the class")
    return text


def folder_class(name: str, where: str) -> str:
    """The class that a folder represents. Bytes of an old encoding in its name are decoded if the encoding is recognized.

    Raises:
        DataError: as for `class_name`.
    """
    raw = os.fsencode(name)
    encoding = guess(raw) if any("\udc80" <= character <= "\udcff" for character in name) else ""
    return class_name(raw.decode(encoding) if encoding else name, where)


def legible(name: str) -> str:
    r"""A file's name in printable characters; all others are escaped.

    >>> legible("a b.jpg"), legible("a\nb.jpg"), legible("caf\udce9.jpg")
    ('a b.jpg', 'a\\nb.jpg', 'caf\\xe9.jpg')
    """
    if name.isprintable():
        return name
    return "".join(character if character.isprintable() or character == "\u3000" else _escaped(character) for character in name)


def shown(value: object, most: int = 60) -> str:
    """A value from a file, as an error message quotes it: at most `most` characters; long or nested values are summarized."""
    if isinstance(value, str):
        text = repr(value[: most + 1])
    elif isinstance(value, bool | float) or value is None:
        text = repr(value)
    elif isinstance(value, int):
        text = repr(value) if abs(value) < 10**most else "a number of many digits"
    elif isinstance(value, list):
        text = f"[{', '.join(shown(item, most) if not isinstance(item, list | dict) else '...' for item in value[:6])}]"
        text = text if len(value) <= 6 else f"a list of {len(value)} values"
    else:
        text = "an object" if isinstance(value, dict) else f"a {type(value).__name__}"
    return text if len(text) <= most + 2 else f"{text[:most]}..."


def number(value: object) -> float:
    """A finite number from JSON as a float; NaN for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= limits.COORDINATE:
        return float(value)
    return math.nan


def finite(text: str, what: str) -> float:
    """The finite number in a text.

    Args:
        text: the text.
        what: the file, the place in it and the meaning of the number, for the error.

    Raises:
        DataError: it is not a number, or it is absurdly large.
    """
    try:
        value = float(text) if len(text) <= 100 and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not abs(value) <= limits.COORDINATE:
        raise DataError(f"{what} is {shown(text)}, not a number" + (" in range" if abs(value) > limits.COORDINATE else ""))
    return value


def whole(text: str) -> int | None:
    """The whole number of 0 or more in a text; None for anything else."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= limits.DIGITS else None


def counted(n: int, noun: str, nouns: str = "") -> str:
    """A number with its noun in the singular or plural; `nouns` is the plural, if adding an "s" does not make it.

    >>> counted(1, "image"), counted(2000, "box", "boxes")
    ('1 image', '2,000 boxes')
    """
    return f"{n:,} {noun if n == 1 else nouns or noun + 's'}"


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few names, quoted, and how many more there are.

    >>> some(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c' and 2 more"
    """
    listed = list(names)
    quoted = ", ".join(f"'{legible(name)}'" for name in listed[:most])
    return f"{quoted} and {len(listed) - most} more" if len(listed) > most else quoted


def columns_shown(header: Iterable[str]) -> str:
    """The names of a table's columns for an error message: the first dozen, shortened.

    >>> columns_shown(["a", "b"]), columns_shown([])
    ('a, b', 'none')
    """
    names = list(header)
    first = ", ".join(legible(name[:40]) for name in names[:12])
    return f"{first} and {len(names) - 12} more" if len(names) > 12 else first or "none"


def _wide(data: bytes) -> str:
    """The kind of UTF-16 without a byte-order mark, recognized by many zero bytes at even or odd offsets; "" if it is none."""
    if len(data) < 4 or len(data) % 2:
        return ""
    head = data[:4096]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) < 0.4 * len(head) / 2 or min(even, odd) > 0.1 * len(head) / 2:
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"


def _checked(text: Text, path: Path) -> Text:
    offset = text.content.find("\0")
    if offset >= 0:
        raise DataError(f"'{path}' line {_line(text.content[:offset])} has a zero byte; is it a text file?")
    return text


def _line(before: str) -> int:
    return before.count("\n") + 1


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        return not any(unicodedata.category(character) in ("Cn", "Co") for character in data.decode(encoding))
    except UnicodeDecodeError:
        return False


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "backslashreplace").decode("ascii") if character != " " else character
