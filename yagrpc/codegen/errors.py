"""The one error of the generator: one problem a line.

Rules: what an error shows may come from anybody's tree of protos. So it is printable, and of limited length.
"""

from __future__ import annotations

__all__ = ["GenerateError", "printable"]

_MOST_PROBLEMS = 20
_LONGEST_PROBLEM = 500


class GenerateError(Exception):
    """Generation failed; each line of the message names a file or an rpc, and says what is wrong or what to do.

    Args:
        problems: What is wrong, each in one line. After the first 20, only the number of the others is shown.

    Attributes:
        problems: The lines of the message.
    """

    def __init__(self, *problems: str) -> None:
        lines = [printable(problem) for problem in problems[:_MOST_PROBLEMS]]
        if len(problems) > _MOST_PROBLEMS:
            lines.append(f"and {len(problems) - _MOST_PROBLEMS} more problems")
        self.problems = tuple(lines)
        super().__init__("\n".join(lines))


def printable(text: str) -> str:
    """One line of a text for a terminal: control characters as escapes, cut after 500 characters."""
    shown = text if len(text) <= _LONGEST_PROBLEM else f"{text[:_LONGEST_PROBLEM]}..."
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown)
