"""Where the services of the public cloud are served: one table, by the beginning of a service's full name.

Rules: data only, which is loaded where a service is asked for that not every client knows. Endpoint discovery names
ids, not services; its ids do not follow from the names, and it lacks some. So the table is what the client uses for the
public cloud. In another installation it gives the id that discovery there lists the service under.

Sources: the hosts are those of the official Node SDK's map of services, the ids those that discovery listed in December
2025; what only one of the official SDKs knows is from that one. A test compares all 347 services of that map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from yagrpc import config


class Served(NamedTuple):
    """Where a service is served.

    Args:
        address: In the public cloud: `host:port`.
        id: The id that endpoint discovery lists it under; empty where it lists none.
    """

    address: str
    id: str = ""


_API: Final = ".api.cloud.yandex.net:443"

_CLOUD: Final[Mapping[str, tuple[str, str]]] = {
    "ai.assistants": ("assistant", "ai-assistants"),
    "ai.assistants.v1.searchindex": ("llm", ""),
    "ai.assistants.v1.users": ("llm", ""),
    "ai.batch_inference": ("llm", "ai-foundation-models"),
    "ai.dataset": ("llm", "ai-foundation-models"),
    "ai.files": ("llm", "ai-foundation-models"),
    "ai.foundation_models": ("llm", "ai-foundation-models"),
    "ai.llm": ("llm", "ai-llm"),
    "ai.ocr": ("ocr", "ai-vision-ocr"),
    "ai.stt": ("transcribe", "ai-stt"),
    "ai.stt.v3": ("stt", "ai-stt-v3"),
    "ai.translate": ("translate", "ai-translate"),
    "ai.tts": ("tts", "ai-tts"),
    "ai.tuning": ("llm", "ai-foundation-models"),
    "ai.vision": ("vision", "ai-vision"),
    "airflow": ("airflow", "managed-airflow"),
    "apploadbalancer": ("alb", "alb"),
    "audittrails": ("audittrails", "audittrails"),
    "backup": ("backup", "backup"),
    "baremetal": ("baremetal", "baremetal"),
    "billing": ("billing", "billing"),
    "cdn": ("cdn", "cdn"),
    "certificatemanager": ("certificate-manager", "certificate-manager"),
    "certificatemanager.v1.CertificateContentService": ("data.certificate-manager", "certificate-manager-data"),
    "certificatemanager.v1.privateca": ("private-ca.certificate-manager", "certificate-manager-private-ca"),
    "certificatemanager.v1.privateca.PrivateCaCertificateContentService": (
        "data.private-ca.certificate-manager",
        "certificate-manager-private-ca-data",
    ),
    "certificatemanager.v1.privateca.PrivateCaContentService": (
        "data.private-ca.certificate-manager",
        "certificate-manager-private-ca-data",
    ),
    "cic": ("cic", "cic"),
    "cloudapps": ("cloudapps", "cloudapps"),
    "clouddesktop": ("clouddesktops", "clouddesktops"),
    "cloudregistry": ("registry", "cloud-registry"),
    "cloudrouter": ("cloudrouter", "cloudrouter"),
    "compute": ("compute", "compute"),
    "connectionmanager": ("connectionmanager", "connection-manager"),
    "containerregistry": ("container-registry", "container-registry"),
    "datacatalog": ("datacatalog", "datacatalog"),
    "dataproc": ("dataproc", "dataproc"),
    "dataproc.manager": ("dataproc-manager", "dataproc-manager"),
    "datasphere": ("datasphere", "datasphere"),
    "datatransfer": ("datatransfer", "datatransfer"),
    "dns": ("dns", "dns"),
    "gitlab": ("gitlab", "gitlab"),
    "iam": ("iam", "iam"),
    "iot.broker": ("iot-broker", "iot-broker"),
    "iot.broker.v1.BrokerDataService": ("iot-data", "iot-data"),
    "iot.devices": ("iot-devices", "iot-devices"),
    "iot.devices.v1.DeviceDataService": ("iot-data", "iot-data"),
    "iot.devices.v1.RegistryDataService": ("iot-data", "iot-data"),
    "k8s": ("mks", "managed-kubernetes"),
    "kms": ("kms", "kms"),
    "loadbalancer": ("load-balancer", "load-balancer"),
    "loadtesting": ("loadtesting", "loadtesting"),
    "locator": ("locator", "locator"),
    "lockbox": ("lockbox", "lockbox"),
    "lockbox.v1.PayloadService": ("payload.lockbox", "lockbox-payload"),
    "logging": ("logging", "logging"),
    "marketplace": ("marketplace", "marketplace"),
    "mdb": ("mdb", ""),
    "mdb.clickhouse": ("mdb", "managed-clickhouse"),
    "mdb.elasticsearch": ("mdb", "managed-elasticsearch"),
    "mdb.greenplum": ("mdb", "managed-greenplum"),
    "mdb.kafka": ("mdb", "managed-kafka"),
    "mdb.mongodb": ("mdb", "managed-mongodb"),
    "mdb.mysql": ("mdb", "managed-mysql"),
    "mdb.opensearch": ("mdb", "managed-opensearch"),
    "mdb.postgresql": ("mdb", "managed-postgresql"),
    "mdb.redis": ("mdb", "managed-redis"),
    "mdb.spqr": ("mdb", "managed-spqr"),
    "mdb.sqlserver": ("mdb", "managed-sqlserver"),
    "metastore": ("metastore", "managed-metastore"),
    "monitoring": ("monitoring", "monitoring"),
    "operation": ("operation", "operation"),
    "organizationmanager": ("organization-manager", "organization-manager"),
    "quotamanager": ("quota-manager", "quota-manager"),
    "resourcemanager": ("resource-manager", "resource-manager"),
    "searchapi": ("searchapi", "searchapi"),
    "serverless.apigateway": ("serverless-apigateway", "serverless-apigateway"),
    "serverless.apigateway.websocket": ("apigateway-connections", "apigateway-connections"),
    "serverless.containers": ("serverless-containers", "serverless-containers"),
    "serverless.eventrouter": ("serverless-eventrouter", "serverless-eventrouter"),
    "serverless.functions": ("serverless-functions", "serverless-functions"),
    "serverless.mcpgateway": ("serverless-mcp-gateway", "serverless-mcp-gateway"),
    "serverless.mdbproxy": ("mdbproxy", "mdbproxy"),
    "serverless.triggers": ("serverless-triggers", "serverless-triggers"),
    "serverless.workflows": ("serverless-workflows", "serverless-workflows"),
    "smartcaptcha": ("smartcaptcha", "smart-captcha"),
    "smartwebsecurity": ("smartwebsecurity", "smart-web-security"),
    "spark": ("spark", "managed-spark"),
    "storage": ("storage", "storage-api"),
    "trino": ("trino", "managed-trino"),
    "video": ("video", "video"),
    "vpc": ("vpc", "vpc"),
    "ydb": ("ydb", "ydb"),
    "ytsaurus": ("ytsaurus", "managed-ytsaurus"),
}
"""What a service's name begins with after `yandex.cloud.`; what its host begins with, before `_API`; its id."""

