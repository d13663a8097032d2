"""What holds a secret without showing it, and what is shown of a value that may be one.

A secret is shown by reprs: in an error, in a log, and among the variables of each frame that a crash reporter prints.
And whatever writes an object with its attributes (`json` with `default=vars`, a crash reporter) shows what is in them.
So the first function that gets a secret puts it into one of these classes, in its first line, and `reveal` is called
where the secret is used.

Rules: standard library only; nothing here raises, for any value. Whatever an error, a log or a repr shows of a setting
or an argument goes through `shown`: also a value that is expected to be no secret, since it may be given by mistake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, NoReturn, TypeAlias, TypeVar

SelfT = TypeVar("SelfT", bound="Secret")
ValueT = TypeVar("ValueT")

API_KEY: Final = r"AQVN"
IAM_TOKEN: Final = r"t\d\."
OAUTH_TOKEN: Final = r"y[0-3]_[-\w]"
"""How secrets begin (documented)."""

_SHOWN: Final = 80
"""Characters of a value that are shown at most."""

_SHOWN_PATH: Final = 1000
"""Characters of a path that are shown at most: its end says most."""

_SEARCHED: Final = 2000
"""Characters of a value in which a secret is searched: more than are shown."""

_OPAQUE: Final = 40
"""Characters of a random text: keys and tokens are this long, words and ids are shorter."""

_ESCAPE: Final = r"(?<=\\[abfnrtv'\"])|(?<=\\[0-7]{3})|(?<=\\x[0-9a-f]{2})|(?<=\\u[0-9a-f]{4})"
"""The end of an escape in a repr, such as `\\n`: a word begins there, although a letter stands before it."""
_NAME_OF_FILE: Final = r"(?:jsonl|ndjson|json|csv|tsv|parquet|txt|html|py|log|yaml)(?![-\w=])"
_SECRET_LIKE: Final = rf"(AQVN|(\b|{_ESCAPE})(t\d\.(?!{_NAME_OF_FILE})|y[0-3]_|eyJ))[-\w.=]+"
_PEM: Final = r"(?s)-----BEGIN.*"
_USER: Final = r"[^\s/@'\"]+:[^\s/@'\"]+@"
_RANDOM: Final = rf"[A-Za-z0-9+_=-]{{{_OPAQUE},}}"
_NAMED: Final = (
    r"""(?i)["'][\w-]*(private_?key|secret|passw|token(?!s)|api_?key|authorization|credential)[\w-]*\\?["']\s*:"""
)
"""The name of a secret in JSON, or in the repr of a dict."""


class Secret:
    """Something that holds a secret: not shown by a repr, not pickled, and copied as itself."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"{name} can't be pickled, it may hold a secret: create it in the process that uses it")

    def __copy__(self: SelfT) -> SelfT:
        return self

    def __deepcopy__(self: SelfT, memo: Any) -> SelfT:
        return self


class Held(Secret, Generic[ValueT]):
    """A value that only `reveal` gives: it is in no attribute, so that no dump of an object's variables has it.

    Args:
        value: The value.
    """

    __slots__ = ("reveal",)

    def __init__(self, value: ValueT) -> None:
        self.reveal: Callable[[], ValueT] = lambda: value
        """Gives the value itself: to be used at once, and kept nowhere."""

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __eq__(self, other: object) -> bool:
        return self.reveal() == other.reveal() if isinstance(other, Held) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.reveal())


class RevealedText(str):
    """A text on its way out of a `SecretText`: sent as any other, and not shown by a repr.

    The frames of other libraries have it among their variables.
    """

    def __repr__(self) -> str:
        return "'***'"

    def __getitem__(self, index: Any) -> RevealedText:
        # Tools that cut long texts show the repr of a slice.
        return RevealedText(super().__getitem__(index))


class SecretText(Held[str]):
    """A text that is not shown, and no `str`: what writes texts, such as `json`, does not write it.

    Args:
        value: The text.
    """

    def __init__(self, value: str) -> None:
        super().__init__(RevealedText(str.__str__(value)))


class SecretBytes(Held[bytes]):
    """Bytes that are not shown, and no `bytes`.

    Args:
        value: The bytes.
    """


class SecretMapping(Held[Mapping[str, Any]]):
    """A view of a mapping, such as the environment, that is not shown; what changes in the mapping is seen here.

    It is no `Mapping`: crash reporters show what one has.

    Args:
        content: The mapping.
    """

    def __init__(self, content: Mapping[Any, Any]) -> None:
        super().__init__(content)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the default."""
        return self.reveal().get(key, default)

    def __getitem__(self, key: str) -> Any:
        return self.reveal()[key]

    def __contains__(self, key: object) -> bool:
        return key in self.reveal()

    __hash__ = None  # type: ignore[assignment]  # what it shows may change


