"""The engine's resource-provider protocol over the table of resource types.

Everything that is the same for every type lives here: check and defaults, automatic names, diff, previews with unknowns, secrets,
tags, regions, absence, partial creation, and drift. What differs lives in the `Resource` classes.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from amianai_infra.engine import failures
from amianai_infra.engine.lookup import FINDERS, Interrupted, Lookup, is_asked_for
from amianai_infra.errors import AmianaiError
from amianai_infra.sandbox.provider import invokes, registry
from amianai_infra.sandbox.provider.clients import ATTEMPTS, AbandonedError, EscapedError, lost
from amianai_infra.sandbox.provider.diff import Change, compare, drifted_inputs
from amianai_infra.sandbox.provider.listener import own_user_only
from amianai_infra.sandbox.provider.properties import Checker, Problem
from amianai_infra.sandbox.provider.resource import Context, Inputs, ProviderError, Resource, State, World
from amianai_infra.sandbox.provider.validation import RefusedParameters
from amianai_infra.sandbox.provider.values import UNKNOWN, decode, encode, has_unknown, reveal, secret_keys

VERSION: Final = "7.51.1"
WORKERS: Final = 32
_ETAGS: Final = 5

# Provider configuration that changes nothing here: who we are and where we go is not the program's to say in the sandbox.
_IGNORED_CONFIG: Final = frozenset(
    {
        "version",
        "pluginDownloadURL",
        "skipCredentialsValidation",
        "skipMetadataApiCheck",
        "skipRegionValidation",
        "skipRequestingAccountId",
        "profile",
        "accessKey",
        "secretKey",
        "token",
        "endpoints",
        "s3UsePathStyle",
        "maxRetries",
        "retryMode",
    }
)
_CONFIG: Final = frozenset({"region", "defaultTags", "allowedAccountIds"})

log = logging.getLogger("amianai.provider")


class PartialCreation(Exception):
    """The resource exists but is not complete: the engine must keep it in its state."""

    def __init__(self, ident: str, outputs: Struct, inputs: Struct, reason: str) -> None:
        super().__init__(reason)
        self.detail = provider_pb2.ErrorResourceInitFailed(id=ident, properties=outputs, inputs=inputs, reasons=[reason])


def _answer(method: Callable[..., Any]) -> Callable[..., Any]:
    """Turn exceptions into gRPC errors with a message a person can use."""

    @wraps(method)
    def answer(self: Servicer, request: Any, context: Any) -> Any:
        try:
            with self.world.clients.during(context.is_active):
                return method(self, request)
        except PartialCreation as error:
            status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
            packed = any_pb2.Any()
            packed.Pack(error.detail)
            status.details.append(packed)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except Exception as error:
            context.abort(grpc.StatusCode.UNKNOWN, describe(error))

    return answer


def describe(error: Exception) -> str:
    """What failed, in words; an unforeseen error is also logged with its traceback."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as NoConnection

    if isinstance(error, ClientError):
        detail = error.response.get("Error", {})
        return f"{error.operation_name}: {detail.get('Code', '')}: {detail.get('Message', '')}"
    if isinstance(error, (HTTPClientError, NoConnection)):
        return f"the sandbox's emulator does not answer ({error}); `amianai sandbox up` starts it"
    if isinstance(error, (ProviderError, RefusedParameters, EscapedError, AbandonedError, AmianaiError, BotoCoreError)):
        return str(error)
    log.exception("unforeseen error")
    return f"{type(error).__name__}: {error}"


@contextmanager
def _while(doing: str) -> Iterator[None]:
    """Say what was being done when something fails."""
    try:
        yield
    except Exception as error:
        raise ProviderError(f"{doing}: {describe(error)}") from error


def _label(request: Any) -> str:
    """`aws:ec2/vpc:Vpc eeyore-network`."""
    urn: str = request.urn
    return f"{_token(urn)} {urn.rsplit('::', 1)[-1]}"


def _token(urn: str) -> str:
    return urn.split("::")[2].rsplit("$", 1)[-1]


def is_missing(resource: Resource, error: Exception) -> bool:
    """Whether an error means that the resource does not exist."""
    from botocore.exceptions import ClientError

    return isinstance(error, ClientError) and error.response.get("Error", {}).get("Code", "") in resource.missing


