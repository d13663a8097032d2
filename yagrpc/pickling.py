"""What can't be pickled, and says what can: clients, streams and operations belong to a process and its connections."""

from __future__ import annotations

from typing import NoReturn


class Unpicklable:
    """Refuses to be pickled, and says what to do instead."""

    __slots__ = ()

    @property
    def _unpicklable(self) -> str:
        return f"{type(self).__name__} can't be pickled, since it has connections of this process: pickle ids instead"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(self._unpicklable)
