"""Several hosts on one machine: network namespaces on a bridge, each with an address and a folder of its own.

What is found here about addresses, ports, lost hosts and files that are not shared is true between machines as well.
Needs root on Linux, iproute2, and a kernel that allows namespaces and bridges.
"""

import contextlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.process import Service, end, spawn
from infra.services import make_ray_folder

INTERFACE = "eth0"
"""What every host calls its end of the cable."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """One host: a namespace with a cable to the bridge."""

    name: str
    namespace: str
    address: str
    cable: str
    """The bridge's end of the cable."""


@dataclass
class Network:
    """A bridge with hosts on it; use `network()`, which takes everything away again."""

    folder: Path
    temporary: Path
    """Where each host finds temporary files of its own: one path, another folder behind it on each."""
    prefix: str
    subnet: str
    hosts: dict[str, Host] = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)

    def add(self, name: str) -> Host:
        """Make a host and connect it."""
        number = len(self.hosts) + 2
        host = Host(
            name=name,
            namespace=f"{self.prefix}-{name}",
            address=f"{self.subnet}.{number}",
            cable=f"{self.prefix}v{number}",
        )
        inner = f"{self.prefix}e{number}"
        _ip("netns", "add", host.namespace)
        self.hosts[name] = host
        _ip("link", "add", host.cable, "type", "veth", "peer", "name", inner)
        _ip("link", "set", inner, "netns", host.namespace)
        _ip("link", "set", host.cable, "master", f"{self.prefix}b", "up")
        for command in (
            ("link", "set", inner, "name", INTERFACE),
            ("addr", "add", f"{host.address}/24", "dev", INTERFACE),
            ("link", "set", INTERFACE, "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", host.namespace, *command)
        (self.folder / name / "tmp").mkdir(parents=True)
        return host

    def start(self, host: Host, name: str, command: Sequence[str], *, env: Mapping[str, str]) -> Service:
        """Start a server on a host; it ends with the network."""
        own = f'mount --bind {self.folder / host.name / "tmp"} {self.temporary} && exec "$@"'
        wrapped = ["ip", "netns", "exec", host.namespace, "sh", "-c", own, "sh", *command]
        log = self.folder / host.name / f"{name}.log"
        # the machine's name, by which gloo finds its interface, means the loopback on every host
        env = {**env, "TMPDIR": str(self.temporary), "GLOO_SOCKET_IFNAME": INTERFACE}
        service = spawn(f"{name} on {host.name}", wrapped, log=log, env=env)
        self.services.append(service)
        return service

    def cut(self, host: Host) -> None:
        """Pull the cable: the host runs on, and nobody hears of it again."""
        _ip("link", "set", host.cable, "down")

    def close(self) -> None:
        """End every server and take hosts and bridge away."""
        end(self.services, seconds=2)
        for host in self.hosts.values():
            with contextlib.suppress(RuntimeError):
                _ip("netns", "del", host.namespace)
        with contextlib.suppress(RuntimeError):
            _ip("link", "del", f"{self.prefix}b")
        shutil.rmtree(self.temporary.parent, ignore_errors=True)


@contextlib.contextmanager
def network(folder: Path) -> Iterator[Network]:
    """A bridge that this machine is on too, as the first address.

    Raises:
        RuntimeError: this machine does not allow it; the message says what was refused.
    """
    if sys.platform != "linux" or shutil.which("ip") is None:
        raise RuntimeError("network namespaces need Linux and iproute2's ip")
    if os.geteuid() != 0:
        raise RuntimeError("network namespaces need root here")
    made = Network(
        folder=folder,
        temporary=make_ray_folder(),
        prefix=f"lh{random.randrange(16**3):03x}",
        subnet=f"10.{random.randrange(200, 250)}.{random.randrange(250)}",
    )
    try:
        _ip("link", "add", f"{made.prefix}b", "type", "bridge")
        _ip("addr", "add", f"{made.subnet}.1/24", "dev", f"{made.prefix}b")
        _ip("link", "set", f"{made.prefix}b", "up")
        yield made
    finally:
        made.close()


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
