"""`yandexcloud`: its stubs submit, its waiter waits; one thread for each operation, at most 200 at a time."""

from __future__ import annotations

import threading
from concurrent import futures
from pathlib import Path

import yandexcloud  # type: ignore[import-not-found]
from yandex.cloud.ai.foundation_models.v1 import text_common_pb2  # type: ignore[import-not-found]
from yandex.cloud.ai.foundation_models.v1.text_generation import (  # type: ignore[import-not-found]
    text_generation_service_pb2,
    text_generation_service_pb2_grpc,
)

from common import Report, question, task

THREADS = 200


def main() -> None:
    """Run the task."""
    given = task()
    certificates = Path(given["ca"]).read_bytes()
    sdk = yandexcloud.SDK(iam_token="t1.benchmark.x", endpoint=given["tls"], root_certificates=certificates)
    generation = sdk.client(text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub)
    report = Report(given)

    def request(number: int) -> text_generation_service_pb2.CompletionRequest:
        messages = [text_common_pb2.Message(role="user", text=question(number))]
        return text_generation_service_pb2.CompletionRequest(model_uri="gpt://f/yandexgpt", messages=messages)

    operations = [generation.Completion(request(number)) for number in range(given["count"])]
    lock = threading.Lock()

    def wait(number: int) -> None:
        response_type = text_generation_service_pb2.CompletionResponse
        try:
            result = sdk.wait_operation_and_get_result(operations[number], response_type=response_type)
            text = result.response.alternatives[0].message.text
        except Exception:
            with lock:
                report.failed += 1
        else:
            with lock:
                report.answered(number, text)

    report.submitted()
    pool = futures.ThreadPoolExecutor(min(THREADS, given["count"]))
    waits = [pool.submit(wait, number) for number in range(given["count"])]
    threading.Event().wait(0.5)
    report.memory_while_pending()
    futures.wait(waits, timeout=given["patience"])
    pool.shutdown(wait=False, cancel_futures=True)
    report.print()


main()
