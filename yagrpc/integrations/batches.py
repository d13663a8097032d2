"""Completions of batches, for engines that spread a table over processes and machines: Ray Data, Dask and Daft.

    dataset.map_batches(Completions, fn_constructor_kwargs={"journals": "/shared/journals", "text": "review"},
                        batch_size=500, compute=ray.data.ActorPoolStrategy(size=4))

Rules: an engine calls it with a batch and gets the same kind of batch with further columns. Each batch has a journal,
named after what is in the batch: the process that gets the batch again, after another one was lost, waits for the
operations that run instead of paying for them again. Nothing is connected before the first batch, so that it can be
sent to another process.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypedDict, get_type_hints

import yagrpc
from yagrpc.bulk.results import renamed
from yagrpc.errors import ConfigError, JournalInUseError
from yagrpc.hiding import shown, shown_path

__all__ = ["COLUMNS", "Answer", "Completions"]


class Answer(TypedDict):
    """The columns that a batch gets, also as a type for engines that ask for one (`return_dtype=Answer` in Daft).

    What is not there is an empty text, and a cost that is not known NaN (or null): so the type of a column is the same
    in every batch.
    """

    text: str
    outcome: str
    error: str
    input_tokens: int
    output_tokens: int
    cost: float
    model_version: str
    operation_id: str
    attempts: int


COLUMNS: Final[Mapping[str, type]] = get_type_hints(Answer)
"""The columns of `Answer`, and their types."""

_RUNNING: Final = frozenset(
    {"concurrency", "max_cost", "max_failures", "on_ambiguous", "prices", "progress", "retries", "retry_on", "timeout"}
)
"""Parameters that change no request: a batch has the same journal whatever they are."""

_PAUSE: Final = 0.5
"""Seconds after which a journal is tried again that another process writes."""


class Completions:
    """A callable that answers the texts of a batch.

    Args:
        journals: The folder of the journals, which all processes share; it is created where it is not there.
        text: The column of the texts; a Series of Daft is that column already.
        client: Settings of the client, other than those of the environment; the engine sends them to its processes.
            `share` says where all of them count the quotas: by default a file of the machine, `redis://...` for
            several machines.
        **parameters: Those of `client.bulk`, such as `system` and `model`; `template` may name the text only.

    Raises:
        ConfigError: A setting can't work.
    """

    def __init__(
        self,
        journals: str | PathLike[str],
        *,
        text: str = "text",
        client: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> None:
        taken = sorted(parameters.keys() & {"journal", "key", "task", "limit"})
        if taken:
            raise ConfigError(f"{taken[0]} is given by Completions itself: leave it out")
        if client is not None and not (isinstance(client, Mapping) and all(isinstance(name, str) for name in client)):
            raise ConfigError(f"client is {shown(client)}: it takes a dict of settings of the client")
        try:
            self._journals = Path(journals)
        except TypeError:
            raise ConfigError(f"journals is {shown(journals)}: it takes the path of a folder") from None
        self._text = text
        self._settings = {"share": "auto", **(client or {})}
        self._parameters = parameters

    def __call__(self, batch: Any) -> Any:
        """Answer a batch: a dict of columns (NumPy arrays or lists), a DataFrame of pandas, or a table of pyarrow.

        Columns of the batch that have the name of one of `COLUMNS` are renamed to `input_...`. A Series of Daft has the
        texts alone: the answers are an array of structs of pyarrow.

        Raises:
            ConfigError: It is something else, has no such column, two of one name, or columns of unequal lengths; or
                the folder of the journals can't be created.
            YagrpcError: What is wrong with every row, such as a credential.
        """
        kind = _kind(batch)
        names = kind.names(batch)
        if self._text not in names and kind is not _Series:
            there = f"one of {', '.join(names)}" if names else "a column of the batch, which has none"
            raise ConfigError(f"there is no column {shown(self._text)}: text takes {there}")
        doubled = [name for name, count in Counter(names).items() if count > 1]
        if doubled:
            raise ConfigError(f"the batch has two columns named {shown(doubled[0])}: name each column once")
        if kind is _Columns:
            _check_lengths(batch)
        texts = kind.values(batch, self._text)
        results = self._answers(texts) if texts else []
        columns = {name: [_value(result, name) for result in results] for name in COLUMNS}
        return kind.joined(batch, renamed(names, COLUMNS), columns)

    def _answers(self, texts: Sequence[Any]) -> list[yagrpc.BulkResult]:
        try:
            self._journals.mkdir(parents=True, exist_ok=True, mode=0o700)
        except (OSError, ValueError) as error:
            why = "it is a file" if isinstance(error, FileExistsError) else getattr(error, "strerror", None) or error
            raise ConfigError(
                f"journals is {shown_path(str(self._journals))}: it takes a folder, or a path where one can be created"
                f" ({why})"
            ) from None
        shaping = {name: value for name, value in self._parameters.items() if name not in _RUNNING}
        content = json.dumps([shaping, *texts], default=repr, ensure_ascii=False, sort_keys=True)
        name = hashlib.blake2b(content.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()
        journal = self._journals / f"{name}.journal"
        with yagrpc.Client(**self._settings) as client:
            bulk = client.bulk(texts, journal=journal, **self._parameters)
            while True:
                try:
                    return bulk.results()
                except JournalInUseError:  # another process has an equal batch: its answers are these, too
                    time.sleep(_PAUSE)


def _value(result: yagrpc.BulkResult, name: str) -> Any:
    if name in ("input_tokens", "output_tokens"):
        return result.usage.input_text_tokens if name == "input_tokens" else result.usage.completion_tokens
    if name == "model_version":
        return "" if result.completion is None else result.completion.model_version
    if name == "outcome":
        return result.outcome.value
    value = getattr(result, name)
    return "" if value is None and COLUMNS[name] is str else value


def _check_lengths(batch: Mapping[Any, Any]) -> None:
    """Check that a dict is a table.

    Raises:
        ConfigError: One of its values is no column, or two have unequal lengths.
    """
    lengths: dict[int, str] = {}
    for name, values in batch.items():
        try:
            if isinstance(values, (str, bytes)):  # each letter would be a row
                raise TypeError
            lengths.setdefault(len(values), shown(name))
        except TypeError:
            raise ConfigError(
                f"column {shown(name)} of the batch is {shown(values)}: it takes a list or an array"
            ) from None
    if len(lengths) > 1:
        (one, first), (other, second), *_ = lengths.items()
        raise ConfigError(
            f"the batch has columns of unequal lengths, {first} with {one:,} rows and {second} with {other:,}: give"
            " each column a value for each row"
        )


class _Columns:
    """A dict of columns."""

    @staticmethod
    def names(batch: Any) -> list[str]:
        return [str(name) for name in batch]

    @staticmethod
    def values(batch: Any, name: str) -> list[Any]:
        values = batch[name]
        return list(values.tolist() if hasattr(values, "tolist") else values)

    @staticmethod
    def joined(batch: Any, renamed: Mapping[str, str], columns: Mapping[str, list[Any]]) -> Any:
        given = {renamed.get(name, name): values for name, values in batch.items()}
        if not any(hasattr(values, "dtype") for values in batch.values()):
            return {**given, **columns}
        numpy: Any = importlib.import_module("numpy")
        kinds = {str: object, int: "int64", float: "float64"}
        return {**given, **{name: numpy.array(columns[name], kinds[kind]) for name, kind in COLUMNS.items()}}


class _Pandas:
    """A DataFrame of pandas."""

    @staticmethod
    def names(batch: Any) -> list[str]:
        return [str(name) for name in batch.columns]

    @staticmethod
    def values(batch: Any, name: str) -> list[Any]:
        return list(batch[name].tolist())

    @staticmethod
    def joined(batch: Any, renamed: Mapping[str, str], columns: Mapping[str, list[Any]]) -> Any:
        pandas: Any = importlib.import_module("pandas")
        strings = [dtype for dtype in batch.dtypes if isinstance(dtype, pandas.StringDtype)]
        # Texts have the type of other texts of the batch: what Dask plans to write has no object columns.
        kinds = {str: strings[0] if strings else "object", int: "int64", float: "float64"}
        own = {
            name: pandas.Series(columns[name], index=batch.index, dtype=kinds[kind]) for name, kind in COLUMNS.items()
        }
        return batch.rename(columns=renamed).assign(**own)


class _Arrow:
    """A table of pyarrow."""

    @staticmethod
    def names(batch: Any) -> list[str]:
        return list(batch.column_names)

    @staticmethod
    def values(batch: Any, name: str) -> list[Any]:
        return list(batch.column(name).to_pylist())

    @staticmethod
    def joined(batch: Any, renamed: Mapping[str, str], columns: Mapping[str, list[Any]]) -> Any:
        table = batch.rename_columns([renamed.get(name, name) for name in batch.column_names])
        for name, array in _arrays(columns).items():
            table = table.append_column(name, array)
        return table


class _Series:
    """A Series of Daft: the texts, without a name."""

    @staticmethod
    def names(batch: Any) -> list[str]:
        return []

    @staticmethod
    def values(batch: Any, name: str) -> list[Any]:
        return list(batch.to_pylist())

    @staticmethod
    def joined(batch: Any, renamed: Mapping[str, str], columns: Mapping[str, list[Any]]) -> Any:
        pyarrow: Any = importlib.import_module("pyarrow")
        arrays = _arrays(columns)
        return pyarrow.StructArray.from_arrays([*arrays.values()], [*arrays])


def _arrays(columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    pyarrow: Any = importlib.import_module("pyarrow")
    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    return {name: pyarrow.array(columns[name], kinds[kind]) for name, kind in COLUMNS.items()}


def _kind(batch: Any) -> type[_Columns] | type[_Pandas] | type[_Arrow] | type[_Series]:
    if isinstance(batch, Mapping):
        return _Columns
    library = type(batch).__module__.partition(".")[0]
    if library == "pandas" and hasattr(batch, "columns"):
        return _Pandas
    if library == "pyarrow" and hasattr(batch, "append_column"):
        return _Arrow
    if library == "daft" and hasattr(batch, "to_pylist") and not hasattr(batch, "column_names"):
        return _Series
    raise ConfigError(
        f"a batch is a {type(batch).__name__}: Completions takes a dict of columns, a DataFrame of pandas, a table of"
        " pyarrow or a Series of Daft"
    )
