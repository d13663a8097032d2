"""One row: what its user wrote, and the request that it becomes.

A row is a text, a dict (`text` or `messages`, parameters of its own, an `id`), a list of messages, or a whole request
of the REST guide. In a table (CSV, Parquet, a DataFrame) a row has columns: one is the text, all others are data.

Rules: pure; nothing is sent for a row that can't be: it is `invalid`, with the reason. Whatever a row is, it is kept as
JSON, in the form in which it came.
"""

from __future__ import annotations

import base64
import difflib
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yagrpc import _pb
from yagrpc._core.call.requests import check_completion
from yagrpc._services.embeddings import embedding_request
from yagrpc.bulk.decisions.schema import check_schema
from yagrpc.errors import ConfigError, RequestError
from yagrpc.hiding import shown
from yagrpc.journal.changes import Fixed
from yagrpc.messages import Message, completion_request, model_uri, parsed, tokenize_request

if TYPE_CHECKING:
    from google.protobuf.message import Message as ProtoMessage

    from yagrpc.bulk.decisions.outcomes import RowOutcome

LONGEST_TEXT: Final = 100_000
"""Characters of one text, the most that the service takes."""

_OVERRIDES: Final = (
    "model", "system", "temperature", "max_tokens", "reasoning_mode", "tools", "tool_choice", "parallel_tool_calls",
    "json_object", "json_schema",
)  # fmt: skip
"""The parameters that a row may have of its own."""

_KNOWN: Final = ("id", "text", "messages", *_OVERRIDES)

_WHOLE: Final = ("modelUri", "model_uri", "completionOptions", "completion_options")
"""The keys by which a whole request is recognised."""

_BYTES: Final = (bytes, bytearray, memoryview)

_NO_TEXT: Final = "these bytes are not UTF-8: decode them first"

_CONVERSIONS: Final = ("tolist", "as_py")
"""What numpy's and pyarrow's values have, which gives one of Python."""

_PLACE: Final = re.compile(r"\{\{|\}\}|\{(\w+)\}|[{}]")
"""What a template has in its braces; doubled ones are plain characters."""


class Raw(NamedTuple):
    """A row as its reader gives it.

    Args:
        line: Its line, or its place, in the input, from 1.
        source: The row as JSON.
        problem: Why it can't be read; empty where it can.
        id: Its id, where something else than the row gives it.
    """

    line: int
    source: bytes
    problem: str = ""
    id: str | None = None

    def fingerprint(self) -> bytes:
        """A hash of the row; of equal rows equal."""
        return hashlib.blake2b(self.source, digest_size=12).digest()


class Recipe(NamedTuple):
    """How rows become requests.

    Args:
        task: What is done with each.
        folder_id: The folder of short model names.
        model: The model, where a row names none.
        parameters: Those of each completion, where a row has none of its own.
        table: Whether rows are those of a table.
        text: The column of a table that holds the texts.
        key: The column that holds the ids; `None` for none.
        template: What is sent for a text; `None` for the text itself.
    """

    task: str
    folder_id: str | None
    model: str
    parameters: Mapping[str, Any]
    table: bool = False
    text: str = "text"
    key: str | None = "id"
    template: str | None = None


class Planned(NamedTuple):
    """A row that was read.

    Args:
        fixed: What the journal keeps of it.
        value: What it was, as JSON values.
        problem: Why it is invalid; empty where it is not.
    """

    fixed: Fixed
    value: Any
    problem: str


def check_template(template: str | None) -> None:
    """Check a template.

    Raises:
        ConfigError: It has a brace that is neither doubled nor around a name, or names nothing.
    """
    if template is None:
        return
    if not isinstance(template, str) or not _encodable(template):
        raise ConfigError(f"template is {shown(template)}: it takes a text with {{text}} in it")
    found = [match for match in _PLACE.finditer(template) if match[0] not in ("{{", "}}")]
    if not found or any(match[1] is None for match in found):
        raise ConfigError(
            f"template is {shown(template)}: it takes {{text}}, or names of columns; write {{{{ for a brace"
        )


def names_of(template: Any) -> list[str]:
    """What a template names; nothing where there is none, or one that `check_template` refuses."""
    return [match[1] for match in _PLACE.finditer(template) if match[1]] if isinstance(template, str) else []


