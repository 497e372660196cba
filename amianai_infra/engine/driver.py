"""`Engine`: the Pulumi engine on one stack."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from amianai_infra.engine import failures, recovery
from amianai_infra.engine.backend import (
    Clients,
    Deployment,
    RawLock,
    StateFiles,
    StateResource,
    checkpoint_key,
    mask,
    open_store,
    stack_outputs,
    state_resources,
)
from amianai_infra.engine.display import Display, display_for
from amianai_infra.engine.events import Operation, Record, Summary
from amianai_infra.engine.install import engine_version, ensure_engine
from amianai_infra.engine.locks import Lock, Runs, judge, refuse
from amianai_infra.engine.lookup import FINDERS, Interrupted, Lookup
from amianai_infra.engine.plugin import ensure_plugin, plugin_version
from amianai_infra.engine.process import Completed, alive, environment, run
from amianai_infra.errors import AmianaiError, ConfigurationError, EngineError, NotFoundError
from amianai_infra.folders import cache_folder
from amianai_infra.printing import under
from amianai_infra.progress import Progress, duration
from amianai_infra.target import EngineEnvironment


class Engine:
    """The engine on one stack: configure, preview, up, refresh, destroy, and what keeps it healthy.

    Args:
        environment: project folder, backend, variables.
        program: the Pulumi program; it runs in this process.
        progress: where to show what happens.
        binary: the engine, when it is known already; else it is found or installed at first use.
        clients: gives boto3 clients for a service and region; needed to read an S3 backend and to recover after a kill.
        environ: the ambient environment.
        root: the project, whose lock file says which downloads are the right ones; where not given, the engine's own folder.
    """

    def __init__(
        self,
        environment: EngineEnvironment,
        program: Callable[[], None],
        progress: Progress,
        binary: Path | None = None,
        clients: Clients | None = None,
        environ: Mapping[str, str] | None = None,
        root: Path | None = None,
    ) -> None:
        self.environment = environment
        self._root = root or environment.project_dir
        self._program = program
        self._progress = progress
        self._given = binary
        self._clients = clients
        self._environ = dict(os.environ if environ is None else environ)
        self._error: BaseException | None = None
        self._expected = 0
        self._size = 0

    @cached_property
    def binary(self) -> Path:
        """The engine's executable."""
        return self._given or ensure_engine(self._progress, self._root, self._environ)

    @cached_property
    def _env(self) -> dict[str, str]:
        variables = {**self.environment.variables, "PULUMI_BACKEND_URL": self.environment.backend_url}
        return environment(self._environ, self.environment.drop, variables)

    @cached_property
    def _files(self) -> StateFiles | None:
        store = open_store(self.environment, self._clients)
        return StateFiles(store, self.environment.project, self.environment.stack) if store else None

    @cached_property
    def _runs(self) -> Runs:
        return Runs(cache_folder(self._environ) / "runs")

    # -- the stack and its configuration

    def exists(self) -> bool:
        """Whether the stack was created."""
        return self._files.exists() if self._files else self._export() is not None

    def configure(self, values: Mapping[str, str], *, exact: bool = False) -> None:
        """Write stack configuration; creates the stack if absent. Does nothing when it says so already.

        Args:
            values: plain text by full key (`amianai-infra:domainName`).
            exact: also remove the project's keys that are not in `values`.
        """
        self._ensure_stack()
        present = self.configuration()
        changed = {key: value for key, value in values.items() if present.get(key) != value}
        if changed:
            pairs = [part for key, value in changed.items() for part in ("--plaintext", f"{key}={value}")]
            self._command("Writing the stack configuration", "config", "set-all", *pairs)
        own = f"{self.environment.project}:"
        stale = [key for key in present if exact and key.startswith(own) and key not in values]
        if stale:
            self._command("Writing the stack configuration", "config", "rm-all", *stale)

    def configuration(self) -> dict[str, str]:
        """The stack's configuration as text; encrypted values as `[secret]`, structured ones as JSON."""
        import yaml

        path = self.environment.project_dir / f"Pulumi.{self.environment.stack}.yaml"
        try:
            content = yaml.safe_load(path.read_text()) or {}
        except FileNotFoundError:
            return {}
        except yaml.YAMLError as error:
            raise ConfigurationError("The stack file cannot be understood.", where=f"{path}: {error}", fix="correct its YAML") from error
        return {key: _text(value) for key, value in (content.get("config") or {}).items()}

    def _ensure_stack(self) -> None:
        if not self.exists():
            self._create_stack()

    def _create_stack(self) -> None:
        name, secrets = self.environment.stack, self.environment.secrets_provider
        self._command("Creating the stack", "stack", "init", name, "--no-select", "--secrets-provider", secrets, stack=False)

    # -- operations

    def preview(self, targets: Sequence[str] = ()) -> Summary:
        """What `up` would change, found out on a copy: nothing is written, and a stack that does not exist yet is not created."""
        with self.copy() as other:
            summary = other._operate("preview", targets=targets)
        self._expected = sum(summary.counts.values())
        return summary

    @contextmanager
    def copy(self) -> Iterator[Engine]:
        """The same stack in a temporary folder, to find out what would happen.

        What is written to the copy (configuration, state, a lock) leaves no trace in the stack. What a killed run left behind is
        brought into order in the copy alone, and said, as `up` would begin with it.

        Yields:
            An engine on the copy.

        Raises:
            LockedError: somebody else is changing the stack.
        """
        self._settle_locks(release=False)
        with tempfile.TemporaryDirectory(prefix="amianai-") as name:
            folder = Path(name)
            environment = replace(self.environment.in_folder(folder), backend_url=f"file://{folder}")
            checkpoint = self._checkpoint()
            if checkpoint is not None:
                file = folder / checkpoint_key(environment.project, environment.stack)
                file.parent.mkdir(parents=True)
                file.write_bytes(checkpoint)
            other = Engine(environment, self._program, self._progress, self._given, self._clients, self._environ, self._root)
            other._runs = Runs(folder / "runs")
            if done := other.recover():
                self._progress.note("A run was killed. `up` would begin with what it left behind:")
                for line in done:
                    self._progress.note(f"  {line}")
            yield other

    def _checkpoint(self) -> bytes | None:
        if self._files:
            return self._files.checkpoint()
        exported = self._export()
        if exported is None:
            return None
        name = f"organization/{self.environment.project}/{self.environment.stack}"
        return json.dumps({"version": exported["version"], "checkpoint": {"stack": name, "latest": exported["deployment"]}}).encode()

    def up(self, targets: Sequence[str] = ()) -> Summary:
        """Make the stack what the program says.

        Args:
            targets: URNs to limit it to, `**` stands for anything; what does not exist yet needs its parents named too.
        """
        return self._operate("up", targets=targets)

    def refresh(self) -> Summary:
        """Read what is really there into the state."""
        return self._operate("refresh", needs_stack=True)

    def destroy(self, exclude: Sequence[str] = ()) -> Summary:
        """Delete the stack's resources.

        Args:
            exclude: URNs that stay, with everything they depend on.
        """
        extra = [part for urn in exclude for part in ("--exclude", urn)]
        return self._operate("destroy", extra=extra, needs_stack=True)

    def _operate(
        self,
        operation: Operation,
        *,
        targets: Sequence[str] = (),
        extra: Sequence[str] = (),
        needs_stack: bool = False,
        recover: bool = True,
    ) -> Summary:
        if operation != "preview" and self._files:
            self._files.require_room()
        if recover and not self._recover_aloud():
            if needs_stack:
                raise _no_stack(self.environment.stack)
            self._create_stack()
        version = engine_version(self.binary, self._environ)  # installs it if need be, before anything is drawn
        self._ensure_plugins()
        display = display_for(self._progress)
        expected = len(targets) or self._expected or self._size
        record = Record(operation, expected, display.changed)
        ended: Completed | None = None
        display.begin(record)
        summary: Summary | None = None
        try:
            ended = self._run_program(operation, record, display, version, targets, extra)
            if ended.code == 0:
                summary = record.summary()
        finally:
            display.end(summary)
        if summary is None:
            raise self._failure(operation, record, ended)
        for warning in record.warnings:
            self._progress.note(under("warning: ", warning))
        return summary

    def _ensure_plugins(self) -> None:
        """The provider of the program and those that the state's resources were last changed with; none beside an attached one."""
        if self._env.get("PULUMI_DEBUG_PROVIDERS"):
            return
        stated = {str(entry.inputs.get("version", "")) for entry in self.resources() if entry.type == "pulumi:providers:aws"}
        for version in sorted({plugin_version(), *filter(_RELEASE.fullmatch, stated)}):
            ensure_plugin(self._progress, self.binary, self._root, self._env, version)

    def _run_program(
        self,
        operation: Operation,
        record: Record,
        display: Display,
        version: str,
        targets: Sequence[str],
        extra: Sequence[str],
    ) -> Completed:
        from amianai_infra.engine.automation import operate

        self._error = None

        def runner(arguments: Sequence[str]) -> Completed:
            return self._run(arguments, tick=display.tick, interrupted=lambda: display.note(_STOPPING))

        return operate(
            operation,
            stack=self.environment.stack,
            project_dir=self.environment.project_dir,
            program=self._watched_program,
            version=version,
            runner=runner,
            record=record,
            targets=targets,
            extra=extra,
        )

    def _watched_program(self) -> None:
        """The program; what it raises is kept, because the engine passes on only text."""
        try:
            self._program()
        except Exception as error:
            self._error = error
            raise

    def _failure(self, operation: Operation, record: Record, ended: Completed | None) -> AmianaiError:
        if isinstance(self._error, AmianaiError):
            return self._error
        held = self._foreign_locks()
        error = failures.failure(operation, record, ended or Completed("", "", 1))
        return refuse(held[0]) if held and error.exit_code == refuse(held[0]).exit_code else error

    # -- what the state says

    def outputs(self) -> dict[str, Any]:
        """The program's exports; empty before the first `up`."""
        deployment = self._deployment()
        exported = stack_outputs(deployment or {})
        if mask(exported) == exported:
            return exported
        ended = self._command("Reading the stack's outputs", "stack", "output", "--json", "--show-secrets")
        return dict(json.loads(ended.stdout))

    def resources(self) -> list[StateResource]:
        """The stack's resources as the state knows them, secrets masked; empty when there is no stack."""
        return state_resources(self._deployment() or {})

    def forget(self, urns: Iterable[str]) -> None:
        """Drop resources from the state; nothing is deleted in AWS.

        Raises:
            RefusedError: something that stays belongs to something that goes.
        """
        wanted = set(urns)
        if wanted:
            self._edit(lambda deployment: recovery.forget(deployment, wanted))

    def unprotect(self, urns: Iterable[str]) -> None:
        """Lift the engine's own protection, so that `destroy` may delete these resources."""
        wanted = {entry.urn for entry in self.resources() if entry.protect} & set(urns)
        if wanted:
            self._edit(lambda deployment: recovery.unprotect(deployment, wanted))

    def stand_for(self, urn: str, identifier: str) -> None:
        """Let a resource of the state stand for another one in AWS, and read that one. May be repeated after a kill.

        Args:
            urn: the resource.
            identifier: what the provider knows the other one by.
        """
        if any(entry.urn == urn and entry.id != identifier for entry in self.resources()):
            self._edit(lambda deployment: recovery.stand_for(deployment, urn, identifier))
        self._operate("refresh", targets=[urn], needs_stack=True)

    def _deployment(self) -> Deployment | None:
        if self._files:
            return self._files.deployment()
        exported = self._export()
        return exported["deployment"] if exported else None

    def _export(self) -> dict[str, Any] | None:
        """The whole state through the engine; None when there is no stack."""
        ended = self._run([*_QUIETLY, "stack", "export", "--stack", self.environment.stack])
        if ended.code == 0:
            return dict(json.loads(ended.stdout))
        if "no stack named" in ended.stderr:
            return None
        raise failures.command_failure("Reading the stack's state", ended)

    def _edit(self, change: Callable[[Deployment], Deployment]) -> None:
        """Change the state through the engine, which checks it and takes the lock."""
        self._recover_aloud()
        self._rewrite(change)

    def _rewrite(self, change: Callable[[Deployment], Deployment]) -> None:
        exported = self._export()
        if exported is None:
            raise _no_stack(self.environment.stack)
        exported["deployment"] = change(exported["deployment"])
        self._command("Writing the stack's state", "stack", "import", stdin=json.dumps(exported))

    # -- locks and recovery

    def locks(self) -> list[Lock]:
        """Who holds the stack's lock, oldest first; empty for backends that only the engine can read."""
        return [self._judged(raw) for raw in self._raw_locks()]

    def _judged(self, raw: RawLock) -> Lock:
        """A state directory is used by the processes of one machine; a bucket's lock may be another machine's of the same name."""
        local = self.environment.backend_url.startswith("file://")
        return judge(raw, here=local or self._runs.ran(raw.pid, raw.since.timestamp()))

    def unlock(self, lock: Lock) -> None:
        """Release a lock, whoever holds it."""
        if self._files:
            self._files.remove_lock(lock.key)

    def recover(self) -> list[str]:
        """Bring a stack that a killed run left behind into order; what was done, one line each.

        Releases locks of dead processes, waits for an engine that outlived the command which started it, adopts resources whose
        creation was interrupted and reads again what was being changed. On a healthy stack it costs a look at two files.

        Raises:
            LockedError: somebody else is working on the stack.
        """
        return self._recovered()[0]

    def _recovered(self) -> tuple[list[str], Deployment | None]:
        done = self._settle_locks()
        deployment = self._deployment()
        self._size = sum(1 for entry in (deployment or {}).get("resources", []) if recovery.is_real(entry))
        if deployment and (leftovers := recovery.survey(deployment)):
            done += self._repair(leftovers)
        return done, deployment

    def _recover_aloud(self) -> bool:
        """Recover and say what was done; whether there is a stack."""
        done, deployment = self._recovered()
        for line in done:
            self._progress.note(line)
        return deployment is not None

    def _raw_locks(self) -> list[RawLock]:
        return self._files.locks() if self._files else []

    def _foreign_locks(self) -> list[Lock]:
        return [lock for lock in self.locks() if lock.alive is not False]

    def _settle_locks(self, *, release: bool = True) -> list[str]:
        done = []
        for lock in self.locks():
            if lock.alive and self._runs.orphaned(lock.pid):
                self._wait_for(lock)
                lock = self._judged(next((raw for raw in self._raw_locks() if raw.key == lock.key), _raw(lock)))  # noqa: PLW2901
            if lock.alive is not False:
                raise refuse(lock)
            if release and any(raw.key == lock.key for raw in self._raw_locks()):
                self.unlock(lock)
                done.append(f"released the lock of {lock}: that process is gone")
        return done

    def _wait_for(self, lock: Lock) -> None:
        """An engine whose command was killed finishes what is under way, saves its state and ends by itself."""
        with self._progress.task("Waiting for the engine of a killed run to finish what it had begun") as task:
            while alive(lock.pid):
                task.say(f"process {lock.pid}, for {duration(time.time() - lock.since.timestamp())}")
                time.sleep(0.2)

    def _repair(self, leftovers: recovery.Leftovers) -> list[str]:
        done: list[str] = []
        found: dict[str, str] = {}
        for resource in leftovers.creates:
            found |= self._look_up(resource, done)
        if leftovers.creates or leftovers.bookkeeping:
            self._rewrite(lambda deployment: recovery.settle(deployment, found))
        changed = [urn for urn, kind in leftovers.others]
        done += [f"{recovery.title(urn)} was interrupted while {kind}: reading what is there" for urn, kind in leftovers.others]
        done += [f"{recovery.title(urn)} was adopted but not read: reading it now" for urn in leftovers.half]
        known = {entry.urn for entry in self.resources()}
        targets = sorted((set(found) | set(changed) | set(leftovers.half)) & known)
        if targets:
            self._operate("refresh", targets=targets, recover=False)
        elif leftovers.others and not (leftovers.creates or leftovers.bookkeeping):
            self._rewrite(lambda deployment: recovery.settle(deployment, {}))
        return done

    def _look_up(self, resource: Interrupted, done: list[str]) -> dict[str, str]:
        name = recovery.title(resource.urn)
        if resource.type not in FINDERS:
            done.append(f"{name}: its creation was interrupted, and this type cannot be looked up: check in AWS whether it exists")
            return {}
        if self._clients is None:
            raise EngineError(
                f"The creation of {name} was interrupted, and AWS cannot be asked about it.", fix="run `amianai up`, which recovers it"
            )
        found = Lookup(self._clients, self.environment.variables.get("AWS_REGION", "")).find(resource)
        if not found:
            done.append(f"{name}: its creation was interrupted before it existed; it will be created again")
            return {}
        done.append(f"{name}: its creation was interrupted; adopted {found[0]}")
        done.extend(f"{name}: {other} carries the same tag and is not in use; delete it" for other in found[1:])
        return {resource.urn: found[0]}

    # -- running the engine

    def _command(self, doing: str, *arguments: str, stdin: str | None = None, stack: bool = True) -> Completed:
        selected = ["--stack", self.environment.stack] if stack else []
        ended = self._run([*_QUIETLY, *arguments, *selected], stdin=stdin)
        if ended.code != 0:
            held = self._foreign_locks()
            raise refuse(held[0]) if held and "currently locked" in ended.stderr else failures.command_failure(doing, ended)
        return ended

    def _run(
        self,
        arguments: Sequence[str],
        *,
        stdin: str | None = None,
        tick: Callable[[], None] = lambda: None,
        interrupted: Callable[[], None] = lambda: None,
    ) -> Completed:
        env = dict(self._env)
        if "--event-log" in arguments:
            env["PULUMI_DEBUG_COMMANDS"] = "true"  # that flag exists only with it
        ended = run(
            [self.binary, *arguments],
            cwd=self.environment.project_dir,
            env=env,
            stdin=stdin,
            tick=tick,
            interrupted=interrupted,
            started=self._runs.record,
        )
        if ended.code == 0:
            self._runs.forget(ended.pid)
        return ended


_RELEASE = re.compile(r"\d+\.\d+\.\d+")
_QUIETLY = ("--non-interactive", "--color", "never")
_STOPPING = "Stopping: what is under way is finished and saved. Press Ctrl-C again to end it at once."


def _no_stack(name: str) -> NotFoundError:
    return NotFoundError("The stack does not exist.", where=name, fix="run `amianai setup` first")


def _raw(lock: Lock) -> RawLock:
    return RawLock(lock.key, lock.owner, lock.host, lock.pid, lock.since)


def _text(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"secure"}:
        return "[secret]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
