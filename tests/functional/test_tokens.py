"""The token verifier with tokens that the sandbox's Cognito signs."""

from __future__ import annotations

from typing import Any

import pytest

from amianai_infra.tokens import TokenError, TokenVerifier
from tests.functional.conftest import Bench

PASSWORD = "Correct-horse-1"


def test_tokens_of_a_pool_and_not_of_another(bench: Bench) -> None:
    cognito = bench.client("cognito-idp")
    pools = [cognito.create_user_pool(PoolName=f"bench-tokens-{number}")["UserPool"]["Id"] for number in (1, 2)]
    clients = [
        cognito.create_user_pool_client(
            UserPoolId=pool, ClientName="web", ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
        )["UserPoolClient"]["ClientId"]
        for pool in pools
    ]
    try:
        signed = [_sign_in(cognito, pool, client) for pool, client in zip(pools, clients, strict=True)]
        verifier = TokenVerifier(
            f"https://cognito-idp.us-east-1.amazonaws.com/{pools[0]}",
            [clients[0]],
            keys_url=f"{bench.variables['AWS_ENDPOINT_URL']}/{pools[0]}/.well-known/jwks.json",
        )
        access, identity = (
            verifier.verify(signed[0]["AccessToken"], "access"),
            verifier.verify(signed[0]["IdToken"], "id"),
        )
        assert access.subject == identity.subject
        assert access.client_id == identity.client_id == clients[0]
        for token, use, reason in (
            (signed[0]["IdToken"], "access", "use"),
            (signed[0]["AccessToken"], "id", "use"),
            (signed[0]["AccessToken"][:-4] + "AAAA", "access", "signature"),
        ):
            with pytest.raises(TokenError) as caught:
                verifier.verify(token, use)  # type: ignore[arg-type]
            assert caught.value.reason == reason
        with pytest.raises(TokenError) as caught:
            verifier.verify(signed[1]["AccessToken"], "access")
        assert caught.value.reason in ("issuer", "key"), "the emulator may sign for every pool with one key"
    finally:
        for pool in pools:
            cognito.delete_user_pool(UserPoolId=pool)


def test_an_api_refuses_tokens_of_the_client_for_development_unless_it_lists_it(bench: Bench) -> None:
    cognito = bench.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName="bench-tokens-clients")["UserPool"]["Id"]
    flows = ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    site, development = (
        cognito.create_user_pool_client(UserPoolId=pool, ClientName=name, ExplicitAuthFlows=flows)["UserPoolClient"]["ClientId"]
        for name in ("site", "development")
    )
    issuer = f"https://cognito-idp.us-east-1.amazonaws.com/{pool}"
    keys = f"{bench.variables['AWS_ENDPOINT_URL']}/{pool}/.well-known/jwks.json"
    try:
        signed = _sign_in(cognito, pool, development)
        for token, use in ((signed["AccessToken"], "access"), (signed["IdToken"], "id")):
            with pytest.raises(TokenError) as caught:
                TokenVerifier(issuer, [site], keys_url=keys).verify(token, use)  # type: ignore[arg-type]
            assert caught.value.reason == "client"
            verified = TokenVerifier(issuer, [site, development], keys_url=keys).verify(token, use)  # type: ignore[arg-type]
            assert verified.client_id == development
    finally:
        cognito.delete_user_pool(UserPoolId=pool)


def _sign_in(cognito: Any, pool: str, client: str) -> dict[str, str]:
    cognito.admin_create_user(UserPoolId=pool, Username="a@example.test", MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username="a@example.test", Password=PASSWORD, Permanent=True)
    answer = cognito.admin_initiate_auth(
        UserPoolId=pool,
        ClientId=client,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "a@example.test", "PASSWORD": PASSWORD},
    )
    return dict(answer["AuthenticationResult"])
