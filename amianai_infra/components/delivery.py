"""Continuous delivery: GitHub Actions may release the site, and nothing else."""

from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws.iam.open_id_connect_provider import OpenIdConnectProvider
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy

from amianai_infra.components.inputs import policy_json, tagged
from amianai_infra.config import DeliverySettings
from amianai_infra.rules.policies import (
    GITHUB_AUDIENCE,
    GITHUB_ISSUER,
    Policy,
    deployer,
    github_pull_requests,
    github_subject,
    github_trust,
)

_DEFAULT = DeliverySettings()
SESSION_SECONDS = 3600


class DeliveryArgs(TypedDict):
    """What a `Delivery` takes."""

    prefix: str
    """Prefix of every resource's name."""

    owner: str
    """GitHub user or organisation that owns the repository."""

    repository: str
    """Name of the repository."""

    bucket_arn: pulumi.Input[str]
    """The site's bucket."""

    distribution_arn: pulumi.Input[str]
    """The site's distribution."""

    parameter_arn: pulumi.Input[str]
    """The SSM parameter that publishes the stack's outputs."""

    routes_arn: pulumi.Input[str]
    """The key-value store of the site's addresses."""

    previews_policy: NotRequired[pulumi.Input[Policy] | None]
    """What the runs of pull requests may do to publish previews, with a role of their own. Default: there is no such role."""

    branch: NotRequired[str]
    """Branch that may deploy. Default main."""

    environment: NotRequired[str]
    """GitHub environment that may deploy, instead of the branch. Default none."""

    oidc_provider_arn: NotRequired[str]
    """GitHub's OIDC provider, to be adopted: an account has one at most. Default: create it."""


_DEFAULTS = {
    "branch": _DEFAULT.branch,
    "environment": _DEFAULT.environment,
    "oidc_provider_arn": _DEFAULT.oidc_provider_arn,
    "previews_policy": None,
}


class Delivery(pulumi.ComponentResource):
    """A role that the workflows of one repository, on one branch or environment, assume without a stored key.

    Creates: GitHub's OIDC provider, unless one is adopted; the deploy role with its policy; where previews are published, a role for
    the runs of the repository's pull requests, which GitHub gives no token for where they come from a fork.

    Cost: nothing.

    Source: GitHub Docs, "Configuring OpenID Connect in Amazon Web Services"; IAM User Guide, "Configuring a role for GitHub OIDC
    identity provider".
    """

    role_arn: pulumi.Output[str]
    """ARN of the deploy role."""
    provider_arn: pulumi.Output[str]
    """ARN of GitHub's OIDC provider."""
    previews_role_arn: pulumi.Output[str]
    """ARN of the role of pull requests; empty where there is none."""

    def __init__(self, name: str, args: DeliveryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:delivery:Delivery", name, None, opts)
        self._name_of = name
        self._args: DeliveryArgs = {**_DEFAULTS, **args}  # type: ignore[typeddict-item]
        self._subject = github_subject(args["owner"], args["repository"], self._args["branch"], self._args["environment"])

        self._create_provider()
        self._create_role()
        self._create_previews_role()

        self.role_arn = self.role.arn
        self.register_outputs({"role_arn": self.role_arn, "provider_arn": self.provider_arn, "previews_role_arn": self.previews_role_arn})

    def _create_provider(self) -> None:
        self.provider: OpenIdConnectProvider | None = None
        adopted = self._args["oidc_provider_arn"]
        if adopted:
            self.provider_arn = pulumi.Output.from_input(adopted)
            return
        self.provider = OpenIdConnectProvider(
            f"{self._name_of}-github",
            url=f"https://{GITHUB_ISSUER}",
            client_id_lists=[GITHUB_AUDIENCE],
            tags=tagged(f"{self._args['prefix']}-github"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.provider_arn = self.provider.arn

    def _create_role(self) -> None:
        display = f"{self._args['prefix']}-deploy"
        self.role = Role(
            f"{self._name_of}-role",
            name=display,
            description=f"Releases the site from {self._subject}",
            assume_role_policy=policy_json(self.provider_arn.apply(lambda arn: github_trust(arn, self._subject))),
            max_session_duration=SESSION_SECONDS,
            tags=tagged(display),
            opts=pulumi.ResourceOptions(parent=self),
        )
        named = (self._args["bucket_arn"], self._args["distribution_arn"], self._args["parameter_arn"], self._args["routes_arn"])
        arns = pulumi.Output.all(*named)
        self.policy = RolePolicy(
            f"{self._name_of}-policy",
            name="release",
            role=self.role.name,
            policy=policy_json(arns.apply(lambda found: deployer(*found))),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _create_previews_role(self) -> None:
        self.previews_role_arn = pulumi.Output.from_input("")
        policy = self._args["previews_policy"]
        if policy is None:
            return
        display = f"{self._args['prefix']}-previews"
        subject = github_pull_requests(self._args["owner"], self._args["repository"])
        self.previews_role = Role(
            f"{self._name_of}-previews-role",
            name=display,
            description=f"Publishes previews from {subject}",
            assume_role_policy=policy_json(self.provider_arn.apply(lambda arn: github_trust(arn, subject))),
            max_session_duration=SESSION_SECONDS,
            tags=tagged(display),
            opts=pulumi.ResourceOptions(parent=self),
        )
        RolePolicy(
            f"{self._name_of}-previews-policy",
            name="previews",
            role=self.previews_role.name,
            policy=policy_json(policy),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.previews_role_arn = self.previews_role.arn
