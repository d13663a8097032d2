"""docs/serving.md shows the table of errors as the code has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from yagrpc.serving.table import TABLE

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


def printed() -> Iterator[str]:
    """The table as the page has it."""
    yield "| error | its code | gRPC | HTTP | reason | text | asked again |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in TABLE:
        kinds = ", ".join(f"`{kind.__name__}`" for kind in row.kinds)
        codes = ", ".join(code.name for code in row.codes) or "any"
        reason = f"`{row.reason}`{' *' if row.ours else ''}"
        again = "yes" if row.again else ""
        yield f"| {kinds} | {codes} | {row.status.name} | {row.http} | {reason} | {row.text} | {again} |"


def test_the_page_shows_the_table_of_the_code() -> None:
    found = re.search(
        r"<!-- A test compares this table with the code. -->\n(.*?)<!-- end -->", PAGE.read_text("utf-8"), re.S
    )
    assert found is not None
    assert found[1].splitlines() == list(printed())
