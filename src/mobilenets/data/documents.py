"""Reads JSON, XML and YAML files within size limits. Errors are one line that names the file."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from mobilenets.data import limits
from mobilenets.data.text import counted, decoded, read_bytes, read_text
from mobilenets.documents import parse
from mobilenets.errors import DataError, DocumentError

if TYPE_CHECKING:
    import yaml  # type: ignore[import-untyped]  # it ships no types

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")
_DEEP = f"is nested too deeply; at most {limits.DEPTH} levels are read"

Plain = str | None | list["Plain"] | dict[str, "Plain"]
"""A value of YAML: the text of a scalar exactly as written, so that `no` and `007` keep their meaning; None if empty."""


def read_json(path: Path) -> Any:  # Any: JSON
    """The value in a JSON file.

    Raises:
        DataError: it cannot be read or is not JSON; the message says where.
    """
    text = read_text(path, most=limits.JSON_BYTES)
    try:
        return parse(text.content)
    except (DocumentError, MemoryError) as error:
        reason = str(error).removeprefix("not JSON: ") or "out of memory"
        raise DataError(f"'{path}' is not valid JSON: {reason}") from error


def read_xml(path: Path) -> ElementTree.Element:
    """The root element of an XML file in any encoding that Python knows.

    Raises:
        DataError: it cannot be read, is not XML, or defines entities; the message says where.
    """
    data = read_bytes(path, most=limits.XML_BYTES)
    text = _xml_text(data, path)
    if "<!ENTITY" in text:
        raise DataError(
            f"'{path}' defines XML entities, which are not read", hint="annotation files need none; remove <!DOCTYPE ...>"
        )
    parser = ElementTree.XMLParser(target=_Bounded(path))
    try:
        parser.feed(text)
        root: ElementTree.Element = parser.close()
    except ElementTree.ParseError as error:
        raise DataError(f"'{path}' is not valid XML: {error}") from error
    except (ValueError, MemoryError) as error:
        raise DataError(f"'{path}' is not valid XML: {error or 'out of memory'}") from error
    return root


def read_yaml(path: Path) -> Plain:
    """The value in a YAML file, with scalars as text.

    Raises:
        DataError: it cannot be read, is not YAML, or repeats values too often; the message says where.
    """
    import yaml

    text = read_text(path, most=limits.YAML_BYTES)
    if _nesting(text.content) > limits.DEPTH:
        raise DataError(f"'{path}' {_DEEP}")
    try:
        node = yaml.compose(text.content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return _plain(node, path, iter(range(limits.YAML_VALUES)), 0) if node is not None else None
    except RecursionError as error:
        raise DataError(f"'{path}' {_DEEP}") from error
    except yaml.YAMLError as error:
        raise DataError(f"'{path}' is not valid YAML: {' '.join(str(error).split())}") from error
    except (ValueError, MemoryError) as error:
        raise DataError(f"'{path}' is not valid YAML: {error or 'out of memory'}") from error


class _Bounded(ElementTree.TreeBuilder):
    """Builds a tree of elements, and refuses one that is too deep."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._depth = 0

    def start(self, tag: str, attrs: Mapping[str, str], /) -> ElementTree.Element:
        self._depth += 1
        if self._depth > limits.DEPTH:
            raise DataError(f"'{self._path}' {_DEEP}")
        return super().start(tag, dict(attrs))

    def end(self, tag: str, /) -> ElementTree.Element:
        self._depth -= 1
        return super().end(tag)


def _xml_text(data: bytes, path: Path) -> str:
    """The text of an XML file, in the encoding of its byte-order mark or its declaration, or else as for any text file."""
    declared = _DECLARED.match(data[:400])
    name = declared[1].decode("ascii") if declared else "utf-8"
    if declared is None or name.lower().replace("-", "").startswith(("utf8", "utf16", "utf32")):
        return decoded(data, path).content
    # gb18030 contains gb2312 and gbk, which Windows writes under each other's names
    codec = "gb18030" if name.lower() in ("gb2312", "gbk", "x-gbk") else name
    try:
        return data.decode(codec)
    except LookupError as error:
        raise DataError(f"'{path}' line 1 declares the unknown encoding '{name}'", hint="save the file as UTF-8") from error
    except ValueError as error:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            line = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
            raise DataError(
                f"'{path}' line {line} is not {name}, as the file declares", hint="save the file as UTF-8"
            ) from error


def _nesting(text: str) -> int:
    """How deep the brackets or dashes of a YAML file are nested. PyYAML takes a minute for a few thousand levels."""
    depth = deepest = 0
    for bracket in re.finditer(r"[\[\]{}]", text):
        depth = max(0, depth + (1 if bracket[0] in "[{" else -1))
        deepest = max(deepest, depth)
    return max(deepest, *(len(dashes[0]) // 2 for dashes in re.finditer(r"(?:[-?] ){2,}", text)), 0)


def _plain(node: yaml.Node, path: Path, budget: Iterator[int], depth: int) -> Plain:
    import yaml

    if next(budget, None) is None:
        raise DataError(f"'{path}' has more than {counted(limits.YAML_VALUES, 'value')}, aliases included")
    if depth > limits.DEPTH:
        raise DataError(f"'{path}' {_DEEP}")
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, path, budget, depth + 1) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Plain] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise DataError(f"'{path}' line {key.start_mark.line + 1} has a key that is not a plain word")
            mapping[key.value] = _plain(value, path, budget, depth + 1)
        return mapping
    return None if not node.style and node.value in ("", "~") else str(node.value)


def xml_kind(path: Path) -> str:
    """The name of the first element near the beginning of an XML file; "cvat" for CVAT's; "" if there is none."""
    head = _head(path)
    first = re.search(rb"<([A-Za-z_][A-Za-z0-9_.:-]{0,60})", head)
    if first is None or not head.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(b"<"):
        return ""
    if first[1] == b"annotations" and any(tag in head for tag in (b"<version", b"<meta", b"<image ")):
        return "cvat"
    return first[1].decode("ascii")


def has_keys(path: Path, *keys: str) -> bool:
    """Whether all keys occur in a JSON file; it is searched and not parsed."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return all(re.search(rb'"%s"\s{0,100}:' % re.escape(key.encode()), data) is not None for key in keys)
    except (OSError, ValueError):
        return False


def head_text(path: Path) -> str:
    """The first characters of a text file; "" if it cannot be read or is not text."""
    try:
        return decoded(_head(path).rpartition(b"\n")[0] or _head(path), path).content
    except DataError:
        return ""


def _head(path: Path, length: int = 4096) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(length).replace(b"\0", b"")
    except (OSError, ValueError):
        return b""
