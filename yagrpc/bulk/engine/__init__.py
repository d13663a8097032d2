"""The run itself, in an event loop: rows to the service, answers to the journal."""

from __future__ import annotations
