"""What all servers share: the instruction for the model, and which texts of the model their callers get."""

from __future__ import annotations

import logging
from typing import Final

import yagrpc

__all__ = ["ABANDON_SECONDS", "EXPOSED", "INSTRUCTION", "log"]

INSTRUCTION: Final = "Ты корректор. Исправь все ошибки в присланном тексте и верни только исправленный текст."
"""You are a proofreader. Correct all errors in the text, and return only the corrected text."""

EXPOSED: Final = (yagrpc.Code.INVALID_ARGUMENT, yagrpc.Code.FAILED_PRECONDITION, yagrpc.Code.INTERNAL)
"""Statuses of the model whose texts are about the caller's own request."""

ABANDON_SECONDS: Final = 5.0
"""Seconds for the request to stop an operation that nobody waits for any longer."""

log = logging.getLogger("proofreading")
