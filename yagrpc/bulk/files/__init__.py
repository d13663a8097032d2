"""Rows from files, and results to files: JSONL, CSV and Parquet.

Rules: a file is read as it is needed, never whole. What is found out about one (its encoding, its separator) is said.
A row that can't be read is an invalid row with its line; a file that can't be is refused before anything is sent.
"""

from __future__ import annotations
