"""Writes the blocking client's public classes, `yagrpc/_sync/`, from the asyncio ones in `yagrpc/_aio/`.

    python scripts/make_sync.py            writes them
    python scripts/make_sync.py --check    writes nothing; prints a diff, and ends with 1, where they differ

Every file of `_aio` is a source but for those of `HAND_WRITTEN`, which touch gRPC, asyncio or threads themselves. Where
the two clients differ, the difference is best put behind a name that both `primitives.py` have. Where it can't be, a
comment on a line of its own marks it in the source:

    # async only               the statement below is left out
    # sync only: <line>        the line stands there in place of the comment

Rules: code is changed where the tokens and the syntax tree say, never by a search for text, and keeps its comments; the
text of strings and comments is changed by `NAMES`, and by the word pairs of `WORDS`. A pair that is used nowhere is an
error, and so is a word of asyncio that is left over. Needs ruff, which sorts imports, drops unused ones and formats.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import re
import subprocess
import sys
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]

HAND_WRITTEN: Final = frozenset(
    {
        "__init__.py",
        "background.py",
        "channels.py",
        "poller.py",
        "primitives.py",
        "submits.py",
        "transport.py",
    }
)
"""Files of either folder that are written by hand: neither a source nor generated."""

NAMES: Final = {
    "_aio": "_sync",
    "AsyncClient": "Client",
    "AsyncOperation": "Operation",
    "AsyncPoller": "Poller",
    "AsyncRequestStream": "RequestStream",
    "AsyncStream": "Stream",
    "AsyncTransport": "Transport",
    "AsyncIterator": "Iterator",
    "StopAsyncIteration": "StopIteration",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclosing": "closing",
    "aiter": "iter",
    "anext": "next",
}
"""Identifiers, in code and where text mentions them."""

WORDS: Final = {
    # client.py
    "`AsyncClient`: the asyncio client.": "`Client`: the blocking client, for threads.",
    "an `AsyncStream`, which is not awaited": "a `Stream`",
    "for asyncio; one event loop, any number of its tasks.": "that blocks; safe to share between threads.",
    "`grpc.aio` client interceptors for every channel that the client opens.": "gRPC client interceptors for every"
    " channel.",
    "; await what it gives, or iterate it.": ".",
    "streams them, which may be asynchronous.": "streams them.",
    "nothing can be awaited here, so the channels stay open.": "the channels would stay open as long as the process.",
    # operation.py
    "for the asyncio client.": "for the blocking client.",
    "; `await operation` waits for its result.": ".",
    "shows what was last seen.": "shows what was last seen. It is safe to use from several threads.",
    "ClientClosedError: The client was closed meanwhile.": "ClientClosedError: The client was closed meanwhile.\n"
    "            KeyboardInterrupt: Ctrl-C; its text has the operation's id.",
    "in the event loop, at once where the end is known; `await operation.result(0)` then gives the\n"
    "        outcome without waiting. It runs": "at once where the end is known, and else in a thread of the client's,"
    " after the callbacks before\n"
    "        it; it may wait for other operations. `result(0)` gives the outcome without waiting. It runs",
    'it has no task; cancelling it does not affect the operation."""': "it has no thread; cancelling it does not"
    " affect the operation.\n\n"
    "        A callback of the future's is called by the thread that answers come through: it can't wait for an"
    ' operation.\n        """',
    # stream.py
    "Streamed answers of the asyncio client.": "Streamed answers of the blocking client.",
    ", and so it is where a task\n    that waited for a message was cancelled": "",
    "by another task": "by another thread",
    "leaving the `async with` block": "leaving the `with` block",
    # methods/
    "in an `async with` block": "in a `with` block",
    "The poller of this process, and of the event loop that runs.": "The poller of this process.",
}
"""What strings and comments say of asyncio, and what of threads; the first that fits is taken first."""

LINE_LENGTH: Final = 120
"""Characters; as the checkout's settings have it."""

HEADER: Final = "# Generated from _aio/{source} by scripts/make_sync.py; do not edit.\n"
LOOKS_GENERATED: Final = re.compile(r"# Generated from \S+ by scripts/make_sync\.py")

_NAME: Final = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, NAMES))})(?!\w)")
_LEFT_OVER: Final = re.compile(r"\b(?:async|await(?:ed)?|a?sync only|_?aio|asyncio|[Cc]oroutine|event loop)\b|\bAsync")


class SourceError(Exception):
    """A source can't be converted; the text says which, and what to do."""


class Edit(NamedTuple):
    """A part of the source, by its offsets, and what comes in its place."""

    start: int
    end: int
    text: str = ""


