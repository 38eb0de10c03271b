# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins for what a switch works on: a stack's directory (real), its HTTP (real or direct), its engine and clock."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import blue_green_host as host
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release_guard as guard_utils
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release_records
from docker.errors import NotFound

# Loopback addresses: nginx and the two slots.
NGINX, SLOTS = "127.0.0.1", {"blue": "127.0.0.2", "green": "127.0.0.3"}
LIMIT = 384 << 20
CGROUPS = "/sys/fs/cgroup/memory"


class Killed(BaseException):
    """Stands for kill -9: no handler of the code under test sees it."""


class Container:
    """A container of the engine, as the docker SDK shows it."""

    def __init__(self, world, name):
        self.world, self.name, self.id = world, name, name
        # What it answers on its readiness path and on all others, and after how many seconds.
        self.ready, self.status_code, self.says = 200, 200, name.partition("-api-")[2]
        self.latency = 0.01
        # States that successive looks at it show, the last one for good.
        self.states = []
        self.restarts = 0
        self.networks = {"sixty-db": {"IPAMConfig": None}}
        self.up, self.started = False, "0001-01-01T00:00:00Z"
        # What a one-off container comes to: an exit code, or an exception of the wait for it.
        self.outcome, self.output = 0, b"listening\nno memory left \xff\n"
        self.exit_code = 0

    @property
    def attrs(self):
        state = {
            "Running": self.up,
            "Restarting": False,
            "ExitCode": self.exit_code,
            "OOMKilled": False,
            "StartedAt": self.started,
            "Pid": 1000 + list(self.world.containers.values()).index(self) if self.up else 0,
        }
        if self.states:
            state.update(self.states[0])
        return {
            "State": state,
            "Image": "sha256:1",
            "RestartCount": self.restarts,
            "HostConfig": {"Memory": LIMIT},
            "NetworkSettings": {"Networks": self.networks},
        }

    @property
    def status(self):
        return "running" if self.attrs["State"]["Running"] else "exited"

    @property
    def address(self):
        return self.networks.get("sixty-app", {}).get("IPAMConfig", {}).get("IPv4Address")

    def start(self):
        self.world.happens("start", self.name)
        held = [
            *(c.name for c in self.world.containers.values() if c.up and c.address == self.address and c is not self)
        ]
        assert not held or not self.address, f"the address of {self.name} is held by {held}"
        self.up = True
        self.world.starts += 1
        self.started = f"2026-11-24T19:{self.world.starts // 60:02}:{self.world.starts % 60:02}.5Z"

    def stop(self, timeout):
        self.world.happens("stop", self.name)
        assert self.world.may_stop_routed or self.world.routed() != self.says, f"{self.name} is routed"
        self.up = False

    def wait(self, timeout):
        self.world.happens("wait", self.name)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        self.up, self.exit_code = False, self.outcome
        return {"StatusCode": self.outcome}

    def reload(self):
        """It is always as it is."""

    def remove(self, force, v):
        self.world.happens("remove", self.name)
        assert self.world.routed() != self.says, f"{self.name} is routed"
        del self.world.containers[self.name]

    def logs(self, tail):
        self.world.happens("logs", self.name)
        return self.output

    # -- what tests arrange

    def die(self, exit_code, times=1):
        """It ends, and its restart policy starts it again."""
        for _number in range(times):
            self.restarts += 1
            self.world.engine_events.append(
                {
                    "Action": "die",
                    "Actor": {"ID": self.id, "Attributes": {"exitCode": str(exit_code)}},
                    "timeNano": int(self.world.clock.time() * 1e9) + len(self.world.engine_events),
                }
            )

    def use(self, megabytes, oom_kills=0):
        """Memory in its cgroup."""
        pid, place = self.attrs["State"]["Pid"], f"{CGROUPS}/sixty/api/{self.id}"
        self.world.kernel.update(
            {
                f"/proc/{pid}/cgroup": f"7:memory:/sixty/api/{self.id}\n",
                f"{place}/memory.usage_in_bytes": f"{megabytes << 20}\n",
                f"{place}/memory.oom_control": f"oom_kill_disable 0\noom_kill {oom_kills}\n",
            }
        )


