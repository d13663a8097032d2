"""The texts that both `generate_deferred` programs send, and how they show the answers."""

from __future__ import annotations

import argparse
import textwrap
from typing import Final

import yagrpc

__all__ = ["INSTRUCTION", "PARAGRAPH", "SENTENCE", "parse_options", "show_accepted", "show_delivered", "show_sent"]

INSTRUCTION: Final = "Ты корректор. Найди в тексте пользователя все ошибки и верни текст исправленным, без пояснений."
"""You are a proofreader. Find all errors in the user's text and return it corrected, without explanations."""

PARAGRAPH: Final = (
    "Вчира вечиром мы хадили гулять в старый парк. Пагода стаяла тёплая, и на скомейках седели люди с книгами. "
    "Мой брат принёс хлеп и кармил уток, а я сматрела, как сонце садица за рику. Дамой мы вирнулись поздно, уставшые "
    "и щасливые."
)
"""Yesterday evening we went for a walk in the old park ...: an error in about every second word."""

SENTENCE: Final = "Завтро утром пойезд атправляеца в семь часоф, не апаздывайте на вагзал."
"""Tomorrow morning the train leaves at seven, do not be late at the station."""


def parse_options(description: str) -> argparse.Namespace:
    """The options of both programs: `duration` and `timeout`, in seconds."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--duration", type=float, default=3.0, help="seconds that an emulated answer takes (default 3)")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds to wait for an answer (default 600)")
    return parser.parse_args()


def show_sent(title: str, text: str) -> None:
    """Print a text before it is sent."""
    print(f"\n{title}")
    _show("sent", text)


def show_accepted(operation_id: str) -> None:
    """Print the operation's id at once: without its id, the answer is lost."""
    _show("operation", operation_id)


def show_delivered(completion: yagrpc.Completion, *, gets: int, seconds: float) -> None:
    """Print the answer, how long it took, and what it cost."""
    usage = completion.usage
    _show("Gets", str(gets))
    _show("waited", f"{seconds:.1f} s")
    _show("delivered", completion.text)
    _show("tokens", f"{usage.input_text_tokens} in + {usage.completion_tokens} out = {usage.total_tokens}")
    _show("model", completion.model_version)


def _show(name: str, text: str) -> None:
    margin = " " * 13
    lines = [textwrap.fill(line, 100, initial_indent=margin, subsequent_indent=margin) for line in text.splitlines()]
    print(f"  {name:<11}" + "\n".join(lines).removeprefix(margin), flush=True)
