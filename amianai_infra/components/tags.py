"""Tags on everything that takes tags, among them the resource's own URN: an interrupted creation is found again by it."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import pulumi

from amianai_infra.naming import TAG_URN, urn_tag

_STACK_TYPE = "pulumi:pulumi:Stack"


class StackTags:
    """A stack transformation that adds tags to every resource whose type takes them.

    It runs in this process, inside each resource's constructor: the newer kind of transform is a call-back over the wire
    for every resource.

    Args:
        tags: what every resource carries; a resource's own tags win.
    """

    def __init__(self, tags: Mapping[str, str]) -> None:
        self._tags = dict(tags)
        self._types: WeakKeyDictionary[pulumi.Resource, str] = WeakKeyDictionary()

    def __call__(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        """Tag one resource that is about to be registered."""
        kind = self._qualified_type(args)
        self._types[args.resource] = kind
        if "tags" not in args.props:
            return None
        urn = f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{kind}::{args.name}"
        tags = _merged(self._tags, args.props["tags"], {TAG_URN: urn_tag(urn)})
        return pulumi.ResourceTransformationResult({**args.props, "tags": tags}, args.opts)

    def _qualified_type(self, args: pulumi.ResourceTransformationArgs) -> str:
        """The type behind those of its parents, as a URN spells it; the stack itself is not spelled."""
        parent = args.opts.parent
        if parent is None or parent.pulumi_resource_type == _STACK_TYPE:
            return args.type_
        return f"{self._types[parent]}${args.type_}"


def _merged(everywhere: dict[str, str], own: Any, last: dict[str, str]) -> Any:
    if own is None or isinstance(own, Mapping):
        return {**everywhere, **(own or {}), **last}
    return pulumi.Output.from_input(own).apply(lambda tags: {**everywhere, **(tags or {}), **last})