class Clock:
    """Stands for the module C(time): nobody waits, and requests take what the world says."""

    def __init__(self):
        self.passed, self.ticks = 0.0, 0

    def monotonic(self):
        return 1000 + self.passed

    def time(self):
        # Earlier than any file that a test makes, so that none counts as left over from before.
        return 1_700_000_000 + self.passed

    def sleep(self, seconds):
        self.passed += seconds

    def now(self):
        """Records' moments, no two of them the same."""
        self.ticks += 1
        moment = datetime.datetime.fromtimestamp(self.time() + self.ticks / 1000, datetime.timezone.utc)
        return moment.isoformat(timespec="milliseconds")


class World:
    """A stack's directory, its engine and its nginx."""

    def __init__(self, root):
        self.root = root
        self.containers, self.events, self.fails = {}, [], {}
        self.nginx_answers, self.starts, self.kernel = None, 0, {}
        self.clock, self.engine_events, self.may_stop_routed = Clock(), [], False
        # What every call of the engine raises; how often a phase was reached; what is done at the n-th time.
        self.engine_error, self.phases, self.then = None, [], {}
        # The module's process, as the lock knows it; each run is another one.
        self.process = 1
        for name in ("route", "releases", "config"):
            (root / name).mkdir()

    # -- what tests arrange

    def prepare(self, *releases):
        for release in releases:
            self.containers[f"sixty-api-{release}"] = Container(self, f"sixty-api-{release}")
            bundle = self.root / "releases" / release / "trees" / "d"
            (bundle / "assets").mkdir(parents=True)
            (bundle / "index.html").write_text(release, encoding="utf-8")
            (bundle / "assets" / f"index-{release}234567.js").write_text(release, encoding="utf-8")
            (bundle / "assets" / "plain.js").write_text(release, encoding="utf-8")
            (bundle.parent.parent / "current").symlink_to("trees/d")
            (self.root / "config" / f"api-{release}").mkdir()

    def __getitem__(self, release):
        return self.containers[f"sixty-api-{release}"]

    def happens(self, action, name):
        if self.engine_error:
            raise self.engine_error
        if self.fails.get((action, name)):
            raise self.fails[action, name]
        self.events.append((action, name.replace("sixty-api-", "")))

    def at_phase(self, phase, do, number=1):
        """C(do) is called when a phase is reached for the n-th time; C(Killed) is raised."""
        self.then[phase, number] = do

    def boundary(self, phase):
        self.phases.append(phase)
        do = self.then.pop((phase, self.phases.count(phase)), None)
        if do is Killed:
            raise Killed(phase)
        if do:
            do()

    def memory_of_host(self, used, limit, available):
        """Megabytes, of all containers and of the machine."""
        self.kernel.update(
            {
                f"{CGROUPS}/sixty/memory.usage_in_bytes": str(used << 20),
                f"{CGROUPS}/sixty/memory.limit_in_bytes": str(limit << 20),
                "/proc/meminfo": f"MemTotal: 9 kB\nMemAvailable:   {available << 10} kB\n",
            }
        )

    # -- what tests look at

    def link(self):
        active = self.root / "route" / "active"
        return os.readlink(active) if active.is_symlink() else None

    def routed(self):
        return core.parse_route(self.link())[1]

    def up(self):
        return sorted(c.says for c in self.containers.values() if c.up)

    def state(self):
        return json.loads((self.root / "state.json").read_text(encoding="utf-8"))

    def journal(self):
        return [json.loads(line) for line in (self.root / "journal.jsonl").read_text(encoding="utf-8").splitlines()]

    def told(self, release):
        """The lines of a deploy, for whoever follows it."""
        path = self.root / "watch" / f"{release}.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def is_clean(self):
        """Nothing is under way, for the records."""
        return not (self.root / "lock.json").exists() and "deploy" not in self.state()

    # -- HTTP

    def at(self, address):
        return next((c for c in self.containers.values() if c.up and c.address == address), None)

    def answer(self, server, path):
        """(status, X-Release, Location) of a request at one of the three addresses."""
        if server != NGINX:
            api = self.at(server)
            if not api:
                return 502, None, None
            self.clock.sleep(api.latency)
            return (api.ready if path == "/health/ready" else api.status_code), api.says, None
        if self.nginx_answers:
            return self.nginx_answers(path)
        slot, release = core.parse_route(self.link())
        if not slot:
            return 503, "none", None
        if path.startswith("/api/"):
            api = self.at(SLOTS[slot])
            # nginx names the routed release on its own errors.
            return (api.status_code, api.says, None) if api else (502, release, None)
        page = self.root / "route" / "active" / "www" / "index.html"
        return (200, release, None) if page.exists() else (404, release, None)

    def get(self, url, timeout=2.0, redirects=1, headers=None):
        """Stands for blue_green_host.get where there is no time for real HTTP."""
        parts = urllib.parse.urlsplit(url)
        return self.answer(parts.hostname, parts.path)[:2]


