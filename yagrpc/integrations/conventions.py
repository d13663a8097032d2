"""The names of spans, attributes and metrics, by OpenTelemetry's semantic conventions, and yagrpc's own.

The conventions for RPC are followed as of version 1.44, those for generative AI as of 1.41, in which their status is
"development". Names that begin with `yagrpc.` are ours: the conventions have none for what they say.
"""

from __future__ import annotations

from typing import Final

RPC_SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"
"""Which version the instruments and spans name."""

# Of every call

RPC_SYSTEM: Final = "rpc.system.name"
GRPC: Final = "grpc"
RPC_METHOD: Final = "rpc.method"
"""`package.Service/Method`; it is the span's name, too, where the call is not one of a model."""
RPC_STATUS: Final = "rpc.response.status_code"
"""The name of the status, such as `OK` or `UNAVAILABLE`."""
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
"""The name of the status, or of the error's class where there is no status."""

# Of calls of a model

OPERATION: Final = "gen_ai.operation.name"
"""What the model does; the span's name is this and the model's name."""
CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
GENERATE: Final = "generate_content"
PROVIDER: Final = "gen_ai.provider.name"
YANDEX: Final = "yandex_cloud"
"""A value of our own: the conventions list none for this provider."""
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"

# Metrics

CALL_DURATION: Final = "rpc.client.call.duration"
GENERATION_DURATION: Final = "gen_ai.client.operation.duration"
TOKEN_USAGE: Final = "gen_ai.client.token.usage"
TOKEN_TYPE: Final = "gen_ai.token.type"
INPUT: Final = "input"
OUTPUT: Final = "output"

CALL_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds, as the conventions for RPC have them."""
GENERATION_BUCKETS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Seconds, as the conventions for generative AI have them."""
TOKEN_BUCKETS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)

# Ours

WAIT: Final = "wait for operations"
"""The span of a wait."""

ROW: Final = "bulk row"
"""The span of a row of a bulk run."""
ROW_NUMBER: Final = "yagrpc.row.number"
"""Its place in the input, from 0."""
ROW_ID: Final = "yagrpc.row.id"
"""The id that its user gave."""
ROW_OUTCOME: Final = "yagrpc.row.outcome"
"""How it ended, as `yagrpc.RowOutcome` has it; a row that a later run takes up again has none."""

REQUEST_ID: Final = "yagrpc.client_request_id"
ATTEMPTS: Final = "yagrpc.attempts"
DEFERRED: Final = "yagrpc.deferred"
"""Whether the call only submits: the model works later, and its tokens are known at the end of the operation."""
OPERATION_ID: Final = "yagrpc.operation.id"
OPERATION_IDS: Final = "yagrpc.operation.ids"
"""Of a wait: the first of them, `MOST_IDS` at most."""
OPERATION_COUNT: Final = "yagrpc.operation.count"
OPERATION_SECONDS: Final = "yagrpc.operation.seconds"
"""From the creation of an operation to its end."""
CLIENT: Final = "yagrpc.client"
"""Which client of the process it is, counted from 1."""
QUOTA: Final = "yagrpc.quota"
"""A quota, as `yagrpc.Quota` names it."""
CAUSE: Final = "yagrpc.cause"
"""Why an attempt failed: `quota`, `refused`, `no_connection`, ..."""
NUMBER: Final = "yagrpc.attempt.number"
SECONDS: Final = "yagrpc.seconds"
FOLLOWS: Final = "yagrpc.attempt.follows"
"""What follows a failed attempt: `retry`, `requeue`, `renew`, `fail` or `ambiguous`."""
LATE: Final = "yagrpc.attempt.late"
"""Whether the caller had left before the attempt ended."""

ATTEMPT_EVENT: Final = "attempt"
QUOTA_EVENT: Final = "quota wait"
ENDED_EVENT: Final = "operation ended"

REFUSALS: Final = "yagrpc.client.refusals"
QUOTA_WAIT: Final = "yagrpc.client.quota.wait"
QUOTA_LEFT: Final = "yagrpc.client.quota.left"
PENDING: Final = "yagrpc.client.operations.pending"
POLL_DELAY: Final = "yagrpc.client.poll.delay"

MOST_IDS: Final = 50
