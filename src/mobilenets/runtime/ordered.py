"""`in_order`: work done by threads, its results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def in_order(
    work: Callable[[Item], Found], items: Iterable[Item], *, threads: int, ahead: int, name: str
) -> Generator[Found, None, None]:
    """The results in the items' order, each as soon as it and those before it are ready.

    Closing the generator, or an error of `work`, cancels what has not begun and waits for what has.

    Args:
        work: is called by the threads.
        items: taken one by one, only as far as the results are consumed.
        threads: that work.
        ahead: items that may be under way beyond the one that is waited for.
        name: of the threads.
    """
    pending: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                while pending and (pending[0].done() or len(pending) > ahead):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
