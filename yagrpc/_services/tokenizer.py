"""The tokenizer: its requests, and what its answers become."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yagrpc import _pb
from yagrpc._core.call.parameters import CallParameters, ModelParameters, split_parameters

if TYPE_CHECKING:
    from yagrpc._services.defaults import Defaults


def tokenize_request(
    method: str, text: str, parameters: ModelParameters, defaults: Defaults
) -> tuple[_pb.text_generation_service_pb2.TokenizeRequest, CallParameters]:
    """The request to split a text into tokens, and the parameters of its call.

    Args:
        method: The Python method that the user called.
        text: As it was given.
        parameters: As they were given.
        defaults: The client's folder and model.

    Raises:
        TypeError: The method does not take one of the parameters.
        RequestError: The service would refuse an argument.
        ConfigError: The model is a short name and no folder is known.
    """
    from yagrpc.messages import tokenize_request

    shaping, calling = split_parameters(method, parameters, ModelParameters)
    shaping.setdefault("model", defaults.model)
    return tokenize_request(text, folder_id=defaults.folder_id, **shaping), calling
