"""Which actors of a Ray cluster have stopped making progress without dying."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from mmx.extract.workers.messages import Counts

SIGNS = "signs"  # the thread of an actor that answers while another one works


class Watch:
    """Polls busy actors for what they have done, and times how long it stays the same."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self._calls: dict[Any, Any] = {}  # actor → its answer to come
        self._last: dict[Any, Counts] = {}
        self._silent: dict[Any, float] = {}  # s

    def silent(self, busy: set[Any], waited: float, limit: float) -> list[Any]:
        """Those of the ``busy`` actors that have done nothing for ``limit`` s.

        ``waited`` is the time in s since the last call in which an answer could come.
        """
        self._silent = {actor: self._silent.get(actor, 0.0) + waited for actor in busy}
        for actor in busy:
            if actor not in self._calls:
                self._calls[actor] = actor.done.options(concurrency_group=SIGNS).remote()
            if self.ray.wait([self._calls[actor]], timeout=0)[0]:
                self._receive(actor, self._calls.pop(actor))
        return [actor for actor, silent in self._silent.items() if silent > limit]

    def _receive(self, actor: Any, answer: Any) -> None:
        with suppress(self.ray.exceptions.RayError):  # dead: the result of its work says so
            done = self.ray.get(answer)
            if done != self._last.get(actor):
                self._last[actor], self._silent[actor] = done, 0.0
