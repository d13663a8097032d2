"""The statuses of gRPC: the kinds of failures.

Rules: standard library only; `yagrpc.errors` has a class for each.
"""

from __future__ import annotations

import enum

__all__ = ["Code", "NamedNumber"]


class NamedNumber(enum.IntEnum):
    """Numbers of the API that print as their names: `Code.NOT_FOUND`, where `IntEnum` prints 5 (or not, by version)."""

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __format__(self, spec: str) -> str:
        number = spec[-1:].isalpha() and not spec.endswith("s")
        return format(int(self) if number else str(self), spec)


class Code(NamedNumber):
    """Status codes of gRPC, which are those of `google.rpc.Code`."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @classmethod
    def of(cls, number: int) -> Code | int:
        """The code of a number; a number that no code has is kept as it is."""
        try:
            return cls(number)
        except ValueError:
            return number
