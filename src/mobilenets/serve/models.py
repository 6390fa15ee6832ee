"""`Models`: the models of a server by name. One that was exported again is opened beside the old one, and takes its place."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mobilenets.errors import MobileNetsError
from mobilenets.serve.inference import ProtocolModel, models_of
from mobilenets.serve.logs import event
from mobilenets.serve.model import ServedModel, Source, fingerprint, opened
from mobilenets.serve.names import check_names
from mobilenets.serve.refusal import RefusedError

if TYPE_CHECKING:
    from mobilenets.serve.limits import Limits
    from mobilenets.serve.metrics import Metrics


class Models:
    """Opens the models, and holds them until `close`. After that only the event loop's thread may call it.

    Args:
        sources: where the models come from; the first is what `/predict` answers with by default.
        limits: of the server.
        metrics: that the models report to.

    Raises:
        MobileNetsError: a model cannot be opened.
        UsageError: two have the same name.
    """

    def __init__(self, sources: Sequence[Source], limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._served: dict[str, ServedModel] = {}
        self._protocol: dict[str, ProtocolModel] = {}
        self._users: Counter[ServedModel] = Counter()
        self._unused: dict[ServedModel, asyncio.Event] = {}
        self._turn = asyncio.Lock()
        check_names([source.name for source in sources])
        try:
            for source in sources:
                self._take(self._open(source))
                metrics.watch_queue(source.name, self._waiting(source.name))
        except BaseException:
            self.close()
            raise

    @property
    def served(self) -> Iterable[ServedModel]:
        """All models, the first one first."""
        return self._served.values()

    @property
    def names(self) -> list[str]:
        """All names of the protocol."""
        return list(self._protocol)

    def of_name(self, name: str | None) -> ServedModel:
        """The model of a name; the first if there is none.

        Raises:
            RefusedError: there is no such model.
        """
        if name is None:
            return next(iter(self._served.values()))
        if name not in self._served:
            raise RefusedError("model", f"there is no model {name[:80]!r}; known: {', '.join(self._served)}")
        return self._served[name]

    def of_protocol(self, name: str) -> ProtocolModel:
        """What the protocol calls by a name.

        Raises:
            RefusedError: there is no such model.
        """
        if name not in self._protocol:
            raise RefusedError("model", f"there is no model {name[:80]!r}; known: {', '.join(self._protocol)}")
        return self._protocol[name]

    @contextmanager
    def using(self, model: ServedModel) -> Iterator[None]:
        """Keeps a model open for a request until the block ends, also where another takes its place meanwhile."""
        self._users[model] += 1
        try:
            yield
        finally:
            self._users[model] -= 1
            if not self._users[model]:
                del self._users[model]
                if model in self._unused:
                    self._unused[model].set()

    async def reload(self, names: Iterable[str] | None = None) -> None:
        """Open models again and let them take the place of the old ones, which answer what they have accepted.

        A model that cannot be opened is logged, and the old one stays.

        Args:
            names: of the models; all by default.
        """
        async with self._turn:
            for name in list(self._served if names is None else names):
                await self._reload(self._served[name])

    async def watch(self, seconds: float) -> None:
        """Reload each model whose files have changed and then stay as they are; runs until it is cancelled."""
        last: dict[str, object] = {}
        tried: dict[str, object] = {}
        while True:
            await asyncio.sleep(seconds)
            for name, model in list(self._served.items()):
                now = await asyncio.to_thread(fingerprint, model.source)
                if now != model.fingerprint and now != tried.get(name) and now == last.get(name):
                    tried[name] = now  # once, if it cannot be opened
                    await self.reload([name])
                last[name] = now

    def close(self) -> None:
        """Answer what was accepted, and release the models."""
        for model in self._served.values():
            model.close()

    async def _reload(self, old: ServedModel) -> None:
        try:
            new = await asyncio.to_thread(self._open, old.source)
        except Exception as error:  # whatever it is, the old one goes on
            ours = None if isinstance(error, MobileNetsError | OSError) else error
            event("reload failed", level=logging.ERROR, exception=ours, model=old.name, error=str(error))
            self._metrics.reloaded(old.name, "failed")
            return
        self._take(new)
        self._metrics.reloaded(old.name, "done")
        event("reloaded", model=old.name, seconds=round(new.opened_s, 2), engine=new.predictor.engine.source)
        if old in self._users:
            self._unused[old] = asyncio.Event()
            await self._unused[old].wait()
            del self._unused[old]
        await asyncio.to_thread(old.close)

    def _open(self, source: Source) -> ServedModel:
        return opened(source, self._limits, self._metrics.of_model(source.name))

    def _take(self, model: ServedModel) -> None:
        self._served[model.name] = model
        self._protocol.update({one.name: one for one in models_of(model, self._limits)})

    def _waiting(self, name: str) -> Callable[[], float]:
        return lambda: self._served[name].batcher.waiting
