"""What a killed or failed run left behind, and the state without it. Pure: nothing here talks to AWS or to the engine.

The engine itself keeps interrupted creations as pending operations for ever and creates the resources a second time; its
`refresh --import-pending-creates` only drops them. So the state is edited: an interrupted creation whose resource was found goes
into the state with its identifier and without outputs, and a refresh limited to it reads the rest, which is what an import is.
A kill between those two steps leaves a resource without outputs, which `survey` finds again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from amianai_infra.engine.backend import Deployment, FailedCreate, mask
from amianai_infra.engine.events import type_of
from amianai_infra.engine.lookup import UNKNOWN, Interrupted
from amianai_infra.errors import NotFoundError, RefusedError


@dataclass(frozen=True)
class Leftovers:
    """What a killed run left in the state.

    Attributes:
        creates: resources whose creation was under way.
        bookkeeping: URNs of components and providers whose creation was under way: nothing exists outside the state.
        others: URN and kind of every other operation that was under way (updating, deleting, reading, importing).
        half: URNs of resources that an interrupted recovery put into the state but did not read yet.
    """

    creates: tuple[Interrupted, ...] = ()
    bookkeeping: tuple[str, ...] = ()
    others: tuple[tuple[str, str], ...] = ()
    half: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.creates or self.bookkeeping or self.others or self.half)


def with_failed(deployment: Deployment, failed: Iterable[Mapping[str, Any]]) -> Deployment:
    """The state with creations that failed among its pending operations, where the engine itself keeps only interrupted ones.

    Args:
        deployment: as exported.
        failed: what was to be created, as `Record.failed_creates` tells it.
    """
    resources = deployment.get("resources") or []
    pending = list(deployment.get("pending_operations") or [])
    noted = {operation["resource"]["urn"] for operation in pending}
    for resource in failed:
        if resource["urn"] not in noted and has_place(resource, deployment):
            pending.append({"type": "creating", "resource": {**resource, "dependencies": _needed(resource, resources)}})
    return {**deployment, "pending_operations": pending} if pending else deployment


def has_place(resource: Mapping[str, Any], deployment: Deployment) -> bool:
    """Whether the state holds what a resource belongs to: its provider and its parent."""
    here = {entry["urn"] for entry in deployment.get("resources") or []}
    return (resource.get("provider") or "").rpartition("::")[0] in here and resource.get("parent", "") in {*here, ""}


def unrecorded(deployment: Deployment, failed: Iterable[FailedCreate]) -> list[FailedCreate]:
    """Those of the creations that failed which the state does not hold.

    A resource that was made and then not completed is in the state, with its identifier. Adopting it once more would mark the very same
    one for deletion, as something that was replaced.
    """
    live = {entry["urn"]: entry for entry in deployment.get("resources") or [] if not entry.get("delete")}
    return [one for one in failed if one.urn not in live or (one.replaces and not live[one.urn].get("initErrors"))]


def _needed(resource: Mapping[str, Any], resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """The event stream tells no dependencies: whose identifier or ARN an input names is one, so that deletion keeps the order."""
    texts = set(_texts(resource.get("inputs")))
    return [
        entry["urn"]
        for entry in resources
        if is_real(entry) and not entry.get("delete") and ({entry.get("id"), _arn(entry)} - {"", None}) & texts
    ]


def _arn(entry: Mapping[str, Any]) -> str | None:
    arn = (entry.get("outputs") or {}).get("arn")
    return arn if isinstance(arn, str) else None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def survey(deployment: Deployment) -> Leftovers:
    """Find everything a killed run left behind. Empty for a healthy state."""
    creates: list[Interrupted] = []
    bookkeeping: list[str] = []
    others: list[tuple[str, str]] = []
    for operation in deployment.get("pending_operations") or []:
        resource, kind = operation["resource"], operation["type"]
        if kind != "creating":
            others.append((resource["urn"], kind))
        elif not is_real(resource):
            bookkeeping.append(resource["urn"])
        else:
            creates.append(_interrupted(resource, deployment))
    half = [entry["urn"] for entry in deployment.get("resources", []) if _half(entry)]
    return Leftovers(tuple(creates), tuple(bookkeeping), tuple(others), tuple(half))


def is_real(resource: Mapping[str, Any]) -> bool:
    """Whether something outside the state stands behind it: components and providers have nothing."""
    return bool(resource.get("custom")) and not resource["type"].startswith("pulumi:")


def _half(entry: Mapping[str, Any]) -> bool:
    settled = entry.get("delete") or entry.get("external") or entry.get("outputs")
    return is_real(entry) and bool(entry.get("id")) and bool(entry.get("inputs")) and not settled


def _interrupted(resource: Mapping[str, Any], deployment: Deployment) -> Interrupted:
    # What was deleted before its replacement may have had the name that the new one is found by.
    others = [one for one in deployment.get("resources", []) if one["urn"] == resource["urn"] and not one.get("pendingReplacement")]
    known = {one.get("id", "") for one in others}
    return Interrupted(resource["urn"], resource["type"], mask(resource.get("inputs", {})), frozenset(known - {""}))


def existing(deployment: Deployment, urns: Iterable[str]) -> list[tuple[Interrupted, str]]:
    """Those of the resources that the state holds, each with the identifier that the provider knows it by."""
    wanted = set(urns)
    entries = [one for one in deployment.get("resources") or [] if one["urn"] in wanted and one.get("id") and not one.get("delete")]
    return [(Interrupted(one["urn"], one["type"], mask(one.get("inputs", {}))), one["id"]) for one in entries]


def settle(deployment: Deployment, found: Mapping[str, str]) -> Deployment:
    """The state with found resources in it and without pending operations.

    Args:
        deployment: as exported.
        found: identifier to import each interrupted creation by, for those that exist.
    """
    after = copy.deepcopy(deployment)
    for operation in after.pop("pending_operations", None) or []:
        urn = operation["resource"]["urn"]
        if operation["type"] == "creating" and urn in found:
            _insert(after["resources"], {**operation["resource"], "id": found[urn]})
    return after


def _insert(resources: list[dict[str, Any]], entry: dict[str, Any]) -> None:
    """Put a resource behind everything it depends on; what it replaces is marked for deletion, as the engine does."""
    entry.pop("outputs", None)
    entry.pop("delete", None)
    _unlink(entry, set(references(entry)) - {other["urn"] for other in resources})  # the next `up` writes them again
    for index, old in enumerate(resources):
        if old["urn"] == entry["urn"] and not old.get("delete"):
            if old.get("pendingReplacement"):
                resources.pop(index)  # deleted before its replacement: nothing left to delete
            else:
                old["delete"] = True
            break
    needed = set(references(entry))
    behind = [index for index, other in enumerate(resources) if other["urn"] in needed and not other.get("delete")]
    resources.insert(max(behind, default=len(resources) - 1) + 1, entry)


def references(entry: Mapping[str, Any]) -> list[str]:
    """URNs of everything a resource needs in front of it in the state."""
    listed = [*(entry.get("dependencies") or []), entry.get("parent", ""), entry.get("deletedWith", "")]
    listed += [urn for urns in (entry.get("propertyDependencies") or {}).values() for urn in urns or []]
    listed += entry.get("replaceWith") or []
    if provider := entry.get("provider"):
        listed.append(provider.rpartition("::")[0])
    return [urn for urn in listed if urn]


def forget(deployment: Deployment, urns: Iterable[str]) -> Deployment:
    """The state without some resources; nothing is deleted in AWS.

    Args:
        deployment: as exported.
        urns: what to drop.

    Raises:
        RefusedError: something that stays is a child of, or is managed by, something that goes.
    """
    gone = set(urns)
    after = copy.deepcopy(deployment)
    kept = [entry for entry in after.get("resources", []) if entry["urn"] not in gone]
    for entry in kept:
        provider = (entry.get("provider") or "").rpartition("::")[0]
        if gone & {entry.get("parent", ""), provider}:
            raise RefusedError(
                f"{entry['urn'].rpartition('::')[2]} cannot stay when what it belongs to is forgotten.",
                where=entry["urn"],
                fix="forget its children with it",
            )
        _unlink(entry, gone)
    after["resources"] = kept
    return after


def _unlink(entry: dict[str, Any], gone: set[str]) -> None:
    for key in ("dependencies", "replaceWith"):
        if entry.get(key):
            entry[key] = [urn for urn in entry[key] if urn not in gone]
    by_property = entry.get("propertyDependencies") or {}
    for name, urns in by_property.items():
        by_property[name] = [urn for urn in urns or [] if urn not in gone]
    if entry.get("deletedWith") in gone:
        entry.pop("deletedWith")


def unprotect(deployment: Deployment, urns: Iterable[str]) -> Deployment:
    """The state with the engine's own protection lifted from some resources."""
    wanted = set(urns)
    after = copy.deepcopy(deployment)
    for entry in after.get("resources", []):
        if entry["urn"] in wanted:
            entry.pop("protect", None)
    return after


