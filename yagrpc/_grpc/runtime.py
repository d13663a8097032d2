"""The clocks, random numbers and locks of this machine, for the decisions of `_core`."""

from __future__ import annotations

import random
import threading
import time
from typing import Final

from yagrpc._core.runtime import Runtime

RUNTIME: Final = Runtime(clock=time.monotonic, wall=time.time, uniform=random.uniform, make_lock=threading.RLock)
"""What both shells run on."""