class Words:
    """Changes the text of strings and comments.

    Args:
        pairs: What is said of asyncio, and what of threads.
    """

    def __init__(self, pairs: dict[str, str] = WORDS) -> None:
        self._pairs = pairs
        self.unused = dict.fromkeys(pairs)
        """The pairs that no text had."""

    def changed(self, text: str) -> str:
        """The text, with words and names of the blocking client."""
        for old, new in self._pairs.items():
            if old in text:
                self.unused.pop(old, None)
                text = text.replace(old, new)
        return _NAME.sub(lambda name: NAMES[name[0]], text)


class Source:
    """One file's text, and the edits that make it blocking.

    Args:
        text: The file's text.
        words: For strings and comments.
    """

    def __init__(self, text: str, words: Words) -> None:
        self._text = text
        self._words = words
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))
        self._tree = ast.parse(text)

    def blocking(self) -> str:
        """The text of the blocking form, not formatted yet.

        Raises:
            SourceError: A mark has no statement.
        """
        edits = sorted([*self._of_tokens(), *self._of_tree()], key=lambda edit: (edit.start, -edit.end))
        parts, at = [], 0
        for edit in edits:
            if edit.start < at:  # within what is left out
                continue
            parts += [self._text[at : edit.start], edit.text]
            at = edit.end
        return "".join([*parts, self._text[at:]])

    def _of_tokens(self) -> Iterator[Edit]:
        """Keywords, names, strings, comments and marks."""
        tokens = _whole_strings(tokenize.generate_tokens(io.StringIO(self._text).readline))
        before: list[str] = ["", ""]
        for kind, text, start, end in tokens:
            place = self._offset(*start), self._offset(*end)
            if kind == tokenize.NAME:
                if text in ("async", "await"):
                    yield Edit(place[0], place[1] + len(re.match(" *", self._text[place[1] :])[0]))  # type: ignore[index]
                elif text in NAMES:
                    yield Edit(*place, NAMES[text])
                elif text == "aio" and before == ["grpc", "."]:
                    yield Edit(place[0] - 1, place[1])
            elif kind == tokenize.COMMENT and text.startswith("# async only"):
                yield self._without(start[0])
            elif kind == tokenize.COMMENT and text.startswith("# sync only: "):
                yield Edit(*place, text.removeprefix("# sync only: "))
            elif kind in (tokenize.COMMENT, tokenize.STRING):
                yield Edit(*place, self._words.changed(self._text[slice(*place)]))
            before = [before[1], text]

    def _of_tree(self) -> Iterator[Edit]:
        """Types of what is awaited, and parentheses that only `await` needed."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Subscript) and _named(node, "Coroutine", "Awaitable"):
                given = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
                yield Edit(self._start(node), self._start(given))
                yield Edit(self._end(given), self._end(node))
            elif isinstance(node, ast.BinOp) and _named(node.right, "AsyncIterable"):
                yield Edit(self._end(node.left), self._end(node.right))
            elif isinstance(node, ast.BinOp) and _named(node.left, "AsyncIterable"):
                yield Edit(self._start(node.left), self._start(node.right))
            elif isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.value, ast.Await):
                yield from self._parentheses(node.value)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Await):
                yield from self._parentheses(node.func)

    def _parentheses(self, node: ast.expr) -> Iterator[Edit]:
        opening = self._text.rindex("(", 0, self._start(node))
        closing = self._text.index(")", self._end(node))
        yield Edit(opening, opening + 1)
        yield Edit(closing, closing + 1)

    def _without(self, row: int) -> Edit:
        """Leaves out a mark, and the statement below it."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.stmt):
                first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
                if first == row + 1:
                    return Edit(self._starts[row - 1], self._starts[node.end_lineno or first])
        raise SourceError(f"line {row}: 'async only' has no statement right below it")

    def _offset(self, row: int, column: int) -> int:
        return self._starts[row - 1] + column

    def _start(self, node: ast.expr) -> int:
        return self._of_bytes(node.lineno, node.col_offset)

    def _end(self, node: ast.expr) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._of_bytes(node.end_lineno, node.end_col_offset)

    def _of_bytes(self, row: int, column: int) -> int:
        """An offset by a place of the syntax tree, whose columns are bytes."""
        return self._offset(row, len(self._lines[row - 1].encode()[:column].decode()))


def blocking(text: str, words: Words) -> str:
    """The blocking form of a file's text, not formatted yet.

    Args:
        text: The file's text.
        words: For strings and comments.

    Raises:
        SourceError: A mark has no statement.
    """
    return Source(text, words).blocking()


