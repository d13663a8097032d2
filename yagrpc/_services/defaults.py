"""What a request takes from its client where the caller names nothing else."""

from __future__ import annotations

from typing import Protocol


class Defaults(Protocol):
    """A client's settings for requests."""

    @property
    def folder_id(self) -> str | None:
        """The folder that short model names belong to."""
        ...

    @property
    def model(self) -> str:
        """The model where a call names none."""
        ...
