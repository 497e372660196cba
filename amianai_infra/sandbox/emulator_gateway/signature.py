"""Whether a request was signed with a key that is known: AWS Signature Version 4, and presigned S3 URLs of version 4 and 2.

botocore computes the signature of the request as it was received; here it is compared.

Source: AWS Signature Version 4 for API requests; Authenticating Requests: Using Query Parameters (AWS Signature Version 4);
Signing and authenticating REST requests (AWS signature version 2).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, parse_qsl

from botocore.auth import HmacV1Auth, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest, HTTPHeaders
from botocore.credentials import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
TOLERANCE = timedelta(minutes=15)
LONGEST = timedelta(days=7)
_HEX = re.compile(r"[0-9a-f]{64}")
_SCOPE = re.compile(r"(\w+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request", re.ASCII)
_NAMES = re.compile(r"[\w.;-]+", re.ASCII)
_FIELDS = ["Credential", "Signature", "SignedHeaders"]
_ONCE = frozenset(
    ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-security-token", "x-amz-signature",
     "x-amz-signedheaders", "awsaccesskeyid", "expires", "signature")
)  # fmt: skip
# What a signature of version 2 does not cover and an address may carry beside it: itself, and which part of a listing is wanted.
_BESIDE_V2 = frozenset(
    ("AWSAccessKeyId", "Expires", "Signature", "x-amz-security-token", "continuation-token", "delimiter", "encoding-type", "fetch-owner",
     "key-marker", "list-type", "marker", "max-keys", "max-parts", "max-uploads", "part-number-marker", "prefix", "start-after",
     "upload-id-marker", "version-id-marker")
)  # fmt: skip


class UnsignedError(Exception):
    """The request carries no valid signature.

    Attributes:
        code: AWS's error code.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Request:
    """An HTTP request as it was received.

    Attributes:
        method: in capitals.
        path: as sent, percent-encoded, without the query.
        query: as sent, without the question mark.
        headers: by lower-case name; lines of one name are joined by a comma.
        body: as sent; left empty where its hash is not part of what is signed.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    def parameters(self) -> dict[str, str]:
        """The query's parameters; of several with one name the last.

        Raises:
            UnsignedError: one that a signature consists of is there twice, so that two readers could read two keys.
        """
        pairs = parse_qsl(self.query, keep_blank_values=True)
        names = [name.lower() for name, _ in pairs]
        if any(names.count(name) > 1 for name in _ONCE):
            raise UnsignedError("IncompleteSignature", "a parameter of the signature is there twice")
        return dict(pairs)


SecretOf = Callable[[str, str], str | None]
"""The secret key of an access key id, given the session token that came with it ("" for none); None when there is none."""


def check_key(request: Request, secret_of: SecretOf) -> None:
    """Refuse a request signed in its header which no body could make good: there is no such key.

    Raises:
        UnsignedError: the header is malformed, or its key not known.
    """
    if "authorization" not in request.headers:
        raise UnsignedError("MissingAuthenticationToken", "the request is not signed")
    claim = _header_claim(request)
    _secret(claim.key, claim.token, secret_of)


def check_body(headers: Mapping[str, str], body: bytes) -> None:
    """Accept the body of a request whose headers declare its hash.

    Raises:
        UnsignedError: it is another one.
    """
    if declares_hash(headers) and headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
        raise UnsignedError("XAmzContentSHA256Mismatch", "the body is not the one that was signed")


def declares_hash(headers: Mapping[str, str]) -> bool:
    """Whether the body's hash is said in a header, so that the signature can be checked before the body is read."""
    return _HEX.fullmatch(headers.get("x-amz-content-sha256", "")) is not None


def is_presigned(parameters: Mapping[str, str]) -> bool:
    """Whether a query claims to carry a signature of version 4 or 2."""
    return "X-Amz-Signature" in parameters or {"AWSAccessKeyId", "Signature"} <= set(parameters)


