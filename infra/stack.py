"""The local stack: an object store (SeaweedFS), MLflow and a Ray head on loopback, for the demo and the tests.

    python -m infra.stack start --dir .local            # servers go on running; prints where they are
    eval "$(python -m infra.stack env --dir .local)"    # this shell now talks to them
    python -m infra.stack status --dir .local
    python -m infra.stack stop --dir .local

Everything lies in the folder, which is its owner's alone: data, logs/, keys.json (random, made once) and stack.json
(addresses, pids, environment). Data outlives a stop. Other users of the machine get nothing from the servers' ports.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from infra import ports as port_choice
from infra import services
from infra.keys import Keys, private_folder, read_or_make, write_private
from infra.process import Service, end, spawn, wait_until_ready

ORDER = ("s3", "mlflow", "ray")
NEEDS = {"s3": ("s3",), "mlflow": ("s3", "mlflow"), "ray": ("s3", "ray")}
PATIENCE_S = {"s3": 60.0, "mlflow": 150.0, "ray": 150.0}


class Stack:
    """Servers of one folder. Two stacks in two folders do not meet.

    Args:
        folder: where data, logs and the state file lie; made when absent.
        ports: port by name (see `services.PORTS`); the rest are free ones.
        cpus: logical CPUs that Ray may plan with.
    """

    def __init__(self, folder: Path | str, *, ports: dict[str, int] | None = None, cpus: int = 4) -> None:
        self.folder = Path(folder).resolve()
        self.cpus = cpus
        self._wanted_ports = ports
        self._guard: subprocess.Popen[bytes] | None = None
        self.ports: dict[str, int] = {}
        self.running: dict[str, Service] = {}
        self.ray_sessions: Path | None = None
        self._load()

    @property
    def state_file(self) -> Path:
        """Addresses, pids and the environment, for whoever comes later."""
        return self.folder / "stack.json"

    @property
    def keys(self) -> Keys:
        """The secrets that its servers ask for."""
        return read_or_make(self.folder)

    @property
    def env(self) -> dict[str, str]:
        """Environment of a client: object store, MLflow, Ray's job server."""
        return services.client_environment(self.ports, self.keys)

    @property
    def ray_address(self) -> str:
        """Address for `ray.init`; `env["RAY_ADDRESS"]` is the one for job submission."""
        return f"{services.RAY_HOST}:{self.ports['gcs']}"

    @property
    def logs(self) -> Path:
        """Folder of all logs."""
        return self.folder / "logs"

    def start(self, wanted: Iterable[str] = ORDER, *, guarded: bool = False) -> Self:
        """Start what is wanted and does not run yet, and what that needs; return when all of it answers.

        Args:
            wanted: names out of `ORDER`.
            guarded: end the servers when this process ends, however it ends.

        Raises:
            ValueError: if a name is unknown, or a chosen port is taken or not the one that running servers have.
            RuntimeError: if a server does not come up; the servers started by this call are ended again.
        """
        wanted = tuple(wanted)
        if unknown := set(wanted) - set(ORDER):
            raise ValueError(f"no service is called {', '.join(sorted(unknown))}; the names are {', '.join(ORDER)}")
        needed = {name for service in wanted for name in NEEDS[service]}
        if not self.running:
            self.ports = port_choice.choose(services.PORTS, self._wanted_ports)
        for name, port in (self._wanted_ports or {}).items():
            if self.ports.get(name) != port:
                raise ValueError(
                    f"port {name}={port} cannot be chosen while servers of {self.folder} run (it is "
                    f"{self.ports.get(name, 'no name of a port')}); stop them first"
                )
        private_folder(self.folder)
        fresh = [name for name in ORDER if name in needed and name not in self.running]
        try:
            for name in fresh:
                self._spawn(name, guarded)
            for name in fresh:
                wait_until_ready(self.running[name], self._readiness(name), seconds=PATIENCE_S[name])
        except BaseException:
            end([self.running.pop(name) for name in fresh if name in self.running], seconds=0)
            self._save()
            raise
        return self

    def stop(self, *, patience_s: float = 20.0) -> list[str]:
        """End the servers by pid and return the names of those that ran. With 0 s they are killed at once."""
        ended = end([self.running[name] for name in reversed(ORDER) if name in self.running], seconds=patience_s)
        if "ray" in self.running:
            self._keep_ray_logs()
        services.remove_sockets(self.ports)
        self.running = {}
        self._save()
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait(timeout=30)
            self._guard = None
        return ended

    def status(self) -> dict[str, str]:
        """One word a service: `runs`, `ended` (it was started and died) or `off`."""
        return {
            name: "off" if name not in self.running else "runs" if self.running[name].process else "ended"
            for name in ORDER
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, name: str, guarded: bool) -> None:
        env = services.server_environment(self.ports, self.keys)
        if name == "s3":
            command = services.object_store_command(self.folder, self.ports, self.keys)
            env |= services.object_store_environment(self.folder, self.keys)
        elif name == "mlflow":
            command = services.mlflow_command(self.folder, self.ports)
            env |= services.mlflow_environment(self.folder, self.keys)
        else:
            self.ray_sessions = services.make_ray_folder()
            command = services.ray_command(self.ray_sessions, self.ports, self.cpus)
        self.running[name] = spawn(name, command, log=self.logs / f"{name}.log", env=env)
        self._save()
        if guarded and self._guard is None:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "infra.stack", "guard", f"--dir={self.folder}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _readiness(self, name: str) -> Callable[[], bool]:
        return {
            "s3": lambda: services.bucket_is_writable(self.ports, self.keys),
            "mlflow": lambda: services.answers(f"{self.env['MLFLOW_TRACKING_URI']}/health"),
            "ray": lambda: services.answers(f"{self.env['RAY_ADDRESS']}/api/jobs/", token=self.keys.ray),
        }[name]

    def _keep_ray_logs(self) -> None:
        sessions, kept = self.ray_sessions, self.logs / "ray"
        if sessions is None:
            return
        shutil.rmtree(kept, ignore_errors=True)
        if (sessions / "session_latest" / "logs").is_dir():
            shutil.copytree(sessions / "session_latest" / "logs", kept, symlinks=True, ignore_dangling_symlinks=True)
        shutil.rmtree(sessions.parent, ignore_errors=True)
        self.ray_sessions = None

    def _save(self) -> None:
        if not self.running:
            self.state_file.unlink(missing_ok=True)
            return
        state = {
            "ports": self.ports,
            "services": {name: asdict(service) for name, service in self.running.items()},
            "env": self.env,
            "ray_address": self.ray_address,
            "ray_sessions": str(self.ray_sessions) if self.ray_sessions else None,
        }
        write_private(self.state_file, json.dumps(state, indent=2))

    def _load(self) -> None:
        if not self.state_file.is_file():
            return
        state = json.loads(self.state_file.read_text())
        found = {name: Service(**service) for name, service in state["services"].items()}
        self.running = {name: service for name, service in found.items() if service.process is not None}
        self.ports = state["ports"] if self.running else {}
        if self.running and state.get("ray_sessions"):
            self.ray_sessions = Path(state["ray_sessions"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.stack", description="The local stack, on loopback.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("start", "start the servers and leave them running"),
        ("stop", "end them by pid"),
        ("status", "say what runs, and where"),
        ("env", 'print the environment for a shell: eval "$(... env)"'),
        ("guard", "wait for the end of standard input, then stop"),
    ):
        command = verbs.add_parser(verb, help=text)
        command.add_argument("--dir", type=Path, default=Path(".local"), help="folder of data, logs and state")
        if verb == "start":
            command.add_argument("--only", default=",".join(ORDER), help="services, e.g. s3,mlflow")
            command.add_argument("--ports", default="", help="e.g. s3=8333,mlflow=5000,dashboard=8265")
            command.add_argument("--cpus", type=int, default=4, help="logical CPUs for Ray")
    return parser


def _ports(text: str) -> dict[str, int]:
    try:
        return {name: int(port) for name, port in (pair.split("=") for pair in text.split(",") if pair)}
    except ValueError as error:
        raise ValueError(f"--ports takes name=number pairs joined by commas, not {text!r}") from error


def report(stack: Stack) -> str:
    """A few lines for a person: what runs, where, and where the logs are."""
    where = (
        {
            "s3": f"{stack.env['AWS_ENDPOINT_URL']} (bucket {services.BUCKET})",
            "mlflow": stack.env["MLFLOW_TRACKING_URI"],
            "ray": f"{stack.env['RAY_ADDRESS']} (dashboard and jobs), {stack.ray_address} (drivers)",
        }
        if stack.running
        else {}
    )
    lines = [f"{name:8}{word:8}{where.get(name, '')}".rstrip() for name, word in stack.status().items()]
    keys = f"keys    {stack.folder / 'keys.json'} (MLflow: user {services.USER} and password; Ray's dashboard: token)"
    return "\n".join([*lines, f"logs    {stack.logs}", *([keys] if stack.running else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; 0 when done, 1 with one line on standard error when not."""
    options = _parser().parse_args(arguments)
    try:
        if options.verb == "start":
            stack = Stack(options.dir, ports=_ports(options.ports), cpus=options.cpus)
            print(report(stack.start(tuple(filter(None, options.only.split(","))))))
            return 0
        stack = Stack(options.dir)
        if options.verb == "status":
            print(report(stack))
            return 0 if stack.running else 1
        if options.verb == "env":
            if not stack.running:
                raise RuntimeError(f"nothing runs in {stack.folder}; run `python -m infra.stack start` first")
            print("\n".join(f"export {key}={shlex.quote(value)}" for key, value in stack.env.items()))
            return 0
        if options.verb == "guard":
            sys.stdin.read()
            stack = Stack(options.dir)
            stack.stop(patience_s=0)
            return 0
        print(f"ended: {', '.join(stack.stop()) or 'nothing ran'}")
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
