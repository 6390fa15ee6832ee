"""Damage to files: bytes that are changed, and values of JSON that become odd ones."""

from __future__ import annotations

import json
import random
from typing import Any

from mobilenets.runtime.checksum import KEY

ODD: tuple[Any, ...] = (  # Any: JSON values
    None, True, -1, 0, 2, 10**9, 10**400, -(10**30), 0.5, -1e308, 1e999, float("nan"), "", "x", "NaN", "\ud800", "a\n\x00b",
    "1e5", [], {}, [[]], [None], {"": {}}, "../../etc/passwd", "x" * 10_000,
)  # fmt: skip


def mutant(original: bytes, generator: random.Random) -> bytes:
    """A damaged copy: one to four changes of bytes or, for JSON, mostly of values."""
    try:
        document = json.loads(original)
    except ValueError:
        document = None
    if document is not None and generator.random() < 0.75:
        for _ in range(generator.randint(1, 3)):
            document = changed_value(document, generator)
        return json.dumps(document).encode("utf-8", "surrogatepass")
    data = bytearray(original)
    for _ in range(generator.randint(1, 4)):
        change_bytes(data, generator)
    return bytes(data)


def damaged_graph(original: bytes, generator: random.Random) -> bytes:
    """A damaged copy of a graph: mostly of the values in its header, which stays valid around them and has no checksum.

    Files of earlier versions have none either. With it, readers would refuse every copy before they look at what it says.
    """
    if generator.random() < 0.25:
        return mutant(original, generator)
    end = 8 + int.from_bytes(original[:8], "little")
    header = json.loads(original[8:end])
    header["__metadata__"].pop(KEY, None)
    if generator.random() < 0.8:
        operators = json.loads(header["__metadata__"]["graph"])
        for _ in range(generator.randint(1, 3)):
            operators = changed_value(operators, generator)
        header["__metadata__"]["graph"] = json.dumps(operators)
    else:
        header = changed_value(header, generator)
    changed = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(changed).to_bytes(8, "little") + changed + original[end:]


def changed_value(value: Any, generator: random.Random) -> Any:  # Any: JSON
    """JSON with one value replaced, removed or repeated somewhere inside."""
    if isinstance(value, (dict, list)) and value and generator.random() < 0.85:
        place = generator.choice(list(value) if isinstance(value, dict) else range(len(value)))
        copy = value.copy()
        action = generator.random()
        if action < 0.1:
            del copy[place]
        elif action < 0.15 and isinstance(copy, dict):
            copy[generator.choice(("", "x", str(place).upper()))] = copy.pop(place)
        elif action < 0.2 and isinstance(copy, list):
            copy += [copy[place]] * generator.choice((1, 1000))
        else:
            copy[place] = changed_value(copy[place], generator)
        return copy
    return generator.choice(ODD)


def change_bytes(data: bytearray, generator: random.Random) -> None:
    """Flip, cut, insert, repeat or overwrite bytes in place."""
    if not data:
        data += b"\x00"
    i, length = generator.randrange(len(data)), generator.choice((1, 2, 4, 16, 256))
    match generator.randrange(6):
        case 0:
            data[i] ^= 1 << generator.randrange(8)
        case 1:
            del data[i:]
        case 2:
            del data[i : i + length]
        case 3:
            data[i:i] = generator.randbytes(length)
        case 4:
            data[i:i] = data[i : i + length] * generator.choice((1, 2, 50))
        case _:
            data[i : i + length] = generator.choice((b"\x00", b"\xff", b"9", b"-", b"\n", b'"', b"<", b"[")) * length
