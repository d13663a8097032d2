"""The one error of the generator."""

from __future__ import annotations

__all__ = ["GenerateError"]


class GenerateError(Exception):
    """Generation failed; the message names the file or method and says what to do."""
