"""What all contestants of `make bench` share; standard library only, because each has an environment of its own.

A contestant submits all its questions at once, waits for the operations as its library does, and compares every
answer with its own question. Its argument is the task as JSON; it prints its report as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def task() -> dict[str, Any]:
    """The task of this contestant.

    Its keys: `address`, `tls`, `ca`, `count`, `quota` (Gets a second, or none), `patience` (seconds) and `started`
    (seconds since the epoch).
    """
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def question(number: int) -> str:
    """The text of a question."""
    return f"question {number}"


def is_answer(number: int, text: str) -> bool:
    """Whether a text answers a question."""
    return text == f"answer to question {number}"


def memory() -> int:
    """Bytes of memory that the process holds now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


class Report:
    """The report of a contestant.

    Args:
        given: The task.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        self.count: int = given["count"]
        self._started: float = given["started"]
        self.right = self.failed = 0
        self.first: float | None = None
        self._memory = memory()
        self._pending = 0
        self._cpu = 0.0
        self._created = self._submitted = time.perf_counter()

    def submitted(self) -> None:
        """All operations are accepted; now the wait starts."""
        self._submitted = time.perf_counter()
        self._cpu = time.process_time()
        self.memory_while_pending()

    def memory_while_pending(self) -> None:
        """Record the memory in use; the largest figure counts."""
        self._pending = max(self._pending, memory())

    def answered(self, number: int, text: str) -> None:
        """Count an answer."""
        if self.first is None:
            self.first = time.time() - self._started
        self.right += is_answer(number, text)

    def print(self) -> None:
        """Print the report."""
        ended = time.perf_counter()
        print(
            json.dumps(
                {
                    "delivered": self.right,
                    "failed": self.failed,
                    "first": self.first,
                    "submitting": self._submitted - self._created,
                    "waiting": ended - self._submitted,
                    "cpu": time.process_time() - self._cpu,
                    "memory": max(0, self._pending - self._memory) / self.count,
                }
            )
        )