def _is_as_wanted(resource: Resource, inputs: Inputs, state: Inputs) -> bool:
    """Whether what is there says what the inputs say."""
    return not compare(resource.table, inputs, drifted_inputs(resource.table, inputs, state, importing=False))


def _under_its_etag(change: Callable[[], None]) -> None:
    """Change something that is changed under its ETag: where a lost answer of ours has changed that, read it again."""
    from botocore.exceptions import ClientError

    for attempt in range(_ETAGS):
        try:
            return change()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in ("PreconditionFailed", "InvalidIfMatchVersion") or attempt == _ETAGS - 1:
                raise
    return None


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Answers the engine.

    Args:
        world: the emulator's clients and the rest of what resources share.
        resources: token -> type, by default all there are.
    """

    def __init__(self, world: World, resources: Mapping[str, Resource] | None = None) -> None:
        self.world = world
        self.resources = registry.resources() if resources is None else resources
        self._default_region = world.region
        self._seen: defaultdict[str, set[str]] = defaultdict(set)

    # -- the provider itself

    @_answer
    def Handshake(self, request: Any) -> Any:
        """Agree on features."""
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    @_answer
    def Attach(self, request: Any) -> Any:
        """The engine tells its address; nothing here calls back."""
        return empty_pb2.Empty()

    @_answer
    def GetPluginInfo(self, request: Any) -> Any:
        """The version of pulumi-aws whose shapes the types follow."""
        return plugin_pb2.PluginInfo(version=VERSION)

    @_answer
    def CheckConfig(self, request: Any) -> Any:
        """Refuse provider configuration that would have no effect here."""
        news = decode(request.news)
        failures = [
            provider_pb2.CheckFailure(property=key, reason=f"the sandbox's aws provider does not implement the setting aws:{key}")
            for key in news
            if key not in _CONFIG and key not in _IGNORED_CONFIG
        ]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    @_answer
    def DiffConfig(self, request: Any) -> Any:
        """Another region in the configuration concerns new resources only."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    @_answer
    def Configure(self, request: Any) -> Any:
        """Take region and default tags; nested values arrive JSON-encoded."""
        args = {key: _nested(value) for key, value in reveal(decode(request.args)).items()}
        allowed = args.get("allowedAccountIds")
        if allowed and self.world.account not in allowed:
            raise ProviderError(f"aws:allowedAccountIds is {allowed}, but the sandbox's account is {self.world.account}")
        self.world.region = args.get("region") or self._default_region
        self.world.default_tags = dict((args.get("defaultTags") or {}).get("tags") or {})
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    @_answer
    def Invoke(self, request: Any) -> Any:
        """Call a function."""
        args = decode(request.args)
        with _while(request.tok):
            found = invokes.call(self.world, request.tok, reveal(args))
        answer: dict[str, Any] = {"return": encode(found)}
        return provider_pb2.InvokeResponse(**answer)

    @_answer
    def Cancel(self, request: Any) -> Any:
        """Calls are short: those under way finish."""
        return empty_pb2.Empty()

    # -- resources

    @_answer
    def Check(self, request: Any) -> Any:
        """Refuse unknown types and properties, convert types, fill in defaults and names."""
        resource = self._resource(request.urn)
        given, olds = decode(request.news), reveal(decode(request.olds))
        secrets = secret_keys(given) | {name for name, prop in resource.table.items() if prop.secret}
        checker = Checker(resource.token)
        inputs = checker.complete(resource.table, {**_names(resource, request, reveal(given), olds), **reveal(given)})
        problems = checker.problems or resource.check(inputs)
        if problems:
            return provider_pb2.CheckResponse(failures=[_failure(problem) for problem in problems])
        return provider_pb2.CheckResponse(inputs=encode(inputs, secrets))

    @_answer
    def Diff(self, request: Any) -> Any:
        """Compare declared inputs with the last declared ones."""
        resource = self._resource(request.urn)
        self._seen[request.urn].add(request.id)
        old, new = reveal(decode(request.old_inputs)), reveal(decode(request.news))
        state = reveal(decode(request.olds))
        if resource.regional and "region" in state:
            # Naming the region where the resource is anyway changes nothing.
            old.setdefault("region", state["region"])
        changes = compare(resource.table, old, new)
        if not changes and resource.tagged:
            changes = self._default_tags_changed(state, new)
        return _diff_response(resource, changes, old, new)

    def _default_tags_changed(self, state: Inputs, new: Inputs) -> list[Change]:
        if has_unknown(new.get("tags")) or state.get("tagsAll") in (None, {**self.world.default_tags, **new.get("tags", {})}):
            return []
        return [Change("tagsAll", "update", replace=False)]

    @_answer
    def Create(self, request: Any) -> Any:
        """Create the resource; a failure after it exists keeps it in the engine's state."""
        resource = self._resource(request.urn)
        given = decode(request.properties)
        inputs = reveal(given)
        secrets = self._secrets(resource, given)
        ctx = self._context(resource, request.urn, inputs)
        if request.preview:
            return provider_pb2.CreateResponse(properties=encode(self._foreseen(resource, ctx, inputs), secrets))
        with _while(f"creating {_label(request)}"):
            ident = self._created(resource, ctx, inputs)
        self._seen[request.urn].add(ident)
        state: State = {}
        try:
            with _while(f"completing {_label(request)}"):
                resource.configure(ctx, ident, inputs)
                state = self._state(resource, ctx, ident, inputs)
        except ProviderError as error:
            state = state or self._whatever(resource, ctx, ident, inputs)
            raise PartialCreation(ident, encode({**state, **inputs}, secrets), request.properties, str(error)) from error
        return provider_pb2.CreateResponse(id=ident, properties=encode({**state, **inputs, **_real(resource, state)}, secrets))

    def _created(self, resource: Resource, ctx: Context, inputs: Inputs) -> str:
        """Create it once, however often that has to be asked for: a creation whose answer was lost is looked for before another."""
        for attempt in range(ATTEMPTS):
            try:
                with self.world.clients.creating():
                    return resource.create(ctx, inputs)
            except Exception as error:
                unsure = lost(error)
                if not unsure and not (attempt and failures.EXISTS.search(describe(error))):
                    raise
                found = self._made_already(resource, ctx, inputs, said=not unsure)
                if found is not None:
                    return found
                if not unsure or attempt == ATTEMPTS - 1:
                    raise
                time.sleep(min(2.0, random.random() * 0.1 * 2**attempt))  # noqa: S311 - so that many do not ask at once
        raise AssertionError

    def _made_already(self, resource: Resource, ctx: Context, inputs: Inputs, *, said: bool) -> str | None:
        """What an earlier attempt made: it bears our tags or name, and is not what is being replaced.

        Of some types there is always one, with the service's defaults (a bucket's ownership controls, its encryption): unless the
        service `said` that what was to be made exists, such a one was made only if it is as it was wanted.
        """
        wanted = {**inputs, **({"tags": ctx.tags(inputs)} if resource.tagged else {})}
        look = Lookup(ctx.client, ctx.region)
        known = frozenset(self._seen[ctx.urn])
        if resource.token not in FINDERS:
            return None
        for ident in look.find(Interrupted(ctx.urn, resource.token, wanted, known)):
            state = self._read(resource, ctx, ident, {})
            if state is not None and (said or is_asked_for(resource.token) or _is_as_wanted(resource, inputs, state)):
                return str(state.get("id", ident))
        return None

    @_answer
    def Read(self, request: Any) -> Any:
        """What is really there, as inputs and outputs: for refresh and for import."""
        resource = self._resource(request.urn)
        given, known = decode(request.inputs), decode(request.properties)
        inputs, ident = reveal(given), request.id
        if resource.regional and "@" in ident and not known:
            ident, _, inputs["region"] = ident.rpartition("@")
        importing = not given
        ctx = self._context(resource, request.urn, {**reveal(known), **inputs})
        with _while(f"reading {_label(request)}"):
            state = self._read(resource, ctx, ident, {**reveal(known), **inputs})
        if state is None:
            return provider_pb2.ReadResponse(id="")
        ident = state.pop("id", ident)
        found = drifted_inputs(resource.table, inputs, state, importing=importing)
        if importing:
            found = {key: value for key, value in found.items() if key != "region" or "region" in inputs}
        secrets = self._secrets(resource, given) | secret_keys(known)
        outputs = {**_set_only(state), **found, **_real(resource, state)}
        return provider_pb2.ReadResponse(id=ident, properties=encode(outputs, secrets), inputs=encode(found, secrets))

    @_answer
    def Update(self, request: Any) -> Any:
        """Apply the changed inputs."""
        resource = self._resource(request.urn)
        given = decode(request.news)
        new, state, declared = reveal(given), reveal(decode(request.olds)), reveal(decode(request.old_inputs))
        old = {**state, **declared}
        secrets = self._secrets(resource, given)
        ctx = self._context(resource, request.urn, {**old, **new})
        kept = {key: value for key, value in old.items() if key not in resource.table or resource.table[key].computed}
        if request.preview:
            unknown = dict.fromkeys(resource.volatile, UNKNOWN)
            outputs = {**kept, **unknown, **new, **self._tags_all(resource, ctx, new), **_real(resource, state)}
            return provider_pb2.UpdateResponse(properties=encode(outputs, secrets))
        with _while(f"updating {_label(request)}"):
            _under_its_etag(lambda: self._apply(resource, ctx, request.id, old, new, declared))
            state = self._state(resource, ctx, request.id, {**kept, **new})
        return provider_pb2.UpdateResponse(properties=encode({**state, **new, **_real(resource, state)}, secrets))

    def _apply(self, resource: Resource, ctx: Context, ident: str, old: Inputs, new: Inputs, declared: Inputs) -> None:
        changes = compare(resource.table, declared, new)
        changed = frozenset(change.top for change in changes) or frozenset(resource.table)
        if resource.tagged:
            before, after = old.get("tagsAll", {}), ctx.tags(new)
            if before != after or "tags" in changed:
                resource.set_tags(ctx, ident, old, after, [key for key in before if key not in after])
        if changed - {"tags"}:
            resource.update(ctx, ident, old, new, changed - {"tags"})

    @_answer
    def Delete(self, request: Any) -> Any:
        """Delete the resource; one that is gone already is fine."""
        resource = self._resource(request.urn)
        state = {**reveal(decode(request.old_inputs)), **reveal(decode(request.properties))}
        ctx = self._context(resource, request.urn, state)
        with _while(f"deleting {_label(request)}"):
            try:
                _under_its_etag(lambda: resource.delete(ctx, request.id, state))
            except Exception as error:
                if not is_missing(resource, error):
                    raise
        return empty_pb2.Empty()

    # -- helpers

    def _resource(self, urn: str) -> Resource:
        token = _token(urn)
        found = self.resources.get(token)
        if found is None:
            raise ProviderError(f"the sandbox does not implement the resource type {token}; it has {', '.join(sorted(self.resources))}")
        return found

    def _context(self, resource: Resource, urn: str, inputs: Inputs) -> Context:
        region = inputs.get("region")
        return Context(
            world=self.world,
            region=region if isinstance(region, str) else self.world.region,
            service=resource.service,
            urn=urn,
            name=urn.rsplit("::", 1)[-1],
        )

    @staticmethod
    def _secrets(resource: Resource, given: Mapping[str, Any]) -> frozenset[str]:
        declared = frozenset(name for name, prop in resource.table.items() if prop.secret)
        found = secret_keys(given)
        return found | declared | frozenset(resource.secrets) | ({"tagsAll"} if "tags" in found else frozenset())

    def _foreseen(self, resource: Resource, ctx: Context, inputs: Inputs) -> State:
        region = {"region": ctx.region} if resource.regional else {}
        unknown, real = dict.fromkeys(resource.computed, UNKNOWN), dict.fromkeys(resource.real_outputs, UNKNOWN)
        return {**unknown, **region, **inputs, **self._tags_all(resource, ctx, inputs), **real}

    @staticmethod
    def _tags_all(resource: Resource, ctx: Context, inputs: Inputs) -> State:
        if not resource.tagged:
            return {}
        tags = inputs.get("tags", {})
        return {"tagsAll": {**ctx.world.default_tags, **tags} if isinstance(tags, dict) else UNKNOWN}

    def _read(self, resource: Resource, ctx: Context, ident: str, known: Inputs) -> State | None:
        try:
            state = resource.read(ctx, ident, known)
        except Exception as error:
            if is_missing(resource, error):
                return None
            raise
        if state is None:
            return None
        if resource.regional:
            state["region"] = ctx.region
        if resource.tagged:
            _split_tags(state, ctx, known)
        unread = [name for name, prop in resource.table.items() if not prop.silent and name not in state]
        if unread:
            raise ProviderError(f"{resource.token}'s reader does not report {', '.join(unread)}")
        return state

    def _state(self, resource: Resource, ctx: Context, ident: str, inputs: Inputs) -> State:
        state = self._read(resource, ctx, ident, inputs)
        if state is None:
            raise ProviderError(f"{ident} does not exist although the emulator accepted it")
        state.pop("id", None)
        return _set_only(state)

    def _whatever(self, resource: Resource, ctx: Context, ident: str, inputs: Inputs) -> State:
        try:
            return self._state(resource, ctx, ident, inputs)
        except Exception as error:
            log.info("reading an incomplete %s: %s", resource.token, describe(error))
            return {}


