"""Results as a DataFrame of pandas."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path
from typing import Any

from yagrpc.bulk.decisions.rows import frame_of_rows
from yagrpc.bulk.results import COLUMNS, RESULT_COLUMNS, BulkResult, record_of, renamed, result_record
from yagrpc.errors import ConfigError
from yagrpc.journal.journal import Journal


def frame_of(results: list[BulkResult], given: Any, journal: Path, task: str, *, table: bool) -> Any:
    """A DataFrame of all rows with their results, in the order of the input.

    Args:
        results: The results, in the order of the input.
        given: The Series or DataFrame that the rows are of; `None` for anything else. The index is that of pandas'.
        journal: What has the rows.
        task: What was done with each.
        table: Whether the rows are those of a table.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        pandas: Any = importlib.import_module("pandas")
    except ModuleNotFoundError as error:
        raise ConfigError("to_pandas needs pandas: pip install pandas") from error
    columns = [*COLUMNS[task], *RESULT_COLUMNS]
    if (frame_of_rows(given) or ("",))[0] != "pandas":
        with contextlib.closing(Journal(journal)) as reader:
            entries = [reader.entry(result.number) for result in results]
        frame = pandas.DataFrame([record_of(entry, task, table=table) for entry in entries])
        name = getattr(given, "name", "")
        if name and not any(isinstance(result.row, (dict, list)) for result in results):  # a Series of polars
            old, new = (renamed([each], columns).get(each, each) for each in ("text", name))
            frame = frame.rename(columns={old: new})
        return _typed(frame)
    known = {result.number: result_record(result, task) for result in results}
    own = given.to_frame(name=given.name or "text") if not hasattr(given, "columns") else given
    own = own.rename(columns=renamed(own.columns, columns))
    added = [known.get(number, dict.fromkeys(columns)) for number in range(len(own))]
    return pandas.concat([own, _typed(pandas.DataFrame(added, index=own.index, columns=columns))], axis=1)


def _typed(frame: Any) -> Any:
    """A frame whose costs are numbers, also where none is known."""
    return frame.astype({"cost": "float64"}) if "cost" in frame.columns else frame