def plan(number: int, raw: Raw, recipe: Recipe) -> Planned:
    """Read a row: its id and its values. Whether it can be sent is found when its request is created.

    Args:
        number: Its place in the input, from 0.
        raw: The row.
        recipe: How rows become requests.
    """
    value, row_id, problem = None, raw.id, raw.problem
    if not problem:
        try:
            value = json.loads(raw.source)
        except UnicodeDecodeError as error:
            problem = f"it is not UTF-8 (byte {error.start})"
        except RecursionError:
            problem = "it is nested too deeply"
        except json.JSONDecodeError as error:
            problem = f"it is not JSON: {error.msg} (character {error.pos + 1})"
        except ValueError:
            problem = "it is not JSON that can be read: it has a number of too many digits"
    if isinstance(value, dict) and row_id is None and recipe.key is not None:
        given = value.get(recipe.key)
        if isinstance(given, (str, int)) and not isinstance(given, bool) and given != "":
            row_id = str(given)
        elif (data := _data_of(given)) is not None:
            problem = problem or f"{recipe.key} is {shown(data)}: {_NO_TEXT}"
        elif given is not None or (recipe.table and not problem):
            problem = problem or f"{recipe.key} is {shown(given)}: an id is a text or a whole number"
    if row_id is not None and not _encodable(row_id):
        row_id, problem = (
            None,
            problem or f"its id is {shown(row_id)}: it holds half of a surrogate pair, which is no text",
        )
    return Planned(Fixed(number, row_id, raw.line, raw.fingerprint(), raw.source), value, problem)


def parameters_of(value: Any, recipe: Recipe) -> dict[str, Any]:
    """The parameters of a row's completion: its own, and the run's in their place."""
    own = {} if recipe.table or not isinstance(value, dict) else value
    return {**recipe.parameters, **{name: own[name] for name in _OVERRIDES if own.get(name) is not None}}


def request_of(value: Any, recipe: Recipe, parameters: Mapping[str, Any]) -> ProtoMessage:
    """The request of a row.

    Args:
        value: The row, as JSON values.
        recipe: How rows become requests.
        parameters: Those of its completion.

    Raises:
        RequestError: The row is of another form, or the service would refuse it.
        ConfigError: A model is a short name, and no folder is known.
    """
    if not recipe.table:  # a column may hold data
        _check_decoded(value)
    if recipe.task != "completion":
        return _text_request(_text_of(value, recipe), recipe)
    if is_whole(value, recipe):
        request = _whole_request(value)
    else:
        request = completion_request(
            _messages_of(value, recipe),
            folder_id=recipe.folder_id,
            **{"model": recipe.model, **parameters},
        )
        if isinstance(value, dict) and not recipe.table:  # that of the run is checked once
            check_schema(value.get("json_schema"))
    for index, message in enumerate(request.messages):
        _check_length(message.text, f"messages[{index}].text")
    return request


def is_whole(value: Any, recipe: Recipe) -> bool:
    """Whether a row is a whole request of a completion, for which the run's own parameters do not count."""
    return isinstance(value, dict) and not recipe.table and any(name in value for name in _WHOLE)


def changed_request(
    request: _pb.text_generation_service_pb2.CompletionRequest, recipe: Recipe, changed: Mapping[str, Any]
) -> None:
    """Change a whole request for its next attempt.

    Args:
        request: The request.
        recipe: How rows become requests.
        changed: Parameters of a completion: a model, a temperature, a limit of tokens.

    Raises:
        RequestError: The service would refuse one.
        ConfigError: A model is a short name, and no folder is known.
    """
    own = completion_request("text", folder_id=recipe.folder_id, **{"model": request.model_uri, **changed})
    request.model_uri = own.model_uri
    request.completion_options.MergeFrom(own.completion_options)


def digest_of(request: ProtoMessage) -> bytes:
    """A hash of a request; of equal ones equal."""
    return hashlib.blake2b(request.SerializeToString(deterministic=True), digest_size=16).digest()


def check_recipe(recipe: Recipe) -> None:
    """Check what is the same in all requests, by that of an invented row: a row may have a model of its own.

    Raises:
        RequestError: An argument is wrong.
    """
    _check_parameters(recipe, recipe.parameters)


def check_changes(recipe: Recipe, changes: Mapping[RowOutcome, Mapping[str, Any]]) -> None:
    """Check what outcomes change in the next attempt, each value for itself, as `check_recipe` does.

    Args:
        recipe: How rows become requests.
        changes: Parameters of a completion, by outcome; a text as `max_tokens` is a factor.

    Raises:
        RequestError: A value is wrong.
    """
    for outcome, changed in changes.items():
        for name, value in changed.items():
            if name == "max_tokens" and isinstance(value, str):
                continue
            try:
                _check_parameters(recipe, {**recipe.parameters, name: value})
            except RequestError as error:
                raise RequestError(f"retry_on[{outcome.value!r}][{name!r}]", value, error.allowed) from None