def _real(resource: Resource, state: Inputs) -> State:
    """The outputs that are what is real, whatever the input says."""
    return {name: state[name] for name in resource.real_outputs if state.get(name) is not None}


def _set_only(state: Inputs) -> State:
    return {key: value for key, value in state.items() if value is not None}


def _split_tags(state: State, ctx: Context, known: Inputs) -> None:
    """Report the resource's own tags as `tags` and all of them as `tagsAll`; AWS's own stay out."""
    real = {key: value for key, value in (state.get("tags") or {}).items() if not key.startswith("aws:")}
    own, defaults = known.get("tags") or {}, ctx.world.default_tags
    state["tagsAll"] = real
    state["tags"] = {key: value for key, value in real.items() if key in own or defaults.get(key) != value}


def _nested(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _names(resource: Resource, request: Any, given: Inputs, olds: Inputs) -> dict[str, str]:
    """Names for the resource's properties that are named automatically, stable from one deployment to the next."""
    found: dict[str, str] = {}
    for key, prop in resource.table.items():
        if prop.autoname and given.get(key) is None:
            seed = random.Random(request.randomSeed or request.urn)  # noqa: S311 - a name, not a secret
            found[key] = olds.get(key) or f"{request.urn.rsplit('::', 1)[-1]}-{seed.getrandbits(28):07x}"
    return found


def _failure(problem: Problem) -> Any:
    return provider_pb2.CheckFailure(property=problem.path, reason=problem.reason)


_KINDS = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


def _diff_response(resource: Resource, changes: list[Change], old: Inputs, new: Inputs) -> Any:
    replaces = list(dict.fromkeys(change.top for change in changes if change.replace))
    name = resource.name_prop
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if changes else provider_pb2.DiffResponse.DIFF_NONE,
        diffs=list(dict.fromkeys(change.top for change in changes)),
        replaces=replaces,
        deleteBeforeReplace=bool(replaces) and (resource.delete_first or (name is not None and old.get(name) == new.get(name))),
        hasDetailedDiff=True,
        detailedDiff={
            change.path: provider_pb2.PropertyDiff(kind=_KINDS[change.kind, change.replace], inputDiff=True) for change in changes
        },
        stables=[output for output in resource.outputs if output not in resource.volatile],
    )


@contextmanager
def serve(world: World, port: int, resources: Mapping[str, Resource] | None = None) -> Iterator[int]:
    """Serve our own user's engine on 127.0.0.1, until the end of the `with`: calls under way have five seconds then.

    Args:
        world: see `Servicer`.
        port: the port, or 0 for any.
        resources: see `Servicer`.

    Yields:
        The port.

    Raises:
        OSError: the port is in use.
    """
    limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="call"), options=limits)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(world, resources), server)
    with TemporaryDirectory(prefix="amianai-provider-") as folder:
        inner = Path(folder) / "grpc"
        server.add_insecure_port(f"unix:{inner}")
        server.start()
        try:
            with own_user_only(port, inner) as bound:
                yield bound
        finally:
            server.stop(grace=5).wait()
