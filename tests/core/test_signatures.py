"""Keyword arguments that can be seen: by `inspect`, `help()` and Jupyter, with their types, defaults and docs."""

from __future__ import annotations

import ast
import inspect
import pydoc
import re
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import jedi  # type: ignore[import-untyped]
import pytest

import yagrpc
from yagrpc import signatures
from yagrpc._core.call import parameters
from yagrpc._core.call.parameters import CallParameters
from yagrpc._services import embeddings

if TYPE_CHECKING:
    from typing_extensions import Unpack

CALL = ["timeout", "metadata", "request_id", "resubmit", "data_logging"]
MODEL = ["model", *CALL]
COMPLETION = [
    *("system", "temperature", "max_tokens", "reasoning_mode", "tools", "tool_choice", "parallel_tool_calls"),
    *("json_object", "json_schema", "strict", *MODEL),
]
METHODS = [
    ("completion", ["messages"], COMPLETION),
    ("completion_stream", ["messages"], COMPLETION),
    ("completion_async", ["messages"], COMPLETION),
    ("tokenize_completion", ["messages"], COMPLETION),
    ("tokenize", ["text"], MODEL),
    ("text_embedding", ["texts"], ["dim", *MODEL]),
    ("call", ["method", "request"], CALL),
]
CASES: list[tuple[type, str, list[str], list[str]]]
CASES = [(cls, *method) for cls in (yagrpc.Client, yagrpc.AsyncClient) for method in METHODS]
CASES += [(cls, "cancel", [], CALL) for cls in (yagrpc.Operation, yagrpc.AsyncOperation)]

methods = pytest.mark.parametrize(
    ("cls", "name", "own", "keywords"), CASES, ids=[f"{case[0].__name__}.{case[1]}" for case in CASES]
)


@pytest.fixture
def client() -> Iterator[yagrpc.Client]:
    with yagrpc.Client(folder_id="f", credentials=yagrpc.NoCredentials()) as created:
        yield created


@methods
def test_a_signature_shows_each_keyword_argument(cls: Any, name: str, own: list[str], keywords: list[str]) -> None:
    shown = inspect.signature(getattr(cls, name)).parameters
    assert list(shown) == ["self", *own, *keywords]
    assert all(shown[keyword].kind is inspect.Parameter.KEYWORD_ONLY for keyword in keywords)
    assert not any(shown[keyword].default is inspect.Parameter.empty for keyword in keywords)
    bound = inspect.signature(getattr(cls, name).__get__(object()))
    assert list(bound.parameters) == [*own, *keywords]


@methods
def test_help_describes_each_keyword_argument(cls: Any, name: str, own: list[str], keywords: list[str]) -> None:
    text = pydoc.render_doc(getattr(cls, name), renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    described = re.findall(r"^        (\w+): \S", text.partition("Args:")[2].partition("Raises:")[0], re.MULTILINE)
    assert described == [*own, *keywords]
    assert "**" not in text


def test_help_has_the_documentation_of_an_argument_with_all_its_lines() -> None:
    text = inspect.getdoc(yagrpc.AsyncClient.completion_async)
    assert text is not None
    assert "    temperature: From 0 to 1; the service's default is 0.3.\n    max_tokens: " in text
    assert "`parameters` (a JSON schema)\n        and `strict`.\n    tool_choice: " in text
    assert text.startswith("Submit a completion")
    assert "\n\nRaises:\n    RequestError: " in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_signature_says_what_holds_where_nothing_is_given() -> None:
    shown = str(inspect.signature(yagrpc.Client.completion_async))
    assert "temperature: 'Number | None' = None, " in shown
    assert "tool_choice: 'str | None' = None, " in shown
    assert "timeout: 'Seconds | None' = ..., " in shown  # None is for ever
    assert "model: 'str' = ..., " in shown
    assert shown.endswith("data_logging: 'bool' = ...) -> 'Operation[Completion]'")


@pytest.mark.parametrize(
    ("module", "declared"), [(parameters, set(COMPLETION)), (embeddings, {"model", "dim"})], ids=lambda each: ""
)
def test_every_argument_is_documented_where_it_is_declared(module: ModuleType, declared: set[str]) -> None:
    tree = ast.parse(inspect.getsource(module))
    kinds = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    described = {}
    for kind in kinds:
        for line, text in zip(kind.body, kind.body[1:], strict=False):
            if isinstance(line, ast.AnnAssign) and isinstance(text, ast.Expr):
                written = ast.literal_eval(text.value)
                described[ast.unparse(line.target)] = inspect.cleandoc(written).splitlines()
    assert described.keys() == declared
    assert signatures._docs(module.__name__) == described


def test_an_argument_of_a_services_own_is_described_as_its_file_has_it() -> None:
    text = inspect.getdoc(yagrpc.Client.text_embedding)
    assert text is not None
    assert "    dim: Numbers in a vector: of a v2 model 256" in text
    assert "    model: `text-embeddings-v2-doc` (the default) for texts" in text
    assert "    timeout: Seconds, or a `timedelta`, over everything" in text


def test_types_and_calls_are_those_of_the_function_as_written() -> None:
    assert yagrpc.Client.completion.__annotations__["parameters"] == "Unpack[CompletionParameters]"
    assert inspect.iscoroutinefunction(yagrpc.AsyncClient.completion)
    assert not hasattr(yagrpc.Client.completion, "__wrapped__")
    assert yagrpc.Client.completion.__code__.co_name == "completion"


@pytest.mark.parametrize("name", [name for name, _, _ in METHODS])
def test_jedi_shows_and_completes_keyword_arguments(client: yagrpc.Client, name: str) -> None:
    (_, own, keywords) = next(method for method in METHODS if method[0] == name)
    names = [{"client": client}]
    (signature,) = jedi.Interpreter(f"client.{name}(", names).get_signatures()
    assert [parameter.name for parameter in signature.params] == [*own, *keywords]
    for keyword in keywords:
        typed = ", ".join(["None"] * len(own) + [keyword[:-1]])
        completed = jedi.Interpreter(f"client.{name}({typed}", names).complete()
        assert f"{keyword}=" in [each.name_with_symbols for each in completed]
    (shown,) = jedi.Interpreter(f"client.{name}", names).help()
    assert all(f"{keyword}: " in shown.docstring() for keyword in keywords)


def test_without_sources_arguments_are_shown_without_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "_items", lambda kind: [])

    class Methods:
        @signatures.explicit_parameters
        def method(self, **parameters: Unpack[CallParameters]) -> None:
            """Do.

            Args:
                **parameters: See there.
            """

    written = vars(Methods)["method"]._function.__doc__
    assert list(inspect.signature(Methods.method).parameters) == ["self", *CALL]
    assert Methods.method.__doc__ == written


