"""The run itself, in an event loop: rows to the service, answers to the journal.

engine.py      its parts put together: run, stop, abort, how far it is
reconcile.py   what the journal has: the input is compared with it, and what an earlier run left is taken up
workers.py     the tasks that send rows, as many as may run at once
sending.py     one row: its request, its call, and what follows from a failure
budget.py      what a row may cost, before it is sent
operations.py  the waits for the operations that run
outage.py      the service can't be reached: pauses, and for how long a run is patient
stopping.py    why and when a run ends
heartbeat.py   about once a second: the report of how far it is, and the output
news.py        who waits for rows to end, or for the budget
"""

from __future__ import annotations
