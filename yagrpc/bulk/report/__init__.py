"""The report of a run: one HTML file, of its journal alone.

Rules: the file loads nothing and runs nothing. What came from rows, models and the service is text in it, never HTML.
"""

from __future__ import annotations
