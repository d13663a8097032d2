"""Bulk runs: many requests from rows to results, under the quotas, which survive the end of their process.

    run.py         what `client.bulk` gives: the results, in both worlds
    results.py     what is given of each row
    parameters.py  the arguments
    decisions/     what a row is, how it has ended, whether it is tried again, whether the next one may be sent
    engine/        the run itself: rows to the service, answers to the journal
    files/         rows from files, and results to files

Rules: a row's failure is its outcome, never an exception that ends the run. Everything is in the journal before
anything else sees it: an intent before its request leaves, a result before it is given or written. What is held in
memory does not grow with the number of rows.
"""

from __future__ import annotations
