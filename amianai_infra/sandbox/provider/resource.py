"""The base class of a resource type, and what its methods are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from amianai_infra.sandbox.provider.clients import Clients
from amianai_infra.sandbox.provider.properties import Problem, Prop, Props, mapping, text

Inputs = Mapping[str, Any]
State = dict[str, Any]

TAGS = mapping()
REGION = text(computed=True, force_new=True)


class ProviderError(Exception):
    """A request the provider refuses; the message says what, where and why."""


@dataclass
class World:
    """What all resources share: the emulator's clients, PostgreSQL's address, the provider's configuration."""

    clients: Clients
    socket_dir: Path = Path("/nonexistent")
    postgres_port: int = 5432
    region: str = "us-east-1"
    default_tags: dict[str, str] = field(default_factory=dict)

    @cached_property
    def account(self) -> str:
        """The emulator's account id."""
        return str(self.clients.get("sts", self.region).get_caller_identity()["Account"])


@dataclass(frozen=True)
class Context:
    """One call's surroundings: the world, the resource's region, its URN and Pulumi name."""

    world: World
    region: str
    service: str
    urn: str = ""
    name: str = ""

    def client(self, service: str | None = None, region: str | None = None) -> Any:
        """A boto3 client, by default of the resource's own service in the resource's region."""
        return self.world.clients.get(service or self.service, region or self.region)

    @property
    def account(self) -> str:
        """The emulator's account id."""
        return self.world.account

    def tags(self, inputs: Inputs) -> dict[str, str]:
        """Every tag the resource gets: the provider's default tags and its own."""
        return {**self.world.default_tags, **inputs.get("tags", {})}

    def arn(self, resource: str, service: str | None = None, *, regional: bool = True) -> str:
        """`arn:aws:<service>:<region>:<account>:<resource>`."""
        return f"arn:aws:{service or self.service}:{self.region if regional else ''}:{self.account}:{resource}"


class Resource:
    """One resource type.

    A subclass gives the tables and the calls. The server does the rest: check and defaults, diff, previews, secrets, tags
    (input, `tagsAll`, default tags), region, absence, partial creation, drift.

    Attributes:
        token: `aws:ec2/vpc:Vpc`.
        service: boto3's name of the service.
        props: the input properties; `region` and `tags` are added by `regional` and `tagged`.
        outputs: names of computed outputs that are not inputs.
        secrets: outputs that are always secret.
        volatile: outputs that an update may change.
        real_outputs: inputs whose output is what the reader reports, not what the program gave.
        regional: the type takes pulumi-aws 7's `region` input.
        tagged: the type takes `tags`; the reader then reports `tags` and the type has `set_tags`.
        name_prop: input that must be unique in AWS: a replacement that keeps it deletes first.
        delete_first: a replacement always deletes first.
        missing: error codes that mean "does not exist".
    """

    token: ClassVar[str]
    service: ClassVar[str]
    props: ClassVar[Props] = {}
    outputs: ClassVar[Sequence[str]] = ()
    secrets: ClassVar[Sequence[str]] = ()
    volatile: ClassVar[Sequence[str]] = ()
    real_outputs: ClassVar[Sequence[str]] = ()
    regional: ClassVar[bool] = True
    tagged: ClassVar[bool] = False
    name_prop: ClassVar[str | None] = None
    delete_first: ClassVar[bool] = False
    missing: ClassVar[Sequence[str]] = ()

    @cached_property
    def table(self) -> dict[str, Prop]:
        """All input properties."""
        extra = {"region": REGION} if self.regional else {}
        return {**self.props, **extra, **({"tags": TAGS} if self.tagged else {})}

    @cached_property
    def computed(self) -> tuple[str, ...]:
        """All outputs that are unknown until the resource exists, unless the program gave them."""
        chosen = [name for name, prop in self.table.items() if prop.computed and name != "region"]
        return (*self.outputs, *chosen, *(("tagsAll",) if self.tagged else ()))

    def check(self, inputs: Inputs) -> list[Problem]:
        """Rules between properties. Values may be `UNKNOWN`."""
        return []

    def create(self, ctx: Context, inputs: Inputs) -> str:
        """Make the resource exist; gives its id. Anything that may fail afterwards belongs to `configure`."""
        raise NotImplementedError

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        """Calls after creation. A failure here leaves the resource in the engine's state, marked incomplete."""

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        """What is really there, None when it is gone.

        Reports every input that is not write-only (None where it is unset), and every output. `known` is what the state
        holds, empty when importing. `id` in the answer replaces the id that was asked for (imports by another name).
        """
        raise NotImplementedError

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        """Apply changed inputs; tags are `set_tags`'s. After a failed creation every property counts as changed."""
        self.configure(ctx, ident, new)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        """Remove the resource. One that is gone already is no error (see `missing`)."""
        raise NotImplementedError

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        """Set these tags and take the removed keys off."""
        raise NotImplementedError


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """`{"a": "b"}` as `[{"Key": "a", "Value": "b"}]`."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_map(tags: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """`[{"Key": "a", "Value": "b"}]` as `{"a": "b"}`."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags or ()}


def given(**parameters: Any) -> dict[str, Any]:
    """The parameters that are not None."""
    return {name: value for name, value in parameters.items() if value is not None}
