"""What a run writes down: its steps and its results in the journal, and its counts in memory."""

from __future__ import annotations
