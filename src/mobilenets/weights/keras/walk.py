"""A script that reads everything in the HDF5 file on standard input, so that a damaged file crashes only this process.

It imports only h5py and NumPy. Python errors are ignored, since the reader meets and reports them again. The exception is an
object that cannot list its contents: the walk then ends with an error, because the reader would ask for names that were not
visited.

Arguments: maximum bytes of all datasets, of an attribute, and of memory, and the folders to import from.
"""

from __future__ import annotations

import io
import math
import os
import sys
from typing import Any

TOO_LARGE, NO_MEMORY, UNLISTED = 3, 4, 5
"""Exit codes: the datasets unpack to more than the limit; the file asks for more memory than there is; an object cannot list
its contents."""

Item = Any  # Any: h5py has no types


class Walk:
    """A walk through every object of a file, each visited once.

    Args:
        most_bytes: maximum size of all datasets together.
        most_attribute: maximum size of an attribute in bytes; a larger one is not read.
    """

    def __init__(self, most_bytes: int, most_attribute: int) -> None:
        self.most_bytes = most_bytes
        self.most_attribute = most_attribute
        self.taken = 0
        self.seen: set[object] = set()

    def through(self, root: Item) -> None:
        """Visit `root` and everything below it. Links to other places and files are not followed."""
        import h5py

        waiting = [root]
        while waiting:
            item = waiting.pop()
            about = _known(h5py.h5o.get_info, item.id)
            if about.addr in self.seen:
                continue
            self.seen.add(about.addr)
            for name in _known(list, item.attrs):
                _tolerated(self._read_attribute, item, name)
            if isinstance(item, h5py.Group):
                waiting += _children(item)
            elif isinstance(item, h5py.Dataset):
                _tolerated(self._read_dataset, item)

    def _read_attribute(self, item: Item, name: str) -> None:
        kept = item.attrs.get_id(name)
        if math.prod(kept.shape or (1,)) * kept.dtype.itemsize <= self.most_attribute:
            item.attrs[name]

    def _read_dataset(self, dataset: Item) -> None:
        if dataset.external or dataset.is_virtual or dataset.dtype.kind not in "fiu":
            return  # the reader rejects it
        self.taken += int(dataset.size or 0) * max(dataset.dtype.itemsize, 4)
        if self.taken > self.most_bytes:
            sys.exit(TOO_LARGE)
        dataset[()]


def _children(group: Item) -> list[Item]:
    import h5py

    names = _known(list, group)
    kept = [name for name in names if isinstance(_tolerated(group.get, name, getlink=True), h5py.HardLink)]
    children = [_tolerated(group.__getitem__, name) for name in kept]
    return [child for child in children if child is not None]


def _tolerated(call: Any, *args: Any, **options: Any) -> Any:  # Any: whatever h5py takes and gives
    """A call's result, or None if it fails for a reason other than memory."""
    try:
        return call(*args, **options)
    except Exception as error:
        if isinstance(error, MemoryError) or "alloc" in str(error):
            sys.exit(NO_MEMORY)
        return None


def _known(call: Any, *args: Any) -> Any:  # Any: whatever h5py takes and gives
    """A call's result; if it fails, this process exits."""
    found = _tolerated(call, *args)
    return sys.exit(UNLISTED) if found is None else found


def _limit_memory(most: int) -> None:
    """Limit the memory of this process, on systems that support it."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, ValueError, OSError):
        pass


def main(most_bytes: int, most_attribute: int, most_memory: int) -> None:
    """Read the file on standard input; an exit code other than 0 says that the reader must not read it."""
    import h5py

    _limit_memory(most_memory)
    data = _tolerated(sys.stdin.buffer.read)
    file = _tolerated(h5py.File, io.BytesIO(data), "r")
    if file is not None:
        with file:
            _tolerated(Walk(most_bytes, most_attribute).through, file)


if __name__ == "__main__":
    sys.path[:] = sys.argv[4:]
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each additional thread reserves memory
    main(*map(int, sys.argv[1:4]))
