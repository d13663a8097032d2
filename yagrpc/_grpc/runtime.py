"""The clocks, random numbers and locks of this machine, for the decisions of `_core`."""

from __future__ import annotations

import threading
import time
from typing import Final

from yagrpc._core.runtime import Runtime


def _uniform(least: float, most: float) -> float:
    import random  # only a pause needs it

    return random.uniform(least, most)


RUNTIME: Final = Runtime(clock=time.monotonic, wall=time.time, uniform=_uniform, make_lock=threading.RLock)
"""What both shells run on."""
