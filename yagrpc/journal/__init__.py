"""What outlives a process: the rows of a run, each with its state, its operation and its result, in a SQLite file.

Rules: one process writes a journal, any number read it. The file and those beside it are the user's alone (mode 0600).
A file that is not understood completely is refused, and not changed. There is no thread and no event loop here: a
commit blocks until it is on the disk.
"""

from __future__ import annotations
