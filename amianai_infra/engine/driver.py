"""`Engine`: the Pulumi engine on one stack."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from amianai_infra.engine import failures, recovery
from amianai_infra.engine.backend import (
    Clients,
    Deployment,
    FailedCreate,
    RawLock,
    StateFiles,
    StateResource,
    checkpoint_key,
    latest,
    mask,
    open_store,
    secrets_lines,
    stack_outputs,
    state_resources,
    written_at,
)
from amianai_infra.engine.copies import Candidate, Copies
from amianai_infra.engine.display import Display, display_for
from amianai_infra.engine.events import Operation, Record, Summary
from amianai_infra.engine.install import engine_version, ensure_engine
from amianai_infra.engine.locks import Lock, Runs, judge, refuse
from amianai_infra.engine.lookup import FINDERS, Interrupted, Lookup, is_asked_for, removal, shows_late
from amianai_infra.engine.plugin import ensure_plugin, plugin_version
from amianai_infra.engine.process import Completed, alive, environment, run
from amianai_infra.engine.watch import PATIENCE, Watch
from amianai_infra.errors import AmianaiError, ConfigurationError, EngineError, NotFoundError, RefusedError, UnreachableError
from amianai_infra.folders import cache_folder
from amianai_infra.naming import TAG_URN, urn_tag
from amianai_infra.printing import under
from amianai_infra.progress import Progress, Task, duration
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

    Attributes:
        look_every: seconds between two looks at where the state is kept, during an operation; its own measure where None.
        patience: seconds that it may be silent before that is shown.
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
        self._looked = False
        self._patience = CONSISTENCY
        self._clashed = False
        self._rehearses = False
        self.look_every: float | None = None
        self.patience = PATIENCE

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
    def _copies(self) -> Copies:
        if self._files is None:
            raise ConfigurationError(
                "The copies of this state can be reached by its own service alone.",
                where=self.environment.backend_url,
                fix="`pulumi stack history` and `pulumi stack export --version` of that service restore one",
            )
        return Copies(self._files, self.environment.project, self.environment.stack)

    @cached_property
    def _runs(self) -> Runs:
        return Runs(cache_folder(self._environ) / "runs")

    # -- the stack and its configuration

    def exists(self) -> bool:
        """Whether the stack was created."""
        return (self._checkpoint() if self._files else self._export()) is not None

    def reach(self) -> None:
        """Have the engine itself open the state's backend, with its own credentials and its own way there. No bucket yet is an answer, too.

        Raises:
            AmianaiError: it comes to nothing.
        """
        ended = self._run([*_QUIETLY, "whoami"])
        if ended.code != 0 and "NoSuchBucket" not in ended.stderr:
            raise failures.command_failure("Opening the state's backend through the engine", ended)

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
        if self._files:
            self._files.mend()
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

    def foresee(self) -> tuple[Summary, list[recovery.Existing]]:
        """What `up` would change once the state knows again what it lost; and what that is. It adopts it: meant for a copy.

        Only what would be created is looked for. What depends on something else that was lost comes after it, with inputs that are known.

        Raises:
            RefusedError: something exists, and cannot be adopted.
        """
        adopted: list[recovery.Existing] = []
        gone: dict[str, set[str]] = {}
        while True:
            plan = self.preview()
            found = self._existing(plan.creates, gone)
            if not found:
                return plan, adopted
            tried = [one for one in found if one.whole] or found
            known = self.adopt(tried)
            adopted += known
            for one in tried:
                if one not in known:
                    gone.setdefault(one.urn, set()).add(one.id)

    def _existing(self, creates: Sequence[Mapping[str, Any]], gone: Mapping[str, set[str]]) -> list[recovery.Existing]:
        asked = [one for one in creates if is_asked_for(one["type"])]
        if not asked or self._clients is None:
            return []
        deployment = self._deployment() or {}
        lookup = self._lookup(self._clients)
        found: list[recovery.Existing] = []
        strays: list[str] = []
        with self._progress.task("Looking for what would be created") as task:
            for resource in asked:
                task.say(resource["urn"].rpartition("::")[2])
                question = recovery.planned(resource, deployment, gone.get(resource["urn"], ()))
                ids = lookup.find(question)
                lines = [f"{recovery.title(question.urn)}: {one}: {removal(question, one)}" for one in ids]
                if not recovery.has_place(resource, deployment):
                    strays += lines
                elif ids:
                    found.append(recovery.Existing(resource, ids[0], tuple(lines[1:])))
        if strays:
            raise RefusedError(
                "These exist in AWS already, and the state knows neither them nor what they belong to: `up` would make second ones.",
                details=strays,
                where=f"state of {self.environment.project}/{self.environment.stack}",
                fix="`amianai state copies` lists the state's copies, and `state restore` puts back one that knows them; or remove them",
            )
        return found

    def adopt(self, found: Sequence[recovery.Existing]) -> list[recovery.Existing]:
        """Take what exists into the state, and read it; those that were really there."""
        if not found:
            return []
        self._edit(lambda deployment: recovery.adopted(deployment, found))
        self._read(one.urn for one in found)
        known = {entry.urn for entry in self.resources()}
        return [one for one in found if one.urn in known]

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
            other._patience = 0.0
            other._rehearses = True
            if self._files and other._files and (failed := self._files.failed()):
                other._files.keep_failed(failed)
            other._runs = Runs(folder / "runs")
            if done := other.recover():
                self._progress.note("A run was killed. `up` would begin with what it left behind:")
                for line in done:
                    self._progress.note(f"  {line}")
            yield other

    def _checkpoint(self) -> bytes | None:
        """The state as it lies there. The first look makes sure that it is the one that was written last.

        Raises:
            RefusedError: it is gone, damaged or older than its history.
            LockedError: it is, while somebody else is working on the stack.
        """
        if self._files:
            data = self._files.checkpoint()
            if not self._looked and self._copies.fault(data):
                if held := self._foreign_locks():
                    raise refuse(held[0])
                data = self._files.checkpoint()  # a run elsewhere may have ended between the two looks
                if fault := self._copies.fault(data):
                    raise self._copies.refuse(fault)
            self._looked = True
            return data
        exported = self._export()
        if exported is None:
            return None
        name = f"organization/{self.environment.project}/{self.environment.stack}"
        return json.dumps({"version": exported["version"], "checkpoint": {"stack": name, "latest": exported["deployment"]}}).encode()

    def up(self, targets: Sequence[str] = (), exclude: Sequence[str] = ()) -> Summary:
        """Make the stack what the program says.

        Args:
            targets: URNs to limit it to, `**` stands for anything; what does not exist yet needs its parents named too.
            exclude: URNs to leave as they are, in the same form.
        """
        for _ in range(_ROUNDS):
            try:
                return self._operate("up", targets=targets, extra=_excluding(exclude))
            except EngineError:
                if not self._clashed:
                    raise
            self._progress.note("What was said to exist already is this stack's own: it was adopted, going on.")
        return self._operate("up", targets=targets, extra=_excluding(exclude))

    def refresh(self) -> Summary:
        """Read what is really there into the state."""
        return self._operate("refresh", needs_stack=True)

    def destroy(self, exclude: Sequence[str] = ()) -> Summary:
        """Delete the stack's resources.

        Args:
            exclude: URNs that stay, with everything they depend on.
        """
        return self._operate("destroy", extra=_excluding(exclude), needs_stack=True)

    def _operate(
        self,
        operation: Operation,
        *,
        targets: Sequence[str] = (),
        extra: Sequence[str] = (),
        needs_stack: bool = False,
        recover: bool = True,
    ) -> Summary:
        if operation != "preview":
            self._require_room()
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
        watch = Watch(self._files, self.look_every, self.patience)
        display.begin(record)
        summary: Summary | None = None
        try:
            with watch.looking():
                ended = self._run_program(operation, record, display, version, targets, extra, watch)
            if ended.code == 0:
                summary = record.summary()
        finally:
            display.end(summary)
            trouble = watch.trouble()
            self._put_back()
            failed = self._keep_failed(record, trouble) if summary is None and operation == "up" else []
        if summary is None:
            raise self._failed_with(operation, record, ended, failed, trouble)
        for warning in record.warnings:
            self._progress.note(under("warning: ", warning))
        return summary

    def _require_room(self) -> None:
        try:
            if self._files:
                self._files.require_room()
        except EngineError:
            if held := self._foreign_locks():
                raise refuse(held[0]) from None
            raise

    def _put_back(self) -> None:
        """A disk that is full leaves a state that was cut off: what was whole last takes its place."""
        try:
            if self._files and self._files.put_back():
                self._progress.note("The state could not be written to its end: the last one that was whole is in its place again.")
        except AmianaiError as error:
            self._progress.note(f"The state is damaged ({error.where}); `amianai state restore` puts the last whole one back.")

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
        watch: Watch,
    ) -> Completed:
        from amianai_infra.engine.automation import operate

        self._error = None

        def tick() -> None:
            record.waiting = watch.trouble()
            display.tick()

        def runner(arguments: Sequence[str]) -> Completed:
            return self._run(arguments, tick=tick, interrupted=lambda: display.note(_STOPPING))

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

    def _failed_with(
        self, operation: Operation, record: Record, ended: Completed | None, failed: Sequence[FailedCreate], trouble: str
    ) -> AmianaiError:
        """The error of an operation; what a creation that failed has made all the same is looked for first."""
        error = self._failure(operation, record, ended)
        if trouble:  # nobody can look, and nobody knows what the state says
            return failures.without_state(error, record, trouble)
        try:
            held = self._foreign_locks()
        except AmianaiError as unreachable:
            return failures.without_state(error, record, f"{unreachable.what} {unreachable.where}")
        if held and error.exit_code == refuse(held[0]).exit_code:
            return refuse(held[0])
        self._clashed = self._adopt_failed(failed)
        return error

    def _failure(self, operation: Operation, record: Record, ended: Completed | None) -> AmianaiError:
        if isinstance(self._error, AmianaiError):
            return self._error
        return failures.failure(operation, record, ended or Completed("", "", 1))

    def _keep_failed(self, record: Record, trouble: str) -> list[FailedCreate]:
        """Note the creations that failed beside the state: it forgets them, and they may exist."""
        if self._clients is None:
            return []  # nobody could look them up
        failed = [_failed(resource, record.said(urn), urn in record.replacing) for urn, resource in record.failed_creates.items()]
        if failed and self._files:
            try:
                if trouble:
                    raise UnreachableError(trouble)
                self._files.keep_failed(failed)
            except AmianaiError as error:
                self._progress.note(f"It could not be noted what failed ({error.what}): look for these before the next run:")
                for one in failed:
                    self._progress.note(f"  {recovery.title(one.urn)}: tag {TAG_URN} = {urn_tag(one.urn)}")
        return failed

    def _adopt_failed(self, failed: Sequence[FailedCreate]) -> bool:
        """Look at once for what a creation that failed may have made; whether all that failed existed already and was ours."""
        if not (failed and self._files):
            return False
        try:
            self._recover_aloud(patience=0.0)
        except AmianaiError as error:
            self._progress.note(f"Whether what failed was made all the same could not be found out ({error.what}); the next run looks.")
            return False
        known = {entry.urn for entry in self.resources()}
        return any(one.clash for one in failed) and all(one.urn in known for one in failed)

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

    def secrets_lines(self) -> dict[str, str]:
        """The lines of the stack file that name the key of the state's secrets, as the state has them."""
        return secrets_lines(self._deployment() or {})

    def superseded(self) -> list[StateResource]:
        """Resources that were replaced and still wait for their deletion, because the operation that replaced them did not end well."""
        return state_resources(self._deployment() or {}, superseded=True)

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

    def take_back(self, identifier: str) -> None:
        """Undo a replacement that ended half-way: what was replaced counts again, and `up` deletes what was made instead."""
        self._edit(lambda deployment: recovery.take_back(deployment, identifier))

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
            try:
                return latest(self._checkpoint(), self._files.address)
            except EngineError:
                if held := self._foreign_locks():
                    raise refuse(held[0]) from None
                raise
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

    # -- copies of the state

    def copies(self) -> list[Candidate]:
        """Every copy of the state that the backend has, newest first."""
        return self._copies.candidates(None)

    def state_at_hand(self) -> str:
        """Where the state lies and what is there now, for a person."""
        return self._copies.at_hand()

    def copy_called(self, name: str | None) -> Candidate:
        """A whole copy of the state: the one of that name, or the newest; `present` is what is there now.

        Raises:
            NotFoundError: there is none.
            RefusedError: it is damaged.
        """
        return self._copies.choose(name)

    def restore(self, chosen: Candidate) -> str:
        """Put a copy of the state in its place, and know it as the last from here on; where what was there is kept, if anything was.

        Raises:
            LockedError: somebody else is working on the stack.
            EngineError: what lies there afterwards is not what was put there.
        """
        copies = self._copies
        for line in self._settle_locks():
            self._progress.note(line)
        return copies.restore(chosen, self._require_alone)

    def _require_alone(self, key: str) -> None:
        """Refuse when there is another lock than ours: both of two that take one at the same moment step back, as the engine does."""
        if others := [lock for lock in self.locks() if lock.key != key]:
            raise refuse(others[0])

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

    def _recovered(self, patience: float | None = None) -> tuple[list[str], Deployment | None]:
        done = self._settle_locks()
        if self._files:
            self._files.mend()
        deployment = self._deployment()
        self._size = sum(1 for entry in (deployment or {}).get("resources", []) if recovery.is_real(entry))
        noted = self._files.failed() if deployment and self._files else []
        failed = recovery.unrecorded(deployment or {}, noted)
        if deployment and (leftovers := recovery.survey(recovery.with_failed(deployment, [one.resource for one in failed]))):
            hasty = patience is not None and not deployment.get("pending_operations")
            done += self._repair(leftovers, deployment, failed, patience if patience is not None and hasty else self._patience)
        elif noted and self._files:
            self._files.keep_failed([])
        return done, deployment

    def _recover_aloud(self, patience: float | None = None) -> bool:
        """Recover and say what was done; whether there is a stack."""
        done, deployment = self._recovered(patience)
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

    def _repair(self, leftovers: recovery.Leftovers, deployment: Deployment, failed: Sequence[FailedCreate], patience: float) -> list[str]:
        done: list[str] = []
        unsure = {one.urn: one.at for one in failed if one.unsure}
        certain = {one.urn for one in failed} - set(unsure)
        written = written_at(deployment)
        begun = written.timestamp() if written else 0.0
        since = {**{one.urn: begun for one in leftovers.creates}, **unsure, **dict.fromkeys(certain, 0.0)}
        found = self._look_up_all(leftovers.creates, since, patience, done)
        again = [] if patience else [one for one in failed if one.unsure and one.urn not in found and not _settled(one.at)]
        told = {one.urn for one in again} | certain | set(found)
        done += [_NEVER.format(recovery.title(one.urn)) for one in leftovers.creates if one.urn not in told and one.type in FINDERS]
        if found or deployment.get("pending_operations"):
            self._rewrite(lambda fresh: recovery.settle(recovery.with_failed(fresh, [one.resource for one in failed]), found))
        if failed and self._files:
            self._files.keep_failed(again)
        changed = [urn for urn, kind in leftovers.others]
        done += [f"{recovery.title(urn)} was interrupted while {kind}: reading what is there" for urn, kind in leftovers.others]
        done += [f"{recovery.title(urn)} was adopted but not read: reading it now" for urn in leftovers.half]
        known = {entry.urn for entry in self.resources()}
        targets = (set(found) | set(changed) | set(leftovers.half)) & known
        if targets:
            self._read(targets)
        elif leftovers.others and not (leftovers.creates or leftovers.bookkeeping):
            self._rewrite(lambda deployment: recovery.settle(deployment, {}))
        return done

    def _read(self, urns: Iterable[str]) -> None:
        """Finish what was begun of these resources, and read them into the state. A copy of the stack only reads."""
        targets = sorted(urns)
        if self._clients is not None and not self._rehearses:
            lookup = self._lookup(self._clients)
            for resource, identifier in recovery.existing(self._deployment() or {}, targets):
                lookup.complete(resource, identifier)
        self._operate("refresh", targets=targets, recover=False)

    def _lookup(self, clients: Clients) -> Lookup:
        return Lookup(clients, self.environment.variables.get("AWS_REGION", ""))

    def _look_up_all(
        self, resources: Sequence[Interrupted], since: Mapping[str, float], patience: float, done: list[str]
    ) -> dict[str, str]:
        """Ask for as long as a service may not show yet what it made; what was found, by URN."""
        found: dict[str, str] = {}
        missing = list(resources)
        for resource in resources:
            found |= self._look_up(resource, done)
        with ExitStack() as shown:
            task: Task | None = None
            while missing := [one for one in missing if one.urn not in found and shows_late(one.type)]:
                left = max(since[one.urn] + patience - time.time() for one in missing)
                if left <= 0:
                    break
                if task is None:
                    task = shown.enter_context(self._progress.task("Looking for what an interrupted run was creating"))
                task.say(f"{', '.join(one.urn.rpartition('::')[2] for one in missing[:3])}: {duration(left)} at most")
                time.sleep(min(_ASK_EVERY, left))
                for resource in missing:
                    found |= self._look_up(resource, done)
        return found

    def _look_up(self, resource: Interrupted, done: list[str]) -> dict[str, str]:
        name = recovery.title(resource.urn)
        if resource.type not in FINDERS:
            line = f"{name}: its creation was interrupted, and this type cannot be looked up: check in AWS whether it exists"
            done.extend([line] if line not in done else [])
            return {}
        if self._clients is None:
            raise EngineError(
                f"The creation of {name} was interrupted, and AWS cannot be asked about it.", fix="run `amianai up`, which recovers it"
            )
        found = self._lookup(self._clients).find(resource)
        if not found:
            return {}
        done.append(f"{name}: its creation was interrupted; adopted {found[0]}")
        done.extend(f"{name}: {other} carries the same tag and is not in use: {removal(resource, other)}" for other in found[1:])
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


