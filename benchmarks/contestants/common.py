"""What every contestant of `make bench` does alike; standard library only, each runs in an environment of its own.

A contestant submits all its questions at once, waits for the operations as its library has it, and compares every
answer with its own question. It is told its task as JSON and prints what it saw as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def task() -> dict[str, Any]:
    """What is to be done.

    Its keys: `address`, `tls`, `ca`, `count`, `quota` (Gets a second, or none), `patience` (seconds) and `started`
    (seconds since the epoch).
    """
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def question(number: int) -> str:
    """What is asked."""
    return f"question {number}"


def is_answer(number: int, text: str) -> bool:
    """Whether a text answers a question."""
    return text == f"answer to question {number}"


def memory() -> int:
    """Bytes of memory that the process holds now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


class Report:
    """What a contestant saw.

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
        self._begun = self._submitted = time.perf_counter()

    def submitted(self) -> None:
        """All are accepted; from here on they are waited for."""
        self._submitted = time.perf_counter()
        self._cpu = time.process_time()
        self.memory_while_pending()

    def memory_while_pending(self) -> None:
        """Note the memory; the most counts."""
        self._pending = max(self._pending, memory())

    def answered(self, number: int, text: str) -> None:
        """An answer came."""
        if self.first is None:
            self.first = time.time() - self._started
        self.right += is_answer(number, text)

    def print(self) -> None:
        """Print it."""
        ended = time.perf_counter()
        print(
            json.dumps(
                {
                    "delivered": self.right,
                    "failed": self.failed,
                    "first": self.first,
                    "submitting": self._submitted - self._begun,
                    "waiting": ended - self._submitted,
                    "cpu": time.process_time() - self._cpu,
                    "memory": max(0, self._pending - self._memory) / self.count,
                }
            )
        )
