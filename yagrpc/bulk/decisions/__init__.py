"""What a run decides: what a row is, how it has ended, whether it is tried again, whether the next one may be sent.

Rules: pure; nothing is sent, and nothing waits.
"""

from __future__ import annotations
