"""The one gateway to the generated code: every message, stub and method table is reached as `_pb.<module>`.

Rules: nothing else imports `yagrpc_proto`, and a module is imported when it is first asked for, so that a service
that is not used costs nothing. A short name is the module's own; where two are equal, one of them has a longer name here.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from google.protobuf.message import Message as _Message

    from yagrpc_proto import methods as methods
    from yagrpc_proto._pool import POOL as POOL
    from yagrpc_proto.google.api import annotations_pb2 as annotations_pb2
    from yagrpc_proto.google.protobuf import any_pb2 as any_pb2
    from yagrpc_proto.google.protobuf import descriptor_pb2 as descriptor_pb2
    from yagrpc_proto.google.protobuf import duration_pb2 as duration_pb2
    from yagrpc_proto.google.protobuf import empty_pb2 as empty_pb2
    from yagrpc_proto.google.protobuf import struct_pb2 as struct_pb2
    from yagrpc_proto.google.protobuf import timestamp_pb2 as timestamp_pb2
    from yagrpc_proto.google.protobuf import wrappers_pb2 as wrappers_pb2
    from yagrpc_proto.google.rpc import error_details_pb2 as error_details_pb2
    from yagrpc_proto.google.rpc import status_pb2 as status_pb2
    from yagrpc_proto.yagrpc.emulator.v1 import control_methods as control_methods
    from yagrpc_proto.yagrpc.emulator.v1 import control_pb2 as control_pb2
    from yagrpc_proto.yagrpc.emulator.v1 import control_pb2_grpc as control_pb2_grpc
    from yagrpc_proto.yandex.cloud import validation_pb2 as validation_pb2
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1 import (
        batch_inference_task_status_pb2 as batch_inference_task_status_pb2,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1 import text_common_pb2 as text_common_pb2
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.embedding import (
        embedding_service_methods as embedding_service_methods,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.embedding import (
        embedding_service_pb2 as embedding_service_pb2,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.embedding import (
        embedding_service_pb2_grpc as embedding_service_pb2_grpc,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.image_generation import (
        image_generation_pb2 as image_generation_pb2,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.image_generation import (
        image_generation_service_methods as image_generation_service_methods,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.image_generation import (
        image_generation_service_pb2 as image_generation_service_pb2,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.image_generation import (
        image_generation_service_pb2_grpc as image_generation_service_pb2_grpc,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_classification import (
        text_classification_pb2 as text_classification_pb2,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_classification import (
        text_classification_service_methods as text_classification_service_methods,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_classification import (
        text_classification_service_pb2 as text_classification_service_pb2,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_classification import (
        text_classification_service_pb2_grpc as text_classification_service_pb2_grpc,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_generation import (
        text_generation_service_methods as text_generation_service_methods,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_generation import (
        text_generation_service_pb2 as text_generation_service_pb2,
    )
    from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_generation import (
        text_generation_service_pb2_grpc as text_generation_service_pb2_grpc,
    )
    from yagrpc_proto.yandex.cloud.api import operation_pb2 as _api_operation_pb2
    from yagrpc_proto.yandex.cloud.endpoint import api_endpoint_pb2 as api_endpoint_pb2
    from yagrpc_proto.yandex.cloud.endpoint import (
        api_endpoint_service_methods as api_endpoint_service_methods,
    )
    from yagrpc_proto.yandex.cloud.endpoint import api_endpoint_service_pb2 as api_endpoint_service_pb2
    from yagrpc_proto.yandex.cloud.endpoint import (
        api_endpoint_service_pb2_grpc as api_endpoint_service_pb2_grpc,
    )
    from yagrpc_proto.yandex.cloud.iam.v1 import iam_token_service_methods as iam_token_service_methods
    from yagrpc_proto.yandex.cloud.iam.v1 import iam_token_service_pb2 as iam_token_service_pb2
    from yagrpc_proto.yandex.cloud.iam.v1 import iam_token_service_pb2_grpc as iam_token_service_pb2_grpc
    from yagrpc_proto.yandex.cloud.operation import operation_pb2 as operation_pb2
    from yagrpc_proto.yandex.cloud.operation import operation_service_methods as operation_service_methods
    from yagrpc_proto.yandex.cloud.operation import operation_service_pb2 as operation_service_pb2
    from yagrpc_proto.yandex.cloud.operation import operation_service_pb2_grpc as operation_service_pb2_grpc

    api_operation_pb2 = _api_operation_pb2  # a name of our own is re-exported by an assignment

MODULES: Final = {
    "methods": "methods",
    "annotations_pb2": "google.api.annotations_pb2",
    "any_pb2": "google.protobuf.any_pb2",
    "descriptor_pb2": "google.protobuf.descriptor_pb2",
    "duration_pb2": "google.protobuf.duration_pb2",
    "empty_pb2": "google.protobuf.empty_pb2",
    "struct_pb2": "google.protobuf.struct_pb2",
    "timestamp_pb2": "google.protobuf.timestamp_pb2",
    "wrappers_pb2": "google.protobuf.wrappers_pb2",
    "error_details_pb2": "google.rpc.error_details_pb2",
    "status_pb2": "google.rpc.status_pb2",
    "control_methods": "yagrpc.emulator.v1.control_methods",
    "control_pb2": "yagrpc.emulator.v1.control_pb2",
    "control_pb2_grpc": "yagrpc.emulator.v1.control_pb2_grpc",
    "validation_pb2": "yandex.cloud.validation_pb2",
    "batch_inference_task_status_pb2": "yandex.cloud.ai.foundation_models.v1.batch_inference_task_status_pb2",
    "text_common_pb2": "yandex.cloud.ai.foundation_models.v1.text_common_pb2",
    "embedding_service_methods": "yandex.cloud.ai.foundation_models.v1.embedding.embedding_service_methods",
    "embedding_service_pb2": "yandex.cloud.ai.foundation_models.v1.embedding.embedding_service_pb2",
    "embedding_service_pb2_grpc": "yandex.cloud.ai.foundation_models.v1.embedding.embedding_service_pb2_grpc",
    "image_generation_pb2": "yandex.cloud.ai.foundation_models.v1.image_generation.image_generation_pb2",
    "image_generation_service_methods": "yandex.cloud.ai.foundation_models.v1.image_generation.image_generation_service_methods",
    "image_generation_service_pb2": "yandex.cloud.ai.foundation_models.v1.image_generation.image_generation_service_pb2",
    "image_generation_service_pb2_grpc": "yandex.cloud.ai.foundation_models.v1.image_generation.image_generation_service_pb2_grpc",
    "text_classification_pb2": "yandex.cloud.ai.foundation_models.v1.text_classification.text_classification_pb2",
    "text_classification_service_methods": "yandex.cloud.ai.foundation_models.v1.text_classification.text_classification_service_methods",
    "text_classification_service_pb2": "yandex.cloud.ai.foundation_models.v1.text_classification.text_classification_service_pb2",
    "text_classification_service_pb2_grpc": "yandex.cloud.ai.foundation_models.v1.text_classification.text_classification_service_pb2_grpc",
    "text_generation_service_methods": "yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_methods",
    "text_generation_service_pb2": "yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2",
    "text_generation_service_pb2_grpc": "yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2_grpc",
    "api_operation_pb2": "yandex.cloud.api.operation_pb2",
    "api_endpoint_pb2": "yandex.cloud.endpoint.api_endpoint_pb2",
    "api_endpoint_service_methods": "yandex.cloud.endpoint.api_endpoint_service_methods",
    "api_endpoint_service_pb2": "yandex.cloud.endpoint.api_endpoint_service_pb2",
    "api_endpoint_service_pb2_grpc": "yandex.cloud.endpoint.api_endpoint_service_pb2_grpc",
    "iam_token_service_methods": "yandex.cloud.iam.v1.iam_token_service_methods",
    "iam_token_service_pb2": "yandex.cloud.iam.v1.iam_token_service_pb2",
    "iam_token_service_pb2_grpc": "yandex.cloud.iam.v1.iam_token_service_pb2_grpc",
    "operation_pb2": "yandex.cloud.operation.operation_pb2",
    "operation_service_methods": "yandex.cloud.operation.operation_service_methods",
    "operation_service_pb2": "yandex.cloud.operation.operation_service_pb2",
    "operation_service_pb2_grpc": "yandex.cloud.operation.operation_service_pb2_grpc",
}
"""Modules below `yagrpc_proto`, by the name that they have here."""


def find_message(full_name: str) -> type[_Message] | None:
    """The class of a message of ours by its full name, loaded if it is not yet; `None` where there is none."""
    from google.protobuf import message_factory

    pool = __getattr__("POOL")
    for _ in range(2):
        try:
            return message_factory.GetMessageClass(pool.FindMessageTypeByName(full_name))
        except KeyError:
            load_messages()
    return None


def load_messages() -> None:
    """Put all messages into the pool, so that the type of an `Any` is found by its name."""
    for module in MODULES.values():
        if module.endswith("_pb2"):
            importlib.import_module(f"yagrpc_proto.{module}")


def __getattr__(name: str) -> Any:
    found: ModuleType | object
    if name in MODULES:
        found = importlib.import_module(f"yagrpc_proto.{MODULES[name]}")
    elif name == "POOL":
        found = importlib.import_module("yagrpc_proto._pool").POOL
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found
