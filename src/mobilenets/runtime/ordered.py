"""`in_order`: run work in threads and yield the results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int, ahead: int, name: str
) -> Generator[Result, None, None]:
    """The results in the order of the items, each as soon as it and all earlier ones are ready.

    Closing the generator, or an error in `work`, cancels the items that have not started and waits for those that have.

    Args:
        work: computes the result of an item; called from the threads.
        items: read one by one, only as fast as the results are consumed.
        threads: number of threads.
        ahead: how many items may be in progress beyond the one being waited for.
        name: name prefix of the threads.
    """
    pending: deque[Future[Result]] = deque()
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