def test_a_method_is_a_plain_function_once_it_was_used() -> None:
    class Methods:
        @signatures.explicit_parameters
        def method(self, **parameters: Unpack[CallParameters]) -> object:
            """Do.

            Args:
                **parameters: See there.
            """
            return parameters.get("timeout")

    class Others(Methods):
        pass

    assert Others().method(timeout=5) == 5
    assert inspect.isfunction(vars(Methods)["method"])
    assert "method" not in vars(Others)
    assert "request_id: " in str(Methods.method.__doc__)


def test_threads_that_use_a_method_first_get_one_documentation() -> None:
    class Methods:
        @signatures.explicit_parameters
        def method(self, **parameters: Unpack[CallParameters]) -> None:
            """Do.

            Args:
                **parameters: See there.
            """

    function = vars(Methods)["method"]._function
    for _ in range(3):
        assert signatures._explicit.__wrapped__(function) is function
        assert list(inspect.signature(function).parameters) == ["self", *CALL]
        assert str(function.__doc__).count("request_id: ") == 1


def test_docstrings_that_are_stripped_are_not_missed() -> None:
    method = "yagrpc.Client.tokenize"
    code = f"import inspect, yagrpc; print(*inspect.signature({method}).parameters, {method}.__doc__)"
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["self", "text", *MODEL, "None"]


@pytest.mark.parametrize(
    ("given", "kind", "reported"),
    [
        ({"temprature": 1}, parameters.CompletionParameters, "'temprature': did you mean 'temperature'?"),
        ({"timeout": 1, "max_token": 1}, parameters.CompletionParameters, "'max_token': did you mean 'max_tokens'?"),
        ({"temperature": 1}, parameters.ModelParameters, "'temperature'"),
        ({"modle": "x"}, parameters.ModelParameters, "'modle': did you mean 'model'?"),
        ({"Timeout": 1}, parameters.CallParameters, "'Timeout': did you mean 'timeout'?"),
        ({"xyz": 1}, parameters.CompletionParameters, "'xyz'"),
    ],
)
def test_an_unknown_argument_names_the_method_and_the_nearest_name(given: Any, kind: Any, reported: str) -> None:
    for check in (parameters.check_parameters, parameters.split_parameters):
        with pytest.raises(TypeError) as caught:
            check("some_method", given, kind)
        assert str(caught.value) == f"some_method() got an unexpected keyword argument {reported}"


@pytest.mark.parametrize("flag", ["resubmit", "data_logging"])
@pytest.mark.parametrize("value", ["no", 0, 1.0])
def test_a_flag_that_is_none_is_refused_by_its_name(flag: str, value: Any) -> None:
    with pytest.raises(yagrpc.RequestError) as caught:
        parameters.check_parameters("call", {flag: value})
    assert str(caught.value) == f"{flag} is {value!r}: it takes True or False"


def test_arguments_are_split_into_those_of_the_request_and_those_of_the_call() -> None:
    given = {"temperature": 0.5, "timeout": 1.0, "model": "m", "resubmit": True}
    shaping, calling = parameters.split_parameters("completion", given, parameters.CompletionParameters)
    assert shaping == {"temperature": 0.5, "model": "m"}
    assert calling == {"timeout": 1.0, "resubmit": True}
    assert parameters.split_parameters("completion", {}, parameters.CompletionParameters) == ({}, {})