class Engine:
    """The docker SDK's client, its containers and its network."""

    def __init__(self, world):
        self.world = world
        self.containers = self.networks = self.images = self

    def get(self, name):
        if name == "sixty-app":
            return self
        self.world.happens("get", name)
        if name not in self.world.containers:
            raise NotFound(f"No such container: {name}")
        container = self.world.containers[name]
        if len(container.states) > 1:
            container.states.pop(0)
        return container

    def info(self):
        if self.world.engine_error:
            raise self.world.engine_error
        return {"CgroupDriver": "cgroupfs", "CgroupVersion": "1"}

    def events(self, since, until, filters, decode):
        assert decode and set(filters) == {"container", "event"}
        return [
            event
            for event in self.world.engine_events
            if event["Actor"]["ID"] == filters["container"]
            and event["Action"] in filters["event"]
            and since <= event["timeNano"] / 1e9 <= float(until) + 0.001
        ]

    def remove(self, image):
        self.world.happens("remove image", image)

    def list(self, all, filters, ignore_removed):
        assert filters == {"label": ["sixty.stack=sixty", "sixty.service=api"]}
        assert all and ignore_removed
        if self.world.engine_error:
            raise self.world.engine_error
        return list(self.world.containers.values())

    def connect(self, container, ipv4_address, aliases):
        self.world.happens("connect", container.name)
        container.networks["sixty-app"] = {"IPAMConfig": {"IPv4Address": ipv4_address}}

    def disconnect(self, container, force):
        self.world.happens("disconnect", container.name)
        del container.networks["sixty-app"]


class Handler(BaseHTTPRequestHandler):
    world = None

    def do_GET(self):
        status, release, location = self.world.answer(self.server.server_address[0], self.path)
        self.send_response(status)
        for name, value in (("X-Release", release), ("Location", location), ("Content-Length", "0")):
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_arguments):
        """Quiet."""


@contextlib.contextmanager
def servers(world):
    """The same port at each address."""
    handler = type("HandlerOfWorld", (Handler,), {"world": world})
    first = ThreadingHTTPServer((NGINX, 0), handler)
    port = first.server_address[1]
    try:
        running = [first] + [ThreadingHTTPServer((address, port), handler) for address in SLOTS.values()]
    except OSError:
        first.server_close()
        raise
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in running]
    for thread in threads:
        thread.start()
    yield port
    for server in running:
        server.shutdown()
        server.server_close()


def patch_engine(world, patch):
    patch.setattr(host.docker, "from_env", lambda: Engine(world))
    # This machine's own memory is none of the tests' business.
    patch.setattr(host, "read_text", lambda path: world.kernel.get(path))


def patch_time(world, patch):
    """Time passes only as the world says, and processes are those of the world."""
    for module in (host, guard_utils, release_records):
        patch.setattr(module, "time", world.clock)
        patch.setattr(module, "now", world.clock.now)
    patch.setattr(host, "boundary", world.boundary)
    patch.setattr(release_records, "started", lambda pid: world.process)
    patch.setattr(guard_utils, "kernel_killed", lambda container_id, since: False)


def arguments(world, release, **more):
    """Of blue_green and release_guard, for a world."""
    return {
        "warm_up": 6,
        "stack": "sixty",
        "root": str(world.root),
        "release": release,
        "manifest": f"m-{release}" if release else None,
        "network": "sixty-app",
        "slots": SLOTS,
        "port": world.port,
        "url": f"http://{NGINX}:{world.port}",
        "successes": 2,
        "ready_timeout": 1,
        "read_back_timeout": 1,
        **more,
    }


def snapshot(root):
    """Every path with its type, link and inode."""
    return sorted(
        (str(path.relative_to(root)), path.lstat().st_ino, os.readlink(path) if path.is_symlink() else "")
        for path in root.rglob("*")
    )
