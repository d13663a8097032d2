"""Where the rows of a run come from: what its user gave, as rows that are read from the first as often as needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

from yagrpc.bulk.decisions.rows import Raw, frame_of_rows, names_of, rows_of, table_of
from yagrpc.errors import ConfigError
from yagrpc.hiding import shown


class Source:
    """Where a run's rows come from.

    Args:
        rows: Gives the rows, from the first.
        table: Whether they are those of a table.
        total: How many there are; `None` where that is not known.
        frame: The Series or DataFrame that they are of; `None` for anything else.
        columns: The columns of the table.
    """

    def __init__(
        self,
        rows: Callable[[], Iterator[Raw]],
        *,
        table: bool,
        total: int | None = None,
        frame: Any = None,
        columns: Sequence[str] = (),
    ) -> None:
        self.rows = rows
        self.table = table
        self.total = total
        self.frame = frame
        self.columns = columns

    def check_columns(self, text: str, template: str | None, key: object) -> None:
        """Check that a table has the columns that its rows become requests by.

        Args:
            text: The column of the texts.
            template: What is sent for a text; `None` for the text itself.
            key: The column of the ids; `None` and a function name none.

        Raises:
            ConfigError: It has no such column.
        """
        if not self.table:
            return
        there = ", ".join(self.columns)
        if not template and text not in self.columns:
            raise ConfigError(f"there is no column {text!r}: name that of the texts by text=; there are {there}")
        for name in names_of(template):
            if name not in ("text", *self.columns):
                raise ConfigError(f"there is no column {name!r}, which template= names; there are {there}")
        if isinstance(key, str) and key not in self.columns:
            raise ConfigError(f"there is no column {key!r}: key= takes one of {there}")

    @classmethod
    def of(cls, rows: Any, key: Any) -> Source:
        """The source of what a user gave.

        Raises:
            ConfigError: It is no iterable, a single text, or a DataFrame of another library, or one with two columns of
                one name.
        """
        if isinstance(rows, Source):
            return rows
        if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
            raise ConfigError(f"rows is {shown(rows)}: it takes an iterable of rows, a Series or a DataFrame")
        table = table_of(rows)
        if table is None and any(base.__name__ == "DataFrame" for base in type(rows).__mro__):
            library = type(rows).__module__.partition(".")[0]  # iterating one gives the names of its columns
            raise ConfigError(
                f"rows is a DataFrame of {library}: it takes one of pandas or polars, or its rows as dicts"
            )
        if table is not None:
            frame: Any = rows
            names = [str(name) for name in frame.columns]
            doubled = [name for name, count in Counter(names).items() if count > 1]
            if doubled:
                raise ConfigError(f"rows has two columns named {shown(doubled[0])}: name each column once")
        total = len(rows) if isinstance(rows, Sized) else None
        function = key if callable(key) else None
        return cls(
            lambda: rows_of(rows if table is None else table, function),
            table=table is not None,
            total=total,
            frame=rows if frame_of_rows(rows) else None,
            columns=() if table is None else [str(name) for name in getattr(rows, "columns", ())],
        )