def check(request: Request, secret_of: SecretOf, now: datetime | None = None) -> None:
    """Accept a signed request, but for its body, where the signature is over a hash that a header declares: see `check_body`.

    Args:
        request: as it was received; with its body where no hash is declared.
        secret_of: gives the secrets of the keys there are.
        now: the time, for tests.

    Raises:
        UnsignedError: it is not signed, or not with a key that is known, or not for now.
    """
    now = now or datetime.now(UTC)
    parameters = request.parameters()
    if "authorization" in request.headers:
        _check_header(request, secret_of, now)
    elif "X-Amz-Signature" in parameters:
        _check_query(request, parameters, secret_of, now)
    elif is_presigned(parameters):
        _check_query_v2(request, parameters, secret_of, now)
    else:
        raise UnsignedError("MissingAuthenticationToken", "the request is not signed")


def _header_claim(request: Request) -> _Claim:
    algorithm, _, rest = request.headers["authorization"].partition(" ")
    parts = sorted(part.strip().partition("=")[::2] for part in rest.split(","))
    if [name for name, _ in parts] != _FIELDS:
        raise UnsignedError("IncompleteSignature", "the Authorization header is not one of signature version 4")
    fields = dict(parts)
    declared = request.headers.get("x-amz-content-sha256", "")
    return _Claim(
        algorithm, fields["Credential"], fields["SignedHeaders"], fields["Signature"],
        request.headers.get("x-amz-date", ""), request.headers.get("x-amz-security-token", ""),
        declared or hashlib.sha256(request.body).hexdigest(),
    )  # fmt: skip


def _check_header(request: Request, secret_of: SecretOf, now: datetime) -> None:
    claim = _header_claim(request)
    claim.check(request, parse_qsl(request.query, keep_blank_values=True), secret_of)
    if abs(now - claim.signed_at) > TOLERANCE:
        raise UnsignedError("RequestTimeTooSkewed", "the request was signed more than 15 minutes from now")


def _check_query(request: Request, parameters: Mapping[str, str], secret_of: SecretOf, now: datetime) -> None:
    claim = _Claim(
        parameters.get("X-Amz-Algorithm", ""), parameters.get("X-Amz-Credential", ""), parameters.get("X-Amz-SignedHeaders", ""),
        parameters["X-Amz-Signature"], parameters.get("X-Amz-Date", ""), parameters.get("X-Amz-Security-Token", ""), UNSIGNED,
    )  # fmt: skip
    query = [pair for pair in parse_qsl(request.query, keep_blank_values=True) if pair[0] != "X-Amz-Signature"]
    if claim.service != "s3":
        raise UnsignedError("AccessDenied", "only requests to S3 may be signed in their address")
    claim.check(request, query, secret_of)
    lasts = parameters.get("X-Amz-Expires", "")
    if not re.fullmatch(r"\d{1,6}", lasts) or timedelta(seconds=int(lasts)) > LONGEST:
        raise UnsignedError("AuthorizationQueryParametersError", "X-Amz-Expires is not a number of seconds of at most a week")
    if not claim.signed_at - TOLERANCE <= now <= claim.signed_at + timedelta(seconds=int(lasts)):
        raise UnsignedError("AccessDenied", "the address has expired")


def _check_query_v2(request: Request, parameters: Mapping[str, str], secret_of: SecretOf, now: datetime) -> None:
    key, expires = parameters["AWSAccessKeyId"], parameters.get("Expires", "")
    if not re.fullmatch(r"\d{1,12}", expires) or now.timestamp() > int(expires):
        raise UnsignedError("AccessDenied", "the address has expired")
    # Names as sent: what is signed is found by the name before it is decoded.
    named = {part.partition("=")[0] for part in request.query.split("&")}
    if named - _BESIDE_V2 - set(HmacV1Auth.QSAOfInterest):
        raise UnsignedError("AccessDenied", "a signature of version 2 does not cover every parameter of the address: sign with version 4")
    token = parameters.get("x-amz-security-token", "")
    signer = _ExpiringHmac(Credentials(key, _secret(key, token, secret_of), token or None), expires)
    headers = HTTPHeaders()
    for name, value in request.headers.items():
        headers[name] = value
    resource = request.path if "/" in request.path[1:] else f"{request.path.rstrip('/')}/"  # a bucket is signed with a slash
    address = SplitResult("http", "host", resource, request.query, "")
    expected = signer.get_signature(request.method, address, headers)  # type: ignore[arg-type]  # botocore asks for HTTPHeaders
    _compare(expected, parameters["Signature"])


