"""What the commands of `yagrpc bulk` do; their options are in `commands/bulk.py`."""

from __future__ import annotations