def generated(root: Path, words: Words) -> dict[str, str]:
    """The text of every file that is generated, by its path within the folder.

    Args:
        root: The checkout.
        words: For strings and comments.

    Raises:
        SourceError: A source can't be converted, or the tables name what there is not.
    """
    sources = _files(root / "yagrpc/_aio")
    if missing := HAND_WRITTEN - sources.keys() - _files(root / "yagrpc/_sync").keys():
        raise SourceError(f"HAND_WRITTEN names {', '.join(sorted(missing))}, which is nowhere")
    found = {}
    for name, path in sources.items():
        if name in HAND_WRITTEN:
            continue
        try:
            text = blocking(path.read_text("utf-8"), words)
        except SourceError as error:
            raise SourceError(f"{path}: {error}") from error
        found[name] = _formatted(HEADER.format(source=name) + text, root, f"yagrpc/_sync/{name}")
        if left := _LEFT_OVER.search(found[name].partition("\n")[2]):
            line = found[name][: found[name].index("\n") + 1 + left.start()].count("\n") + 1
            remedy = "add words to WORDS, put it into primitives.py, or mark it"
            raise SourceError(f"{path}: {left[0]!r} is left over in line {line} of the blocking form: {remedy}")
    if words.unused:
        raise SourceError("WORDS has what no source says: " + ", ".join(map(repr, words.unused)))
    return found


def differences(root: Path, expected: dict[str, str]) -> Iterator[str]:
    """What is wrong with the generated files: nothing where all is well.

    Args:
        root: The checkout.
        expected: Their texts, by their paths within the folder.
    """
    present = _files(root / "yagrpc/_sync")
    for name in sorted({*expected, *present}):
        path = f"yagrpc/_sync/{name}"
        text = present[name].read_text("utf-8") if name in present else ""
        if name in expected:
            if name not in present:
                yield f"{path} is missing\n"
            yield from difflib.unified_diff(
                text.splitlines(keepends=True), expected[name].splitlines(keepends=True), path, "generated"
            )
        elif name not in HAND_WRITTEN:
            yield f"{path} has no source, and HAND_WRITTEN does not name it\n"
        elif LOOKS_GENERATED.match(text):
            yield f"{path} says that it is generated, and HAND_WRITTEN names it\n"


def write(root: Path, expected: dict[str, str]) -> None:
    """Write the generated files, and remove those whose source is gone.

    Args:
        root: The checkout.
        expected: Their texts, by their paths within the folder.
    """
    for name, path in _files(root / "yagrpc/_sync").items():
        if name not in expected and name not in HAND_WRITTEN and LOOKS_GENERATED.match(path.read_text("utf-8")):
            path.unlink()
    for name, text in expected.items():
        path = root / "yagrpc/_sync" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def main() -> int:
    """Write, or check; the exit code says whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; print what differs")
    check = parser.parse_args().check
    try:
        expected = generated(ROOT, Words())
    except SourceError as error:
        print(error, file=sys.stderr)
        return 1
    if not check:
        write(ROOT, expected)
    found = list(differences(ROOT, expected))
    sys.stdout.writelines(found)
    print("yagrpc/_sync/ differs from what yagrpc/_aio/ gives" if found else "yagrpc/_sync/ matches yagrpc/_aio/")
    return 1 if found else 0


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.py"))}


def _named(node: ast.expr, *names: str) -> bool:
    """Whether it is one of some generic types, with arguments."""
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in names


def _whole_strings(
    tokens: Iterator[tokenize.TokenInfo],
) -> Iterator[tuple[int, str, tuple[int, int], tuple[int, int]]]:
    """Tokens, with f-strings as one each: Python 3.12 and newer take them apart."""
    depth, first = 0, (0, 0)
    for token in tokens:
        name = tokenize.tok_name[token.type]
        if name == "FSTRING_START":
            first = first if depth else token.start
            depth += 1
        elif name == "FSTRING_END":
            depth -= 1
            if not depth:
                yield tokenize.STRING, "", first, token.end
        elif not depth:
            yield token.type, token.string, token.start, token.end


def _formatted(text: str, root: Path, path: str) -> str:
    """Python with its imports sorted, without unused ones, and formatted as the checkout's settings say."""
    for command in (["check", "--fix", "--quiet", "--select", "F401,I"], ["format", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-I", "-m", "ruff", *command, "--stdin-filename", path, "-"],
            cwd=root,
            input=text,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode:
            raise SourceError(f"ruff {command[0]} refuses {path}: {done.stderr or done.stdout}")
        text = done.stdout
    return rewrapped(text)


def rewrapped(text: str) -> str:
    """Python whose overlong lines, which after formatting are those of docstrings, are wrapped anew by paragraph."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        if len(lines[at]) <= LINE_LENGTH or '"""' in lines[at]:
            at += 1
            continue
        indent = _indent(lines[at])
        first, last = at, at
        while _goes_with(lines[first - 1], indent):
            first -= 1
        while _goes_with(lines[last + 1], indent):
            last += 1
        paragraph = " ".join(line.strip() for line in lines[first : last + 1])
        wrapped = textwrap.wrap(
            paragraph, LINE_LENGTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )
        lines[first : last + 1] = wrapped
        at = first + len(wrapped)
    return "\n".join(lines)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _goes_with(line: str, indent: str) -> bool:
    return bool(line.strip()) and _indent(line) == indent and '"""' not in line


if __name__ == "__main__":
    sys.exit(main())
