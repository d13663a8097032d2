"""Puts the official general SDK to use against an emulator with TLS; run in an environment of that SDK's own.

Usage: use_yandexcloud.py ADDRESS CA_FILE. Prints one JSON object, which the test that started this checks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yandexcloud  # type: ignore[import-not-found]
from yandex.cloud.ai.foundation_models.v1 import text_common_pb2  # type: ignore[import-not-found]
from yandex.cloud.ai.foundation_models.v1.image_generation import (  # type: ignore[import-not-found]
    image_generation_pb2,
    image_generation_service_pb2,
    image_generation_service_pb2_grpc,
)
from yandex.cloud.ai.foundation_models.v1.text_generation import (  # type: ignore[import-not-found]
    text_generation_service_pb2,
    text_generation_service_pb2_grpc,
)


def main(address: str, ca_file: str) -> dict[str, object]:
    """Submit, wait, and take the result, as the SDK does; and one synchronous completion."""
    # The OAuth token is exchanged at the emulator, and what comes back is sent with every call.
    sdk = yandexcloud.SDK(endpoint=address, token="y0_emulated", root_certificates=Path(ca_file).read_bytes())
    request = text_generation_service_pb2.CompletionRequest(
        model_uri="gpt://b1gfolder/yandexgpt/latest",
        messages=[text_common_pb2.Message(role="user", text="ping")],
    )
    operation = sdk.client(text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub).Completion(request)
    result = sdk.wait_operation_and_get_result(
        operation, response_type=text_generation_service_pb2.CompletionResponse, timeout=60
    )
    said = {
        "id": operation.id,
        "done_at_once": operation.done,
        "text": result.response.alternatives[0].message.text,
        "created_by": operation.created_by,
    }
    stub = sdk.client(text_generation_service_pb2_grpc.TextGenerationServiceStub)
    said["sync"] = [answer.alternatives[0].message.text for answer in stub.Completion(request)]
    drawing = sdk.client(image_generation_service_pb2_grpc.ImageGenerationAsyncServiceStub).Generate(
        image_generation_service_pb2.ImageGenerationRequest(
            model_uri="art://b1gfolder/yandex-art/latest",
            messages=[image_generation_pb2.Message(text="a platypus")],
        )
    )
    drawn = sdk.wait_operation_and_get_result(
        drawing, response_type=image_generation_service_pb2.ImageGenerationResponse, timeout=60
    )
    said["image"] = drawn.response.image[:3].hex()
    failing = text_generation_service_pb2.CompletionRequest()
    failing.CopyFrom(request)
    failing.messages[0].text = "fail"
    operation = sdk.client(text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub).Completion(failing)
    try:
        sdk.wait_operation_and_get_result(operation, timeout=60)
    except yandexcloud.operations.OperationError as error:
        said["failed"] = str(error)
    return said


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:]), ensure_ascii=False))
