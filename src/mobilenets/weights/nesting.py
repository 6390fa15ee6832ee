"""Checks how deeply tuples are nested in a pickle, without building them.

Python hashes nested tuples recursively in C, without a limit: a dict whose key is nested a hundred thousand deep crashes the
process. The pickle of a state dict has nested tuples as the arguments for rebuilding a tensor, but only a few levels.
"""

from __future__ import annotations

import pickletools
from typing import IO, Any

from mobilenets.errors import WeightsError

DEEPEST_TUPLE = 100

_MARK = -1
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def check_nesting(file: IO[bytes], name: str) -> None:
    """Scan one pickle.

    Args:
        file: positioned at the start of the pickle; afterwards at its end.
        name: the file's name, for the message.

    Raises:
        WeightsError: tuples are nested more deeply than in any state dict.
        ValueError: it is not a pickle.
    """
    stack: list[int] = []  # for each value on the unpickler's stack, its depth of nested tuples
    known: dict[Any, int] = {}  # Any: the memo's numbers and, in old protocols, texts
    for opcode, argument, _ in pickletools.genops(file):
        top = stack[-1] if stack else 0
        if opcode.name == "MARK":
            stack.append(_MARK)
        elif opcode.name == "MEMOIZE":
            known[len(known)] = top
        elif "PUT" in opcode.name:
            known[argument] = top
        elif "GET" in opcode.name:
            stack.append(known.get(argument, 0))
        else:
            _apply(opcode, stack)
        if stack and stack[-1] > DEEPEST_TUPLE:
            raise WeightsError(
                f"'{name}' has tuples inside tuples, more than {DEEPEST_TUPLE} deep, which no state dict has",
                hint="the file is damaged; download it again",
            )


def _apply(opcode: pickletools.OpcodeInfo, stack: list[int]) -> None:
    """Apply an opcode to the stack: a tuple is one level deeper than its deepest item, anything else equally deep."""
    count = _TUPLES.get(opcode.name, len(opcode.stack_before))
    held = [0]
    if pickletools.markobject in opcode.stack_before:
        while stack and (depth := stack.pop()) != _MARK:
            held.append(depth)
        count = opcode.stack_before.index(pickletools.markobject)
    held += [stack.pop() if stack else 0 for _ in range(count)]
    deeper = 1 if "TUPLE" in opcode.name else 0
    stack += [max(held) + deeper] * len(opcode.stack_after)
