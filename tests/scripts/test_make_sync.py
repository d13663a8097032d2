"""`scripts/make_sync.py`: what becomes of asyncio's code, and that the check finds every difference."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def make_sync(script: Callable[[str], Any]) -> Any:
    return script("make_sync")


def converted(make_sync: Any, source: str, **words: str) -> str:
    """The blocking form of some lines, not formatted."""
    text = make_sync.blocking(textwrap.dedent(source).strip("\n") + "\n", make_sync.Words(words))
    assert isinstance(text, str)
    return text.strip("\n")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("async def f(): return await g(1)", "def f(): return g(1)"),
        ("async def f():\n    await  g()", "def f():\n    g()"),
        ("async def f(): return (await g()).done", "def f(): return g().done"),
        ("async def f(): return (await g())[0]", "def f(): return g()[0]"),
        ("async def f(): return ( await g() )(1)", "def f(): return  g() (1)"),
        ("async def f(): return (await (g or h)).done", "def f(): return (g or h).done"),
        ("async def f(): return h(await g())", "def f(): return h(g())"),
        ("async def f(): return not await g()", "def f(): return not g()"),
        ("async def f(): return [x async for x in g]", "def f(): return [x for x in g]"),
        ("async def f():\n    async with g() as x: pass", "def f():\n    with g() as x: pass"),
        ("async def f():\n    async for x in g: pass", "def f():\n    for x in g: pass"),
        ("with contextlib.aclosing(g): pass", "with contextlib.closing(g): pass"),
        ("raise StopAsyncIteration from None", "raise StopIteration from None"),
        ("async def __aenter__(self): pass", "def __enter__(self): pass"),
        ("async def __aexit__(self): pass", "def __exit__(self): pass"),
        ("def __aiter__(self) -> AsyncIterator[T]: pass", "def __iter__(self) -> Iterator[T]: pass"),
        ("async def __anext__(self): pass", "def __next__(self): pass"),
        ("x = anext(aiter(y))", "x = next(iter(y))"),
        ("from yagrpc._aio.client import AsyncClient", "from yagrpc._sync.client import Client"),
        ("import grpc.aio", "import grpc"),
        ("def f(x: grpc.aio.Channel): pass", "def f(x: grpc.Channel): pass"),
        ("def f() -> Coroutine[Any, Any, T]: ...", "def f() -> T: ..."),
        ("def f() -> Awaitable[T]: ...", "def f() -> T: ..."),
        ("def f() -> Coroutine[Any, Any, AsyncStream[T]]: ...", "def f() -> Stream[T]: ..."),
        ("def f(x: Iterable[T] | AsyncIterable[T]): ...", "def f(x: Iterable[T]): ..."),
        ("def f(x: AsyncIterable[T] | Iterable[T]): ...", "def f(x: Iterable[T]): ..."),
        ("x = 'ы', (await f()).x, AsyncClient", "x = 'ы', f().x, Client"),
    ],
)
def test_code_of_asyncio_becomes_blocking(make_sync: Any, source: str, expected: str) -> None:
    assert converted(make_sync, source) == expected


@pytest.mark.parametrize("name", ["completion_async", "AsyncClients", "MyAsyncClient", "an_aio", "x._async"])
def test_names_that_only_look_like_asyncio_stay(make_sync: Any, name: str) -> None:
    assert converted(make_sync, f"x = {name}  # {name}") == f"x = {name}  # {name}"


def test_text_is_changed_by_names_and_by_word_pairs_alone(make_sync: Any) -> None:
    source = '''
    def f():
        """An `AsyncClient`; await it."""  # await
        return f"{x} await {AsyncClient.y!r}", "async", 'AsyncStream'
    '''
    expected = '''
    def f():
        """An `Client`; call it."""  # await
        return f"{x} await {Client.y!r}", "async", 'Stream'
    '''
    assert converted(make_sync, source, **{"; await it": "; call it"}) == textwrap.dedent(expected).strip()


def test_comments_and_layout_stay(make_sync: Any) -> None:
    source = """
    x = 1  # first

    # above
    async def f(
        a,  # a
    ):
        # below
        return await g(a)   # last
    """
    assert converted(make_sync, source) == textwrap.dedent(source).strip().replace("async def", "def").replace(
        "await ", ""
    )


def test_marked_statements_are_left_out_and_marked_lines_put_in(make_sync: Any) -> None:
    source = """
    class C:
        # async only
        @decorated(
            1
        )
        def __await__(self):
            return self.f().__await__()  # which threads do not have

        # async only
        blocking = False
        # sync only: blocking = True
        x = 1
    """
    expected = "class C:\n\n    blocking = True\n    x = 1"
    assert converted(make_sync, source) == expected


def test_a_mark_without_a_statement_is_an_error(make_sync: Any) -> None:
    with pytest.raises(make_sync.SourceError, match="line 2: 'async only' has no statement"):
        converted(make_sync, "x = 1\n# async only\n\ny = 2")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the script needs of a checkout, as it is here."""
    for folder in ("_aio", "_sync"):
        shutil.copytree(
            ROOT / "yagrpc" / folder, tmp_path / "yagrpc" / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/make_sync.py", "pyproject.toml", "yagrpc/__init__.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(tree: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of the script, and what it printed."""
    command = [sys.executable, str(tree / "scripts/make_sync.py"), *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    return done.returncode, done.stdout + done.stderr


def replaced(path: Path, old: str, new: str) -> None:
    """Change a file in one place."""
    text = path.read_text("utf-8")
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new), "utf-8")


def test_the_blocking_client_is_what_the_asyncio_one_gives(tree: Path) -> None:
    pytest.importorskip("ruff")
    before = {path: path.read_bytes() for path in tree.rglob("*.py")}
    assert run(tree, "--check") == (0, "yagrpc/_sync/ matches yagrpc/_aio/\n")
    assert run(tree) == (0, "yagrpc/_sync/ matches yagrpc/_aio/\n")
    assert {path: path.read_bytes() for path in tree.rglob("*.py")} == before


def test_the_check_finds_an_edited_file_and_changes_nothing(tree: Path) -> None:
    pytest.importorskip("ruff")
    client = tree / "yagrpc/_sync/client.py"
    replaced(client, "class Client(Unpicklable, Methods):", "class Client(Unpicklable, Methods, object):")
    edited = client.read_text("utf-8")
    code, printed = run(tree, "--check")
    assert code == 1
    assert "-class Client(Unpicklable, Methods, object):\n+class Client(Unpicklable, Methods):\n" in printed
    assert client.read_text("utf-8") == edited
    assert run(tree)[0] == 0
    assert client.read_text("utf-8") == (ROOT / "yagrpc/_sync/client.py").read_text("utf-8")


def test_the_check_finds_an_edited_source(tree: Path) -> None:
    pytest.importorskip("ruff")
    replaced(tree / "yagrpc/_aio/methods/tokenizer.py", "free of charge.", "at no charge.")
    code, printed = run(tree, "--check")
    assert code == 1
    assert '+        """Split a text into a model\'s tokens; at no charge.' in printed


def test_the_check_finds_a_missing_file(tree: Path) -> None:
    pytest.importorskip("ruff")
    (tree / "yagrpc/_sync/methods/text.py").unlink()
    code, printed = run(tree, "--check")
    assert code == 1
    assert "yagrpc/_sync/methods/text.py is missing\n" in printed
    assert not (tree / "yagrpc/_sync/methods/text.py").exists()
    assert run(tree)[0] == 0
    assert (tree / "yagrpc/_sync/methods/text.py").exists()


def test_the_check_finds_a_generated_file_whose_source_is_gone(tree: Path) -> None:
    pytest.importorskip("ruff")
    stale = tree / "yagrpc/_sync/methods/stale.py"
    shutil.copy(tree / "yagrpc/_sync/methods/text.py", stale)
    code, printed = run(tree, "--check")
    assert code == 1
    assert "yagrpc/_sync/methods/stale.py has no source" in printed
    assert run(tree)[0] == 0
    assert not stale.exists()


def test_the_check_finds_a_file_that_nobody_lists_and_leaves_it(tree: Path) -> None:
    pytest.importorskip("ruff")
    stray = tree / "yagrpc/_sync/stray.py"
    stray.write_text('"""By hand."""\n', "utf-8")
    for arguments in (["--check"], []):
        code, printed = run(tree, *arguments)
        assert code == 1
        assert "yagrpc/_sync/stray.py has no source, and HAND_WRITTEN does not name it\n" in printed
    assert stray.exists()


def test_the_check_finds_a_file_by_hand_that_looks_generated(tree: Path) -> None:
    pytest.importorskip("ruff")
    poller = tree / "yagrpc/_sync/poller.py"
    header = (tree / "yagrpc/_sync/client.py").read_text("utf-8").partition("\n")[0]
    poller.write_text(f"{header}\n{poller.read_text('utf-8')}", "utf-8")
    code, printed = run(tree, "--check")
    assert code == 1
    assert "yagrpc/_sync/poller.py says that it is generated, and HAND_WRITTEN names it\n" in printed


@pytest.mark.parametrize(
    ("file", "old", "new", "printed"),
    [
        ("yagrpc/_aio/client.py", "import sys\n", "import asyncio\nimport sys\n\nLOCK = asyncio.Lock()\n", "'asyncio'"),
        ("yagrpc/_aio/client.py", '"""`AsyncClient`: the', '"""`AsyncClient` in an event loop: the', "'event loop' is"),
        ("yagrpc/_aio/client.py", "import sys\n", "import sys\n\nX = AsyncThing\n", "'Async' is left over in line"),
        ("yagrpc/_aio/client.py", "import sys\n", "import sys\n\n# async only\n\n", "client.py: line 7: 'async only'"),
        ("scripts/make_sync.py", "WORDS: Final = {\n", 'WORDS: Final = {\n    "said nowhere": "",\n', "'said nowhere'"),
        (
            "scripts/make_sync.py",
            '"background.py",\n',
            '"background.py",\n        "gone.py",\n',
            "names gone.py, which is nowhere",
        ),
    ],
)
def test_what_can_not_be_converted_is_an_error(tree: Path, file: str, old: str, new: str, printed: str) -> None:
    pytest.importorskip("ruff")
    replaced(tree / file, old, new)
    for arguments in (["--check"], []):
        code, found = run(tree, *arguments)
        assert code == 1
        assert printed in found
    assert not re.search(r"^Traceback", found, re.MULTILINE)
    assert (tree / "yagrpc/_sync/client.py").read_text("utf-8") == (ROOT / "yagrpc/_sync/client.py").read_text("utf-8")
