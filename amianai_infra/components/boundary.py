"""The permissions boundary on every role, whichever component makes it."""

import pulumi

ROLE_TYPE = "aws:iam/role:Role"


class RoleBoundary:
    """A stack transformation that puts one permissions boundary on every IAM role of the program.

    Args:
        arn: ARN of the managed policy.
    """

    def __init__(self, arn: str) -> None:
        self._arn = arn

    def __call__(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        """Bound one role that is about to be registered."""
        if args.type_ != ROLE_TYPE:
            return None
        return pulumi.ResourceTransformationResult({**args.props, "permissions_boundary": self._arn}, args.opts)
