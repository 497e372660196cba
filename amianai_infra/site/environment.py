"""What the site's build gets to know: the stack's public settings. Nothing in here is a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amianai_infra.outputs import StackOutputs
    from amianai_infra.target import Target


def public_environment(target: Target, outputs: StackOutputs, *, development: bool = False) -> dict[str, str]:
    """The variables that a Next.js build bakes into the pages.

    Args:
        target: the environment; on AWS the browser finds Cognito by its region.
        outputs: what the stack published.
        development: for `npm run dev`: the client for development, where the stack has one.
    """
    client = (development and outputs.auth.development_client_id) or outputs.auth.client_id
    return {
        "NEXT_PUBLIC_AWS_REGION": outputs.region,
        "NEXT_PUBLIC_USER_POOL_ID": outputs.auth.user_pool_id,
        "NEXT_PUBLIC_USER_POOL_CLIENT_ID": client,
        "NEXT_PUBLIC_COGNITO_ENDPOINT": target.endpoint("cognito-idp") or "",
        "NEXT_PUBLIC_SITE_URL": target.site_address(outputs).url,
    }
