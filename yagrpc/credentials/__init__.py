"""Credentials: what goes into the `authorization` of a call, and where it comes from.

    ApiKey, IamToken, NoCredentials          sent as they are given
    ServiceAccountKey, OAuthToken            exchanged for an IAM token, which is renewed
    MetadataService, YcCli                   an IAM token from the machine, which is renewed
    Credentials, FetchedCredentials          bases for one of your own

Rules: see `yagrpc.credentials.base`. When a token is renewed is decided in `yagrpc._core.auth.tokens`.
"""

from __future__ import annotations

from yagrpc.credentials.base import AccessToken as AccessToken
from yagrpc.credentials.base import Credentials as Credentials
from yagrpc.credentials.base import ExchangedCredentials as ExchangedCredentials
from yagrpc.credentials.base import FetchedCredentials as FetchedCredentials
from yagrpc.credentials.base import ObtainedCredentials as ObtainedCredentials
from yagrpc.credentials.choice import Automatic as Automatic
from yagrpc.credentials.choice import check_credentials as check_credentials
from yagrpc.credentials.choice import resolve_credentials as resolve_credentials
from yagrpc.credentials.exchanged import OAuthToken as OAuthToken
from yagrpc.credentials.exchanged import ServiceAccountKey as ServiceAccountKey
from yagrpc.credentials.given import ApiKey as ApiKey
from yagrpc.credentials.given import IamToken as IamToken
from yagrpc.credentials.given import NoCredentials as NoCredentials
from yagrpc.credentials.metadata import MetadataService as MetadataService
from yagrpc.credentials.yc import YcCli as YcCli

__all__ = [
    "AccessToken", "ApiKey", "Credentials", "FetchedCredentials", "IamToken", "MetadataService", "NoCredentials",
    "OAuthToken", "ServiceAccountKey", "YcCli",
]  # fmt: skip