def _settled(at: float) -> bool:
    return time.time() > at + CONSISTENCY


def _failed(resource: dict[str, Any], said: str, replaces: bool) -> FailedCreate:
    clash = bool(failures.EXISTS.search(said))
    return FailedCreate(resource, time.time(), clash or not said or bool(failures.UNSURE.search(said)), clash, replaces)


CONSISTENCY = 30.0
"""Seconds after which a service shows everything that it made, and after which a request that was under way has ended."""

_ASK_EVERY = 2.0
_ROUNDS = 5
_NEVER = "{}: its creation was interrupted before it existed; it will be created again"
_RELEASE = re.compile(r"\d+\.\d+\.\d+")
_QUIETLY = ("--non-interactive", "--color", "never")
_STOPPING = "Stopping: what is under way is finished and saved. Press Ctrl-C again to end it at once."


def _no_stack(name: str) -> NotFoundError:
    return NotFoundError("The stack does not exist.", where=name, fix="run `amianai setup` first")


def _raw(lock: Lock) -> RawLock:
    return RawLock(lock.key, lock.owner, lock.host, lock.pid, lock.since)


def _excluding(urns: Iterable[str]) -> list[str]:
    return [part for urn in urns for part in ("--exclude", urn)]


def _text(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"secure"}:
        return "[secret]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
