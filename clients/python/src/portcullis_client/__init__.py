"""Calls services through a Portcullis gateway.

`Fo`, `Api`, `HttpSignatures` and `Plain` say how calls are signed and answers verified. They know no HTTP client:
`portcullis_client.httpx` and `portcullis_client.requests` put them to work.
"""

from .errors import (
    AnswerTooLargeError,
    ForeignOriginError,
    GatewayError,
    LoginError,
    PortcullisError,
    RedirectError,
    SealError,
    SessionEndedError,
    SigningError,
    UnsupportedError,
    VerificationError,
)
from .fomalhaut import Api, Fo
from .http_signatures import HttpSignatures
from .keys import PrivateKey, PublicKey, Secret
from .message import Answer, Dialect, Exchange, Request
from .oauth import OAuthClient
from .plain import Plain
from .retry import Retry
from .tokens import AsyncTokenSource, FixedToken, MemoryStore, TokenPair, TokenSource, TokenStore

__all__ = [
    "Answer",
    "AnswerTooLargeError",
    "Api",
    "AsyncTokenSource",
    "Dialect",
    "Exchange",
    "FixedToken",
    "Fo",
    "ForeignOriginError",
    "GatewayError",
    "HttpSignatures",
    "LoginError",
    "MemoryStore",
    "OAuthClient",
    "Plain",
    "PortcullisError",
    "PrivateKey",
    "PublicKey",
    "RedirectError",
    "Request",
    "Retry",
    "SealError",
    "Secret",
    "SessionEndedError",
    "SigningError",
    "TokenPair",
    "TokenSource",
    "TokenStore",
    "UnsupportedError",
    "VerificationError",
]
