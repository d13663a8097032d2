"""Bulk runs: many requests from rows to results, under the quotas, which survive the end of their process.

    asynchronous.py  what `client.bulk` of `AsyncClient` gives: the run, its results
    blocking.py      what that of `Client` gives: the same in a thread, whose event loop is loop_thread.py
    parameters.py    the arguments of both, source.py the rows that are given, planning.py what they become
    options.py       what a journal notes of its run: the options, compared in a later run, and facts
    results.py       what is given of each row, and the summary; frames.py: as a DataFrame
    shown.py         how far a run is, as a line or in a notebook's cell
    decisions/       what a row is, how it has ended, whether it is tried again, whether the next one may be sent
    intake/          which row is next
    engine/          the run itself: rows to the service, answers to the journal
    recording/       what a run writes down: commits, attempts and their ends, counts
    files/           rows from files, and results to files
    report/          the report of a run as HTML

Rules: a row's failure is its outcome, never an exception that ends the run. Everything is in the journal before
anything else sees it: an intent before its request leaves, a result before it is given or written. What is held in
memory does not grow with the number of rows.
"""

from __future__ import annotations