class _ExpiringHmac(HmacV1Auth):
    """Signs with the time of expiry in the place of the date, as presigned addresses of version 2 do."""

    def __init__(self, credentials: Credentials, expires: str) -> None:
        super().__init__(credentials)
        self._at = expires

    def _get_date(self) -> str:
        return self._at


@dataclass(frozen=True)
class _Claim:
    """What a signature of version 4 says of itself."""

    algorithm: str
    credential: str
    signed_headers: str
    signature: str
    date: str
    token: str
    payload: str

    @property
    def key(self) -> str:
        return self._scope()[0]

    @property
    def service(self) -> str:
        return self._scope()[3]

    @property
    def signed_at(self) -> datetime:
        try:
            return datetime.strptime(self.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise UnsignedError("IncompleteSignature", "X-Amz-Date is not a date of the form 20260101T000000Z") from None

    def _scope(self) -> tuple[str, str, str, str]:
        scope = _SCOPE.fullmatch(self.credential)
        if self.algorithm != ALGORITHM or scope is None or not _NAMES.fullmatch(self.signed_headers) or not self.signature:
            raise UnsignedError("IncompleteSignature", "the request does not carry a signature of version 4")
        key, day, region, service = scope.groups()
        return key, day, region, service

    def check(self, request: Request, query: list[tuple[str, str]], secret_of: SecretOf) -> None:
        """Compute the signature and compare it."""
        key, day, region, service = self._scope()
        if day != f"{self.signed_at:%Y%m%d}":
            raise UnsignedError("SignatureDoesNotMatch", "the credential's date is not the request's")
        names = self.signed_headers.split(";")
        loose = sorted(name for name in request.headers if name.startswith("x-amz-") and name not in names)
        if "host" not in names or loose:
            raise UnsignedError("SignatureDoesNotMatch", f"headers that must be signed are not: {', '.join(loose) or 'host'}")
        kind = _signer(S3SigV4Auth if service == "s3" else SigV4Auth, names)
        signer = kind(Credentials(key, _secret(key, self.token, secret_of), None), service, region)
        as_sent = AWSRequest(
            method=request.method,
            url=f"http://{request.headers['host']}{request.path}",
            params=query,  # type: ignore[arg-type]  # botocore takes pairs, too
            headers={**request.headers, "X-Amz-Content-SHA256": self.payload},
        )
        as_sent.context["timestamp"] = self.date
        to_sign = signer.string_to_sign(as_sent, signer.canonical_request(as_sent))
        _compare(signer.signature(to_sign, as_sent), self.signature)


def _signer(base: type[SigV4Auth], names: list[str]) -> Any:
    """botocore's signer, over exactly the headers that were signed."""

    class AsReceived(base):  # type: ignore[misc,valid-type]
        def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
            headers = HTTPHeaders()
            for name in names:
                headers[name] = request.headers.get(name, "")
            return headers

    return AsReceived


def _secret(key: str, token: str, secret_of: SecretOf) -> str:
    secret = secret_of(key, token)
    if secret is None:
        raise UnsignedError("InvalidClientTokenId", "the access key is not known here")
    return secret


def _compare(expected: str, given: str) -> None:
    if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
        raise UnsignedError("SignatureDoesNotMatch", "the signature is not that of this request and key")
