"""`Models`: a server's models by name. When a model is exported again, it is opened beside the old one and then replaces it."""

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
    """Opens the models, and holds them until `close`. After construction, only the event loop's thread may call it.

    Args:
        sources: where the models come from; the first one is the default for `/predict`.
        limits: the server's limits.
        metrics: the server's metrics.

    Raises:
        MobileNetsError: a model cannot be opened.
        UsageError: two models have the same name.
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
        """All models, in order."""
        return self._served.values()

    @property
    def names(self) -> list[str]:
        """All model names of the protocol."""
        return list(self._protocol)

    def of_name(self, name: str | None) -> ServedModel:
        """The model with this name; the first one if there is no name.

        Raises:
            RefusedError: there is no such model.
        """
        if name is None:
            return next(iter(self._served.values()))
        if name not in self._served:
            raise RefusedError("model", f"there is no model {name[:80]!r}; known: {', '.join(self._served)}")
        return self._served[name]

    def of_protocol(self, name: str) -> ProtocolModel:
        """The protocol's model with this name.

        Raises:
            RefusedError: there is no such model.
        """
        if name not in self._protocol:
            raise RefusedError("model", f"there is no model {name[:80]!r}; known: {', '.join(self._protocol)}")
        return self._protocol[name]

    @contextmanager
    def using(self, model: ServedModel) -> Iterator[None]:
        """Keep a model open for a request until the block ends, even if it is replaced in the meantime."""
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
        """Open models again and replace the old ones, which still answer their accepted requests.

        A model that cannot be opened is logged, and the old one stays.

        Args:
            names: names of the models; all by default.
        """
        async with self._turn:
            for name in list(self._served if names is None else names):
                await self._reload(self._served[name])

    async def watch(self, seconds: float) -> None:
        """Reload each model once its files have changed and are stable again; runs until it is cancelled."""
        last: dict[str, object] = {}
        tried: dict[str, object] = {}
        while True:
            await asyncio.sleep(seconds)
            for name, model in list(self._served.items()):
                now = await asyncio.to_thread(fingerprint, model.source)
                if now != model.fingerprint and now != tried.get(name) and now == last.get(name):
                    tried[name] = now  # only once, even if it cannot be opened
                    await self.reload([name])
                last[name] = now

    def close(self) -> None:
        """Answer the accepted requests, and release the models."""
        for model in self._served.values():
            model.close()

    async def _reload(self, old: ServedModel) -> None:
        try:
            new = await asyncio.to_thread(self._open, old.source)
        except Exception as error:  # whatever it is, the old model stays
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