def stand_for(deployment: Deployment, urn: str, identifier: str) -> Deployment:
    """The state with a resource standing for another one in AWS; its settings and protection stay.

    Args:
        deployment: as exported.
        urn: the resource.
        identifier: what the provider knows the other one by.

    Raises:
        NotFoundError: the state has no such resource.
    """
    after = copy.deepcopy(deployment)
    entries = [entry for entry in after.get("resources", []) if entry["urn"] == urn and not entry.get("delete")]
    if not entries:
        raise NotFoundError("The state does not have this resource.", where=urn, fix="run `amianai up`, which makes it")
    for entry in entries:
        before = entry.get("id")
        outputs = entry.get("outputs") or {}
        # Some resources repeat their identifier among their outputs; the refresh that follows reads everything else.
        entry["outputs"] = {key: identifier if before and value == before else value for key, value in outputs.items()}
        entry["id"] = identifier
    return after


def take_back(deployment: Deployment, identifier: str) -> Deployment:
    """The state with a resource that was replaced, and with what was made for it, live again; their replacements wait for deletion instead.

    Args:
        deployment: as exported.
        identifier: of the resource that was replaced; what names it among its inputs goes with it.
    """
    after = copy.deepcopy(deployment)
    resources = after.get("resources", [])
    live = {entry["urn"]: index for index, entry in enumerate(resources) if not entry.get("delete")}
    for index, old in enumerate(resources):
        belongs = old.get("id") == identifier or identifier in (old.get("inputs") or {}).values()
        if old.get("delete") and belongs and old["urn"] in live:
            place = live[old["urn"]]
            resources[place], resources[index] = old, {**resources[place], "delete": True}
            old.pop("delete")
    return after


