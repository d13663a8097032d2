"""Printing results: answers, operations, and the result that an operation is waited for."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from yagrpc.cli.io.failures import FAILED, TIMED_OUT, report, reporting_ids
from yagrpc.cli.io.output import Waiting, note, print_json, print_text
from yagrpc.cli.io.render import operation_json
from yagrpc.errors import IncompleteCompletionError, OperationError, OperationTimeoutError, YagrpcError

if TYPE_CHECKING:
    from yagrpc import Operation
    from yagrpc.results import Completion

__all__ = ["check_answer", "print_answer", "print_operation", "wait_and_print", "wait_and_print_each"]


def wait_and_print(operation: Operation[Any], timeout: float | None, *, as_json: bool) -> None:
    """Wait for an operation of a text completion, and print its text or, as JSON, the whole operation.

    As JSON, the operation is also printed if it failed, before the error is raised; a result that is not a completion
    is then no error.

    Args:
        operation: The operation.
        timeout: Seconds to wait; 0 polls once, `None` is no limit.
        as_json: Whether to print JSON.

    Raises:
        OperationError: The operation failed or was cancelled, or is not done in time.
        IncompleteCompletionError: The model did not finish the answer, which is printed.
        OSError: stdout can't be written, or is closed.
    """
    _load()
    _print_outcome(operation, timeout, as_json=as_json, one_line=False)


def wait_and_print_each(operations: Collection[Operation[Any]], timeout: float | None, *, as_json: bool) -> int:
    """Wait for several operations, and print each as soon as it is done, headed by its id; as JSON, each on a line.

    An operation that fails is reported on stderr, and the others are waited for all the same.

    Args:
        operations: The operations; there are at least two.
        timeout: Seconds to wait for all of them; 0 polls each once, `None` is no limit.
        as_json: Whether to print JSON.

    Returns:
        The exit code: failed if one has failed, else timed out if one is not done, else 0.

    Raises:
        InterruptedByUser: Ctrl-C was pressed; the message has the ids of what is not printed.
        OutputLostError: stdout can't be written, or is closed; likewise.
    """
    from yagrpc.waiting import as_completed

    _load()
    codes: set[int] = set()
    left = {operation.id: None for operation in operations}
    completions = iter(as_completed(operations, timeout))
    with reporting_ids(left):
        while left:
            try:
                with Waiting(f"waiting for {len(left)} operation{'s' if len(left) > 1 else ''}"):
                    operation = next(completions)
            except OperationTimeoutError as error:
                codes.add(report(error))
                note(f"yagrpc: not done: {' '.join(left)}")
                break
            try:
                if not as_json and operation.proto.HasField("response"):
                    print_text(f"==> {operation.id} <==")
                _print_outcome(operation, None, as_json=as_json, one_line=True)
            except YagrpcError as error:
                codes.add(report(error))
            del left[operation.id]
    return FAILED if codes - {TIMED_OUT} else max(codes, default=0)


def _load() -> None:
    """Load what a wait needs before it starts: an interrupt in the middle of an import leaves warnings behind."""
    from yagrpc import methods

    _ = methods.OperationService.Get.request_type


def _print_outcome(operation: Operation[Any], timeout: float | None, *, as_json: bool, one_line: bool) -> None:
    from yagrpc.results import Completion

    try:
        with Waiting(f"waiting for operation {operation.id}"):
            result = operation.result(timeout)
    except OperationError:
        if as_json and operation.proto.done:
            print_operation(operation, one_line=one_line)
            if operation.proto.HasField("response"):
                return
        raise
    answer = result if isinstance(result, Completion) else Completion(result)
    try:
        if as_json:
            print_operation(operation, one_line=one_line)
            check_answer(answer, as_json=True)
        else:
            print_answer(answer)
    except IncompleteCompletionError as error:
        error.with_context(operation_id=operation.id)
        raise


def print_operation(operation: Operation[Any], *, one_line: bool = False) -> None:
    """Print an operation as JSON.

    Args:
        operation: The operation.
        one_line: Whether the JSON takes one line; otherwise it is indented for people.

    Raises:
        OSError: stdout can't be written, or is closed.
    """
    print_json(operation_json(operation.proto), one_line=one_line)


def print_answer(answer: Completion) -> None:
    """Print the text of an answer, whole or not.

    Raises:
        IncompleteCompletionError: The model did not finish the answer.
        OSError: stdout can't be written, or is closed.
    """
    print_text(answer.text)
    check_answer(answer, as_json=False)


def check_answer(answer: Completion, *, as_json: bool) -> None:
    """Check an answer that was printed; an answer of tool calls is noted on stderr where they were not printed.

    Args:
        answer: The answer.
        as_json: Whether it was printed as JSON.

    Raises:
        IncompleteCompletionError: The model did not finish the answer: it is no success, and has its exit code.
    """
    from yagrpc.results import CompletionStatus, check_finished

    if answer.status == CompletionStatus.TOOL_CALLS and not as_json:
        note("yagrpc: note: the answer is tool calls, not text; --json prints them")
    check_finished(answer)
