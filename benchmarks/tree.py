"""Writes a tree of protos as large as that of a whole cloud, for the benchmark of the generator.

250 services, each with a file of resources and two of shared types: packages, imports across packages, nested types,
maps, oneofs, custom options, all kinds of streaming, and long-running methods whose types are written relative and
absolute.
"""

from __future__ import annotations

from pathlib import Path

SERVICES = 250

_COMMON = """syntax = "proto3";
package bench.s{number}.v1;
// Shared types of service {number}.
enum Colour {{ COLOUR_UNSPECIFIED = 0; RED_{number} = 1; }}
message Page {{ int64 size = 1; string token = 2; }}
message Labels {{ map<string, string> values = 1; }}
"""

_TYPES = """syntax = "proto3";
package bench.s{number}.v1;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "bench/s{previous}/v1/common.proto";
import "bench/s{number}/v1/common.proto";
// A part of a resource.
message Part {{
  // Nested, and nested again.
  message Inner {{ message Innermost {{ int64 number = 1; }} repeated Innermost all = 1; }}
  Inner inner = 1;
  google.protobuf.Timestamp created_at = 2;
  google.protobuf.DoubleValue weight = 3;
  bench.s{previous}.v1.Labels labels = 4;
  oneof kind {{ string text = 5; Colour colour = 6; }}
}}
"""

_RESOURCE = """syntax = "proto3";
package bench.s{number}.v1;
import "google/protobuf/struct.proto";
import "bench/s{number}/v1/types.proto";
import "yandex/cloud/validation.proto";
// A thing that is created, changed and deleted.
message Thing {{
  // Its id, which the service creates.
  string id = 1 [(yandex.cloud.required) = true, (yandex.cloud.length) = "<=50"];
  repeated Part parts = 2 [(yandex.cloud.size) = "1-100"];
  google.protobuf.Struct extra = 3;
  map<string, Part> by_name = 4;
}}
"""

_SERVICE = """syntax = "proto3";
package bench.s{number}.v1;
import "google/api/annotations.proto";
import "bench/s{number}/v1/common.proto";
import "bench/s{number}/v1/thing.proto";
import "yandex/cloud/api/operation.proto";
import "yandex/cloud/operation/operation.proto";
import "yandex/cloud/validation.proto";
// Creates, changes and deletes things of kind {number}.
service ThingService{number} {{
  // Returns one.
  rpc Get (GetThingRequest) returns (Thing) {{ option (google.api.http) = {{ get: "/s{number}/v1/things/{{id}}" }}; }}
  // Returns a page of them.
  rpc List (ListThingsRequest) returns (ListThingsResponse) {{
    option (google.api.http) = {{ get: "/s{number}/v1/things" }};
  }}
  // Creates one.
  rpc Create (Thing) returns (yandex.cloud.operation.Operation) {{
    option (google.api.http) = {{ post: "/s{number}/v1/things" body: "*" }};
    option (yandex.cloud.api.operation) = {{ metadata: "ThingMetadata" response: "Thing" }};
  }}
  // Deletes one.
  rpc Delete (GetThingRequest) returns (yandex.cloud.operation.Operation) {{
    option (google.api.http) = {{ delete: "/s{number}/v1/things/{{id}}" }};
    option (yandex.cloud.api.operation) = {{ metadata: "ThingMetadata" response: "google.protobuf.Empty" }};
  }}
  // Changes one.
  rpc Update (Thing) returns (yandex.cloud.operation.Operation) {{
    option (yandex.cloud.api.operation) = {{ metadata: "ThingMetadata.Step" response: ".bench.s{number}.v1.Thing" }};
  }}
  // Reports changes.
  rpc Watch (GetThingRequest) returns (stream Thing);
  // Creates many.
  rpc Upload (stream Thing) returns (ListThingsResponse);
  // Changes many, and reports each.
  rpc Exchange (stream Thing) returns (stream Thing);
}}
message GetThingRequest {{ string id = 1 [(yandex.cloud.required) = true]; }}
message ListThingsRequest {{ Page page = 1; }}
message ListThingsResponse {{ repeated Thing things = 1; string next_page_token = 2; }}
message ThingMetadata {{ message Step {{ int64 number = 1; }} string thing_id = 1; Step step = 2; }}
"""


def write_tree(root: Path, services: int = SERVICES) -> int:
    """Write the tree, of two services at least, below a folder; gives the number of files."""
    texts = {"common": _COMMON, "types": _TYPES, "thing": _RESOURCE, "thing_service": _SERVICE}
    for number in range(services):
        folder = root / f"bench/s{number}/v1"
        folder.mkdir(parents=True)
        for name, text in texts.items():
            (folder / f"{name}.proto").write_text(text.format(number=number, previous=(number - 1) % services), "utf-8")
    return services * len(texts)