@dataclass(frozen=True)
class Existing:
    """What a plan would create, though AWS has it: nobody knows any more that it is there, and there would be two.

    Attributes:
        resource: as the state would hold it.
        id: what the provider imports it by.
        others: further ones of the same tags, a line each with the command that removes it.
    """

    resource: Mapping[str, Any]
    id: str
    others: tuple[str, ...] = ()

    @property
    def urn(self) -> str:
        """Which resource."""
        return str(self.resource["urn"])

    @property
    def title(self) -> str:
        """As a line may begin with it."""
        return title(self.urn)

    @property
    def whole(self) -> bool:
        """Whether all of its inputs are known before anything else exists."""
        return UNKNOWN not in _texts(self.resource["inputs"])


def planned(resource: Mapping[str, Any], deployment: Deployment, gone: Iterable[str] = ()) -> Interrupted:
    """The question whether something that would be created exists.

    Args:
        resource: as the state would hold it.
        deployment: as exported; what it holds already under any URN is not meant.
        gone: identifiers that turned out to stand for nothing.
    """
    known = {entry.get("id", "") for entry in deployment.get("resources") or [] if entry["type"] == resource["type"]}
    return Interrupted(resource["urn"], resource["type"], resource["inputs"], frozenset({*known, *gone} - {""}))


def adopted(deployment: Deployment, found: Iterable[Existing]) -> Deployment:
    """The state with what exists in it, to be read. What it holds already, by another run, stays as it is.

    Args:
        deployment: as exported, recovered before.
        found: what exists, each behind those that it depends on.
    """
    live = {entry["urn"] for entry in deployment.get("resources") or [] if not entry.get("delete")}
    for one in found:
        if one.urn not in live:
            deployment = settle(with_failed(deployment, [_without_unknown(one.resource)]), {one.urn: one.id})
    return deployment


def _without_unknown(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {**resource, "inputs": {key: value for key, value in resource["inputs"].items() if UNKNOWN not in _texts(value)}}


def title(urn: str) -> str:
    """`resource network-vpc (aws:ec2/vpc:Vpc)`: a line may begin with it."""
    return f"resource {urn.rpartition('::')[2]} ({type_of(urn)})"