Environment: TypeAlias = "Mapping[str, str] | SecretMapping"
"""The environment variables: a test gives a dict."""


class Unusable:
    """Stands for a value that was given as a secret and can't be one; only its type is kept.

    Args:
        kind: The name of the type.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def hidden(value: object) -> Any:
    """What was given as a secret, as something that does not show it.

    Returns:
        A text as a `SecretText`, bytes as `SecretBytes`, a mapping as a `SecretMapping`, and anything else that may
        show itself as an `Unusable`; `None` and what is a `Secret` are returned as they are.
    """
    if value is None or isinstance(value, (Secret, Unusable)):
        return value
    if isinstance(value, str):
        return SecretText(value)
    if isinstance(value, bytes):
        return SecretBytes(value)
    if isinstance(value, Mapping):
        return SecretMapping(value)
    return Unusable(type(value).__name__)


def kind_of(value: object) -> str:
    """The name of the type of a value, as it was given to `hidden`."""
    if isinstance(value, Unusable):
        return value.kind
    if isinstance(value, SecretText):
        return "str"
    return type(value.reveal() if isinstance(value, Held) else value).__name__


def hidden_metadata(given: object) -> Any:
    """Metadata that a caller gave, as pairs whose values are hidden; what is no pair is hidden whole."""
    if given is None or isinstance(given, (str, bytes, Unusable)):
        return hidden(given)
    try:
        pairs: Iterable[Any] = given.items() if isinstance(given, Mapping) else iter(given)  # type: ignore[call-overload]
        return tuple(_hidden_pair(pair) for pair in pairs)
    except Exception:  # an iterable is anybody's code
        return hidden(object())


def revealed(metadata: Iterable[tuple[str, Any]]) -> tuple[tuple[str, str | bytes], ...]:
    """Metadata as gRPC takes them: the last step before they are sent."""
    return tuple([(pair[0], pair[1].reveal()) if isinstance(pair[1], Held) else pair for pair in metadata])


def has_form_of_secret(text: str) -> bool:
    """Whether a text begins as an API key, a token or a private key does."""
    return re.match(_SECRET_LIKE, text) is not None or re.match(_PEM, text) is not None


def without_secrets(text: str) -> str:
    """A text from outside, on one line, with everything that has the form of a secret replaced."""
    return " ".join(re.sub(_SECRET_LIKE, "***", re.sub(_PEM, "***", text)).split())


def shown_path(path: object) -> str:
    """The path of a file, as `shown`; a long one is not cut."""
    return shown(path, _SHOWN_PATH)


def shown(value: object, limit: int = _SHOWN) -> str:
    """A value as errors, logs and reprs show it: its repr in one line, cut, without what may be a secret.

    Args:
        value: The value.
        limit: Characters that are shown at most.
    """
    try:
        text = repr(value)
    except Exception:  # a repr is foreign code; even an int has none where its digits are too many
        return f"a {type(value).__name__} that can't be shown"
    return _shown(text, type(value).__name__, limit)


def shown_name(name: str) -> str:
    """The name of a file as `shown_path`, without quotes."""
    return _shown(name, "name", _SHOWN_PATH)


def _shown(text: str, kind: str, limit: int) -> str:
    text = " ".join(text.splitlines())
    if re.search(_NAMED, text):
        return f"a {kind} that may hold a secret, and is not shown"
    text = re.sub(
        _RANDOM, _masked, re.sub(_USER, "***@", re.sub(_PEM, "***", re.sub(_SECRET_LIKE, "***", text[:_SEARCHED])))
    )
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _masked(found: re.Match[str]) -> str:
    """A long run of letters and digits, hidden where it is mixed as random texts are."""
    run = found[0]
    random = any(map(str.isupper, run)) and any(map(str.islower, run)) and any(map(str.isdigit, run))
    return "***" if random else run


def _hidden_pair(pair: Any) -> Any:
    if isinstance(pair, Unusable):
        return pair
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        return pair[0], hidden(pair[1])
    return Unusable(type(pair).__name__)