def source_of(row: Any) -> bytes:
    """A row of Python values as JSON.

    Raises:
        RequestError: It is something else than texts, dicts, lists and numbers.
    """
    try:
        if not isinstance(row, (str, dict, list, tuple, int, float, type(None))):
            row = _formed(row)
        messages = row.get("messages") if isinstance(row, dict) else row
        if isinstance(messages, (list, tuple)):
            json.dumps(messages, default=_formed)
        try:
            return json.dumps(row, ensure_ascii=False, default=plain).encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which is refused with its row
            return json.dumps(row, default=plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError("row", row, f"it takes a text, a dict, or a list of messages ({error})") from None


def _formed(value: Any) -> Any:
    """A row, or a part of its messages, that JSON does not have, in a form that a row has.

    Raises:
        TypeError: It has none of them. What it says of itself (its `str`) would be sent as a text.
    """
    found = plain(value)
    if (
        isinstance(found, str)
        and not isinstance(value, _BYTES)
        and not any(hasattr(value, name) for name in _CONVERSIONS)
    ):
        raise TypeError(f"this is of the type {type(value).__name__}")
    return found


def rows_of(rows: Iterable[Any], key: Callable[[Any], Any] | None) -> Iterator[Raw]:
    """Rows of Python values, each when it is asked for.

    Args:
        rows: The rows.
        key: Gives the id of each; `None` where the row itself has it.
    """
    for line, row in enumerate(rows, 1):
        try:
            source, problem = source_of(row), ""
        except RequestError as error:
            source, problem = json.dumps(shown(row)).encode(), str(error)
        given = None if key is None else key(row)
        yield Raw(line, source, problem, None if given is None else str(given))


def frame_of_rows(rows: Any) -> tuple[str, str] | None:
    """The library (`pandas` or `polars`) and the kind (`DataFrame`, `Series` or `Index`) of a frame; `None` for others.

    A class derived from them is one, too: iterating a GeoDataFrame gives the names of its columns, not its rows.
    """
    for base in type(rows).__mro__:
        library = base.__module__.partition(".")[0]
        if library in ("pandas", "polars") and base.__name__ in ("DataFrame", "Series", "Index", "MultiIndex"):
            return None if base.__name__ == "MultiIndex" else (library, base.__name__)
    return None


def table_of(rows: Any) -> Iterator[Any] | None:
    """The rows of a DataFrame as dicts; `None` for anything else."""
    library, kind = frame_of_rows(rows) or ("", "")
    if kind != "DataFrame":
        return None
    if library == "polars":
        found: Iterator[Any] = rows.iter_rows(named=True)
        return found
    names = [str(name) for name in rows.columns]
    return (dict(zip(names, row, strict=True)) for row in rows.itertuples(index=False, name=None))


def columns_of(fixed: Fixed, value: Any, *, table: bool) -> dict[str, Any]:
    """The columns of a row, for the output."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return {"messages": value}
    return {"text": value if value is not None else fixed.source.decode("utf-8", "replace")}


def _check_parameters(recipe: Recipe, parameters: Mapping[str, Any]) -> None:
    """Check parameters by the request of an invented row.

    Raises:
        RequestError: One is wrong.
    """
    check_schema(parameters.get("json_schema"))
    alone = recipe._replace(table=False, template=None, folder_id=recipe.folder_id or "folder")
    request_of("text", alone, parameters)


def _messages_of(value: Any, recipe: Recipe) -> Any:
    if isinstance(value, dict) and not recipe.table and "messages" in value:
        if "text" in value:
            raise RequestError("text", value["text"], "a row has text or messages, not both")
        _check_keys(value)
        messages = value["messages"]
        if not isinstance(messages, list):
            raise RequestError("messages", messages, "it takes a list of messages")
        return messages
    if isinstance(value, list):
        return value
    return _text_of(value, recipe)


def _text_of(value: Any, recipe: Recipe) -> str:
    columns = value
    if isinstance(value, str):
        columns = {recipe.text: value}
    elif not isinstance(value, dict):
        raise RequestError("row", value, "it takes a text, or an object with text or messages")
    elif not recipe.table:
        _check_keys(value)
    name = recipe.text if recipe.table or isinstance(value, str) else "text"
    if recipe.template is None or name in columns:
        if name not in columns:
            allowed = "it takes text, or messages"
            if recipe.table:
                allowed = f"there is no column {name!r}"
            elif recipe.text != "text":
                allowed += "; text= names a column of a table, such as a DataFrame"
            raise RequestError("row", sorted(columns), allowed)
        text = columns[name]
        _check_part(text, name)
        if not isinstance(text, str) or not text.strip():
            raise RequestError(name, text, "it takes a text that is not empty")
        _check_length(text, name)
    if recipe.template is None:
        return str(columns[name])
    return _PLACE.sub(lambda found: _filled(found, columns, name), recipe.template)


def _filled(found: re.Match[str], columns: Mapping[str, Any], text: str) -> str:
    if found[1] is None:
        return found[0][0]
    name = text if found[1] == "text" and "text" not in columns else found[1]
    value = columns.get(name)
    _check_part(value, name)
    if value is None or value != value:
        raise RequestError(name, value, "the template needs it")
    return str(value)


def _check_decoded(value: Any) -> None:
    """Refuse bytes that are no text where a row has texts. What else it has may be data.

    Raises:
        RequestError: There are some.
    """
    _check_part(value, "row")
    messages = value
    if isinstance(value, dict):
        messages = value.get("messages")
        for name in _OVERRIDES:
            _check_part(value.get(name), name)
    if not isinstance(messages, list):
        return
    for index, message in enumerate(messages):
        _check_part(message, f"messages[{index}]")
        if isinstance(message, dict):
            for name, part in message.items():
                _check_part(part, f"messages[{index}].{name}")


def _check_part(value: Any, field: str) -> None:
    """Refuse a part of a row that is bytes and no text.

    Raises:
        RequestError: It is.
    """
    data = _data_of(value)
    if data is not None:
        raise RequestError(field, data, _NO_TEXT)


def _data_of(value: Any) -> bytes | None:
    """The bytes that a value of a row was, where they are no text: `plain` keeps them; `None` for anything else."""
    if not isinstance(value, dict) or value.keys() != {"base64"}:
        return None
    try:
        data = base64.b64decode(value["base64"], validate=True)
    except (TypeError, ValueError):
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        return data
    return None


def _text_request(text: str, recipe: Recipe) -> ProtoMessage:
    if recipe.task == "tokenize":
        return tokenize_request(text, model=recipe.model, folder_id=recipe.folder_id)
    uri = model_uri(recipe.model, recipe.folder_id, "emb")
    return embedding_request(uri, None, text, "text")


def _whole_request(value: Mapping[str, Any]) -> _pb.text_generation_service_pb2.CompletionRequest:
    body = {name: each for name, each in value.items() if name != "id"}
    request = parsed(_pb.text_generation_service_pb2.CompletionRequest, body, "row")
    request.completion_options.stream = False
    check_completion(request)
    return request


def _check_keys(value: Mapping[str, Any]) -> None:
    """Refuse a key that is a known one misspelt: what else a row has is data, and stays with it."""
    for name in value:
        if name not in _KNOWN and (near := _near(name)):
            raise RequestError(name, value[name], f"this key is not known: did you mean {near!r}?")


@functools.lru_cache(1000)
def _near(name: str) -> str:
    """The known key that a name may be meant to be; empty for none. Rows have the same names mostly."""
    near = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=0.8)
    return near[0] if near else ""


def _encodable(text: str) -> bool:
    """Whether a text has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_length(text: str, field: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise RequestError(field, f"{text[:20]}...", f"it has {len(text):,} characters, and the most is 100,000")


def plain(value: Any) -> Any:
    """A value that JSON does not have, as one that it has."""
    if isinstance(value, Message):
        if value.tool_calls or value.tool_results:
            raise TypeError("a message with tool calls has no JSON form here: give the API's JSON")
        return {"role": value.role, "text": value.text}
    if hasattr(value, "DESCRIPTOR"):
        from google.protobuf import json_format

        return json_format.MessageToDict(value)
    if isinstance(value, _BYTES):  # a text, in a column that does not say so (SAS, HDF5, Parquet of Spark), or data
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if hasattr(value, "keys"):  # a mapping, or a row of a database: few of those are mappings
        return dict(value)
    for name in _CONVERSIONS:
        if hasattr(value, name):
            return getattr(value, name)()
    try:
        if value != value:
            return None
    except TypeError:  # of pandas' NA nothing is known
        return None
    return str(value)