SERVICES: Final[Mapping[str, Served]] = {
    **{f"yandex.cloud.{name}": Served(f"{host}{_API}", id_) for name, (host, id_) in _CLOUD.items()},
    "speechkit.stt": Served(f"stt{_API}", "ai-stt-v3"),
    "speechkit.tts": Served(f"tts{_API}", "ai-tts"),
    "yandex.cloud.devtools": Served("yc-tools-version-control.cloud.yandex.net:443", "ycvc"),
    "yandex.cloud.endpoint": Served(config.DISCOVERY_ENDPOINT, "endpoint"),
    **dict.fromkeys(
        (
            "yandex.cloud.kms.v1.SymmetricCryptoService",
            "yandex.cloud.kms.v1.asymmetricencryption.AsymmetricEncryptionCryptoService",
            "yandex.cloud.kms.v1.asymmetricsignature.AsymmetricSignatureCryptoService",
        ),
        Served("kms.yandex:443", "kms-crypto"),
    ),
    "yandex.cloud.logging.v1.LogIngestionService": Served("ingester.logging.yandexcloud.net:443", "log-ingestion"),
    "yandex.cloud.logging.v1.LogReadingService": Served("reader.logging.yandexcloud.net:443", "log-reading"),
    "yandex.cloud.speechsense": Served("api.speechsense.yandexcloud.net:443", "speechsense"),
}
"""The table: the beginning of a service's full name, and where it is served."""
