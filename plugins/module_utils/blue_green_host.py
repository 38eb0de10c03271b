# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A switch at its host: the engine, the route link, and answers over HTTP. What is due is decided in release.py."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import os
import re
import shutil
import ssl
import subprocess
import time
import urllib.parse

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import cgroup, overlap, stack_host
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_records import Failed, lock, now

try:
    import docker
except ImportError:
    docker = None

# States of a container that may hold its slot's address, and the time that the engine gives one never started.
RUNNING = ("running", "paused", "restarting")
NEVER = "0001-01-01"
WARM_UP_SECONDS, WARM_UP_CLIENTS = 5, 8


# What a module that switches has to know of the host.
HOST_ARGUMENTS = {
    "stack": {"type": "str", "required": True},
    "root": {"type": "path", "required": True},
    "release": {"type": "str"},
    "manifest": {"type": "str"},
    "network": {"type": "str", "required": True},
    "slots": {"type": "dict", "required": True},
    "port": {"type": "int", "default": 3000},
    "health_path": {"type": "str", "default": "/health/ready"},
    "url": {"type": "str", "default": "http://127.0.0.1"},
    "paths": {"type": "list", "elements": "str", "default": ["/", "/api/release"]},
    "successes": {"type": "int", "default": 3},
    "ready_timeout": {"type": "int", "default": 60},
    "read_back_timeout": {"type": "int", "default": 10},
    "drain_timeout": {"type": "int", "default": 30},
    "keep": {"type": "int", "default": 3},
    "disk_budget": {"type": "int", "default": 2 << 30},
    "asset_budget": {"type": "int", "default": 64 << 20},
    "lock_timeout": {"type": "int", "default": 0},
    "allow_downtime": {"type": "bool", "default": False},
    "container_overhead": {"type": "int", "default": 11 << 20},
    "limit": {"type": "int", "default": 0},
    "warm_up": {"type": "int", "default": 200},
    "warm_up_paths": {"type": "list", "elements": "str", "default": ["/health/ready"]},
}


def boundary(phase):
    """Tests of crashes name a program that is told every phase reached; it kills whom it likes."""
    program = os.environ.get("SIXTY_TEST_HOOK")
    if program:
        subprocess.run([program, phase], check=False)


def read_text(path):
    """A file's text, or None."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return None


def container_memory(container, version):
    """Figures of a running container's cgroup (cgroup.py), or None."""
    text = read_text(f"/proc/{container.attrs['State'].get('Pid') or 0}/cgroup")
    return cgroup.read(version, stack_host.CGROUPS, cgroup.membership(text), read_text) if text else None


def routed_release(route):
    """The release that the route link names, or None."""
    with contextlib.suppress(OSError):
        return core.parse_route(os.readlink(os.path.join(route, "active")))[1]
    return None


def size_of(path):
    """Bytes of a tree on disk."""
    return sum(
        os.lstat(os.path.join(folder, name)).st_size for folder, _inner, names in os.walk(path) for name in names
    )


def get(url, timeout=2.0, redirects=1, headers=None):
    """(status, X-Release) of one request on a new connection; (None, reason) when there was no answer.

    nginx itself answers a redirect to HTTPS, and a redirect is no word of the application, so one to the same host is
    followed.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        # The certificate is for the public name, and this is the loopback address.
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=timeout, context=ssl._create_unverified_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        connection.request("GET", target, headers={"Connection": "close", **(headers or {})})
        answer = connection.getresponse()
        answer.read()
        if redirects and answer.status in (301, 302, 307, 308):
            further = urllib.parse.urljoin(url, answer.getheader("Location") or "")
            if urllib.parse.urlsplit(further).hostname == parts.hostname:
                return get(further, timeout, redirects - 1, headers)
        return answer.status, answer.getheader("X-Release")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return None, str(error) or type(error).__name__
    finally:
        connection.close()


class Switch:
    """One switch of a stack. C(params) are the module's; C(records) are the stack's."""

    def __init__(self, params, client, records):
        self.params = params
        self.client = client
        self.records = records
        self.root = params["root"]
        self.route = os.path.join(self.root, "route")
        self.stop_first = False
        # An emergency does not wait for the first answers to be quick.
        self.warm_up = params.get("warm_up", 0) if params.get("action") != "rollback" else 0
        # The release that a rollback leaves.
        self.leaves = None
        self.aim(params["release"], params["manifest"])

    def aim(self, release, manifest, instead=""):
        """Name the release that is to be served; C(instead) ends the message when it is not."""
        self.wanted, self.manifest, self.instead = release, manifest, instead
        self.name = self.container_name(release)

    def container_name(self, release):
        return f"{self.params['stack']}-api-{release}"

    # -- observe

    def observe(self):
        active = os.path.join(self.route, "active")
        link = os.readlink(active) if os.path.islink(active) else None
        slot, release = core.parse_route(link)
        if os.path.lexists(active) and not slot:
            # It may be followed by nginx all the same, so nothing may be stopped.
            raise Failed(
                f"{active} {f'names {link}' if link else 'is no link'}, which is not slots/<slot>/<release id>. "
                f"Nothing was changed. Find out what is served, and name it: ln -sfn slots/<slot>/<release id> {active}"
            )
        containers = self.containers()
        running = sorted(name for name, container in containers.items() if container.status in RUNNING)
        state = self.records.read()
        return {
            "slot": slot,
            "release": release,
            "running": running,
            "warm": [name for name in running if name != release and self.is_warm(name, slot, containers[name])],
            "started": {
                name: container.attrs["State"]["StartedAt"]
                for name, container in containers.items()
                if not container.attrs["State"]["StartedAt"].startswith(NEVER)
            },
            "kept": sorted(
                name for name in containers if os.path.isfile(os.path.join(self.bundle(name), "index.html"))
            ),
            "slots": {
                name: place
                for place in core.SLOTS
                if os.path.isdir(os.path.join(self.route, "slots", place))
                for name in os.listdir(os.path.join(self.route, "slots", place))
            },
            "staged": bool(slot) and os.path.isdir(os.path.join(self.route, "slots", slot, release, "www")),
            # One that failed before it was ever served may come again as something else.
            "manifests": {name: entry["manifest"] for name, entry in state["releases"].items() if "served" in entry},
            "active": state.get("active"),
            "deploy": state.get("deploy"),
        }

    def is_warm(self, release, routed, container):
        """Whether a running release stands whole in the standby slot: to route it needs no more than the rename."""
        slot = core.other_slot(routed)
        network = container.attrs["NetworkSettings"]["Networks"].get(self.params["network"]) or {}
        return (network.get("IPAMConfig") or {}).get("IPv4Address") == self.params["slots"][slot] and os.path.isfile(
            os.path.join(self.route, "slots", slot, release, "www", "index.html")
        )

    def containers(self):
        """Release id -> container, of all releases that have one."""
        prefix = self.container_name("")
        label = {"label": [f"sixty.stack={self.params['stack']}", "sixty.service=api"]}
        return {
            container.name[len(prefix) :]: container
            for container in self.client.containers.list(all=True, filters=label, ignore_removed=True)
            if container.name.startswith(prefix)
        }

    def bundle(self, release):
        return os.path.join(self.root, "releases", release, "current")

    def ask(self, path):
        """One request through nginx, also in maintenance, which lets a request with its token pass."""
        with contextlib.suppress(OSError):
            for name in set(os.listdir(os.path.join(self.route, "maintenance"))) - {"on"}:
                return get(self.params["url"] + path, headers={"X-Maintenance-Bypass": name})
        return get(self.params["url"] + path)

    def ask_slot(self, slot, path, timeout=2.0):
        """One request to the application itself."""
        return get(f"http://{self.params['slots'][slot]}:{self.params['port']}{path}", timeout)

    def serving(self):
        """The release that answers through nginx, or None. nginx puts the routed release on its own errors."""
        status, release = self.ask(self.params["paths"][-1])
        return release if status and 200 <= status < 300 else None

    def memory(self, observed):
        """How the standby can start, by what is in use now (overlap.py); None where it runs already."""
        limit = self.container().attrs["HostConfig"]["Memory"] if self.exists() else self.params["limit"]
        if self.wanted in observed["running"] or self.wanted == observed["release"] or not limit:
            return None
        info = self.client.info()
        version = int(info.get("CgroupVersion") or 1)
        place = stack_host.parent_directory(self.params["stack"], info["CgroupDriver"], version)
        member = place[len(stack_host.memory_root(version)) :]
        parent = cgroup.read(
            version, stack_host.CGROUPS, dict.fromkeys(("", "memory", "cpu", "pids"), member), read_text
        )
        routed = None
        if observed["release"] in observed["running"]:
            routed = container_memory(self.container(observed["release"]), version)
        found = re.search(r"^MemAvailable:\s+(\d+) kB", read_text("/proc/meminfo") or "", re.MULTILINE)
        usage = overlap.Usage(
            used=parent["unreclaimable"] if parent else 0,
            limit=parent["limit"] if parent else 0,
            routed=routed["unreclaimable"] if routed else 0,
            available=int(found[1]) << 10 if found else None,
        )
        return overlap.decide(usage, limit, self.params["container_overhead"], self.params["allow_downtime"])

    # -- steps

    def stage(self, slot):
        """Hard links of the bundle, in the slot: nginx finds slot and release in the real path."""
        source = self.bundle(self.wanted)
        if not os.path.isfile(os.path.join(source, "index.html")):
            raise Failed(f"The frontend bundle of release {self.wanted} has no index.html in {source}.")
        home = os.path.join(self.route, "slots", slot)
        target, part = os.path.join(home, self.wanted), os.path.join(home, ".part")
        pool = os.path.join(self.route, "pool", "assets")
        assets = os.path.join(part, "www", "assets")
        try:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(home)
            shutil.copytree(os.path.realpath(source), os.path.join(part, "www"), copy_function=os.link)
            os.makedirs(pool, exist_ok=True)
            for name in os.listdir(assets) if os.path.isdir(assets) else []:
                if core.is_shared_asset(name) and not os.path.exists(os.path.join(pool, name)):
                    os.link(os.path.join(assets, name), os.path.join(pool, name))
            # What has its name is whole, also after a run that was killed.
            os.rename(part, target)
        except OSError as error:
            # copytree collects (source, target, reason) of every file.
            reason = error.args[0][0][2] if isinstance(error, shutil.Error) else error
            raise Failed(f"The frontend bundle could not be staged in {target}: {reason}.") from error

    def exists(self):
        with contextlib.suppress(docker.errors.NotFound):
            return bool(self.client.containers.get(self.name))
        return False

    def run_once(self, name, timeout):
        """Run a one-off container to its end and remove it; what it wrote."""
        still = self.remains(routed_release(self.route))
        container = self.client.containers.get(name)
        try:
            container.start()
            try:
                code = container.wait(timeout=timeout)["StatusCode"]
            # The SDK's requests gives up with one or the other.
            except OSError:
                container.reload()
                code = None if container.status in RUNNING else container.attrs["State"]["ExitCode"]
            output = container.logs(tail=30).decode(errors="replace").strip()
        finally:
            container.remove(force=True, v=True)
        if code == 0:
            return output
        what = f"went on for {timeout} s and were stopped" if code is None else f"ended with exit code {code}"
        if code == 137:
            limit = container.attrs["HostConfig"]["Memory"] >> 20
            what += f" (SIGKILL, most likely for memory: the limit is {limit} MB)"
        words = "".join(f"\n    {line}" for line in output.splitlines()[-12:])
        reason = f"its migrations {what}." + (f" Their last words:{words}" if words else " They wrote nothing.")
        with lock(self.root, self.params["ready_timeout"]):
            self.records.note("failed", self.wanted, manifest=self.manifest, reason=reason)
        raise Failed(f"Release {self.wanted} is not served: {reason}\n  {still} Mend them and deploy again.")

    def start(self, slot):
        container = self.container()
        network = self.client.networks.get(self.params["network"])
        address = self.params["slots"][slot]
        current = container.attrs["NetworkSettings"]["Networks"].get(self.params["network"])
        if current and (current.get("IPAMConfig") or {}).get("IPv4Address") != address:
            network.disconnect(container, force=True)
            current = None
        if not current:
            network.connect(container, ipv4_address=address, aliases=["api-" + slot])
        # Cgroups are named after containers alone; this tells the Memory Monitor which release is in which slot.
        with open(os.path.join(self.route, "slots", slot, self.wanted, "container"), "w", encoding="ascii") as handle:
            handle.write(container.id)
        container.start()

    def container(self, release=None):
        name = self.container_name(release) if release else self.name
        try:
            return self.client.containers.get(name)
        except docker.errors.NotFound as error:
            raise Failed(f"There is no container {name}; roles/container makes it.") from error

    def verify(self, slot):
        """The release answers directly, as itself, several times in a row."""
        url = f"http://{self.params['slots'][slot]}:{self.params['port']}{self.params['health_path']}"
        answers, last = 0, "no answer yet"
        # Restarts of earlier days do not count, and a container that is up again has forgotten why it ended.
        earlier, ended = self.container().attrs["RestartCount"], None
        deadline = time.monotonic() + self.params["ready_timeout"]
        while time.monotonic() < deadline:
            status, release = self.ask_slot(slot, self.params["health_path"])
            if status == 200 and release == self.wanted:
                answers += 1
                if answers >= self.params["successes"]:
                    return
            else:
                answers = 0
                last = f"HTTP {status} from release {release or '(no X-Release)'}" if status else release
                container = self.container()
                ended = core.ended(container.attrs["State"]) or ended
                if container.attrs["RestartCount"] - earlier >= 3 or container.status == "exited":
                    break
            time.sleep(0.1)
        container = self.container()
        # One that ends again and again is caught while it waits for its next start.
        deadline = time.monotonic() + 3
        while not ended and container.attrs["RestartCount"] > earlier and time.monotonic() < deadline:
            time.sleep(0.05)
            container = self.container()
            ended = core.ended(container.attrs["State"])
        state = dict(ended or container.attrs["State"], Restarts=container.attrs["RestartCount"] - earlier)
        raise Failed(
            core.failure_reason(
                self.name,
                state,
                container.attrs["HostConfig"]["Memory"],
                container.logs(tail=8).decode(errors="replace"),
            )
            + f"\n  Last answer of {url}: {last}."
        )

    def warm(self, slot):
        """Requests to the standby, so that its first visitors do not pay for connections and compiled code.

        It took the 99th percentile just after a switch to four times that of the steady state. A path that answers with
        nothing but errors is a reason not to route it, unless the served release has them too.
        """
        paths, well, failed = self.params["warm_up_paths"], set(), {}
        deadline = time.monotonic() + WARM_UP_SECONDS

        def request(number):
            path = paths[number % len(paths)]
            status = self.ask_slot(slot, path)[0] if time.monotonic() < deadline else 0
            if status is None or status >= 500:
                failed[path] = f"HTTP {status}" if status else "no answer"
            elif status:
                well.add(path)

        # Several at a time, so that it opens all of its connections to the database.
        with concurrent.futures.ThreadPoolExecutor(WARM_UP_CLIENTS) as pool:
            list(pool.map(request, range(self.warm_up)))
        bad = [
            path for path in failed if path not in well and (self.ask_slot(core.other_slot(slot), path)[0] or 0) < 500
        ]
        if bad:
            answers = ", ".join(f"{path}: {failed[path]}" for path in bad)
            raise Failed(f"{self.name} is ready, but all its answers are errors at {answers}.")

    def point(self, text):
        """One rename moves frontend and API."""
        temporary = os.path.join(self.route, ".active.new")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(text, temporary)
        os.replace(temporary, os.path.join(self.route, "active"))

    def read_back(self):
        """Every path answers through nginx as the wanted release, several times in a row."""
        answers, last = 0, ""
        deadline = time.monotonic() + self.params["read_back_timeout"]
        while time.monotonic() < deadline:
            for path in self.params["paths"]:
                status, release = self.ask(path)
                if status is None or not 200 <= status < 300 or release != self.wanted:
                    answers, last = 0, f"{path}: " + (f"HTTP {status}, release {release}" if status else str(release))
                    time.sleep(0.1)
                    break
            else:
                answers += 1
                if answers >= self.params["successes"]:
                    return
        raise Failed(f"nginx at {self.params['url']} did not answer as release {self.wanted}. Last answer of {last}.")

    def retire(self, releases):
        for release in releases:
            with contextlib.suppress(docker.errors.NotFound):
                self.client.containers.get(self.container_name(release)).stop(timeout=self.params["drain_timeout"])

    def prune(self, before=None):
        """Remove what belongs to releases that are no longer kept: container, bundle, secrets, image, record.

        What is on no record is a killed run's, unless it was made after C(before), seconds since 1970: then it is that
        of a deploy which has yet to come to its turn.
        """
        state = self.records.read()
        sizes = {name: size_of(os.path.join(self.root, "releases", name)) for name in state["releases"]}
        outdated = core.outdated(state["releases"], self.wanted, self.params["keep"], sizes, self.params["disk_budget"])
        for release in outdated:
            self.remove(release)
            del state["releases"][release]
            self.records.journal("pruned", self.wanted, pruned=release)
        if outdated:
            self.records.write(state)
        for release in self.strays(self.records.known(), before) if before else []:
            self.remove(release)
        self.prune_assets()

    def remove(self, release):
        """Everything of one release on this host, its image only where nothing else uses it."""
        with contextlib.suppress(docker.errors.NotFound):
            container = self.client.containers.get(self.container_name(release))
            # With the volumes that its image declares and nobody named.
            container.remove(force=True, v=True)
            # The engine refuses while another container has it.
            with contextlib.suppress(docker.errors.APIError):
                self.client.images.remove(container.attrs["Image"])
        for path in (f"releases/{release}", f"config/api-{release}"):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(os.path.join(self.root, path))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.root, "watch", f"{release}.jsonl"))

    def strays(self, releases, before):
        """Ids that have files or a stopped container but no record, and were there before a moment."""
        containers = self.containers()
        found = {name for name, container in containers.items() if container.status not in RUNNING}
        places = [("releases", ""), ("config", "api-")]
        for folder, prefix in places:
            with contextlib.suppress(FileNotFoundError):
                found.update(
                    name[len(prefix) :]
                    for name in os.listdir(os.path.join(self.root, folder))
                    if name.startswith(prefix)
                )

        def is_old(release):
            paths = [os.path.join(self.root, folder, prefix + release) for folder, prefix in places]
            return all(os.lstat(path).st_mtime < before for path in paths if os.path.lexists(path))

        running = set(containers) - found
        return sorted(
            name
            for name in found - set(releases) - running - {self.wanted}
            if core.RELEASE_ID.fullmatch(name) and is_old(name)
        )

    def prune_assets(self):
        """Assets of releases that are gone stay for browsers with an old page, the newest up to a budget."""
        pool = os.path.join(self.route, "pool", "assets")
        with contextlib.suppress(FileNotFoundError):
            files = [(os.lstat(os.path.join(pool, name)), name) for name in os.listdir(pool)]
            # A second name is the release's that still has it.
            orphans = sorted(
                ((stat.st_mtime, stat.st_size, name) for stat, name in files if stat.st_nlink == 1), reverse=True
            )
            total = 0
            for _moment, size, name in orphans:
                total += size
                if total > self.params["asset_budget"]:
                    os.unlink(os.path.join(pool, name))

    def record(self, slot, event, previous, seconds, reason, **more):
        """State by rename, and a line of history. A deploy that was under way has come to its end with it."""
        state = self.records.read()
        state.update(version=1, active={"slot": slot, "release": self.wanted})
        if event == "rolled_back":
            state.pop("deploy", None)
        if not {self.wanted, previous} <= set(state["releases"]):
            # The marks say so for as long as the release is kept, also where the state was lost.
            known = self.records.known()
            for name in {self.wanted, previous} & set(known):
                state["releases"].setdefault(name, known[name])
        line = {"slot": slot, "manifest": self.manifest, "previous": previous, "seconds": seconds}
        if reason is not None:
            line.update({"from": previous, "to": self.wanted, "reason": reason, **more})
        core.put_on_record(state["releases"], event, self.wanted, now(), line)
        self.records.write(state)
        self.records.journal(event, self.wanted, **line)

    # -- the whole

    def introduce(self):
        """Put a release on record before its first start: one on no record is taken for one whose record was lost."""
        with contextlib.suppress(OSError):
            if self.wanted not in self.records.known():
                state = self.records.read()
                state["releases"][self.wanted] = {"manifest": self.manifest}
                self.records.write(state)

    def mark(self):
        """Note a rollback before its rename. One that is killed in between would be undone by asking for it again."""
        if not self.leaves:
            return
        with contextlib.suppress(OSError):
            state, known = self.records.read(), self.records.known()
            if "rolled_back" not in known.get(self.wanted, {}):
                for name in (self.leaves, self.wanted):
                    state["releases"].setdefault(name, known.get(name, {"manifest": ""}))
                state["releases"][self.leaves]["rolled_back"] = now()
                state["releases"][self.wanted]["instead_of"] = self.leaves
                self.records.write(state)

    def reached(self, phase):
        """A phase is done; whoever watches overrides what becomes of that."""
        boundary(phase)

    def before_route(self):
        """The last moment before the rename, when both releases run."""

    def advance(self, observed, steps, retire):
        """What is due up to the read-back, or undone and Failed. Returns slot and seconds."""
        same = observed["release"] == self.wanted
        slot = observed["slot"] if same else core.other_slot(observed["slot"])
        before = core.route_link(observed["slot"], observed["release"]) if observed["slot"] else None
        moved, seconds = False, None
        try:
            if not same or "start" in steps:
                # Whatever else runs may have the slot's address, and is not routed.
                self.retire([name for name in retire if name not in (observed["release"], self.wanted)])
            for step in steps:
                if step == "stage":
                    self.stage(slot)
                elif step == "start":
                    if self.stop_first:
                        self.retire([observed["release"]])
                    self.introduce()
                    self.start(slot)
                    self.reached("staged")
                elif step == "verify":
                    self.verify(slot)
                    if not same:
                        self.warm(slot)
                    self.reached("healthy")
                elif step == "route":
                    self.before_route()
                    self.mark()
                    began = time.monotonic()
                    self.point(core.route_link(slot, self.wanted))
                    moved = True
                    self.reached("routed")
                elif step == "read_back":
                    self.read_back()
                    seconds = round(time.monotonic() - began, 3) if moved else None
        except (Failed, OSError, docker.errors.DockerException) as error:
            self.undo(error, before, moved, same, observed)
        return slot, seconds

    def run(self, observed, steps, retire, reason=None):
        """Do what is due to the end; C(reason) is that of a rollback. Returns slot and seconds."""
        same = observed["release"] == self.wanted
        if reason is not None and not same:
            self.leaves = observed["release"]
        slot, seconds = self.advance(observed, steps, retire)
        try:
            event = "restored" if same else "switched" if reason is None else "rolled_back"
            previous, unfinished = observed["release"], observed["deploy"]
            if same and reason is not None and unfinished and unfinished["release"] != self.wanted:
                # What is rolled back is a deploy that was broken off before its switch.
                event, previous = "rolled_back", unfinished["release"]
            self.record(slot, event, previous, seconds, reason if event == "rolled_back" else None)
            self.reached(event)
            self.retire(retire)
            if reason is None:
                self.prune()
            self.records.finish()
        except (OSError, docker.errors.DockerException) as error:
            raise Failed(
                f"Release {self.wanted} is served, but what follows a switch (record it, stop and remove older "
                f"releases) did not come to its end: {error}. Mend that and run this again; nothing has to be undone."
            ) from error
        return slot, seconds

    def undo(self, error, before, moved, same, observed):
        """Put the old route back and stop what was started; then say what happened."""
        still, stop = "It is the routed release, so it was left as it is.", not same
        if moved:
            try:
                self.unroute(before)
            except OSError as again:
                # What is routed is never stopped.
                mend = f"ln -sfn {before} {self.route}/active" if before else f"rm {self.route}/active"
                still, stop = f"THE ROUTE STILL NAMES IT and could not be put back ({again}). Run: {mend}.", False
        if stop:
            still = ""
            try:
                if self.stop_first:
                    self.start_again(observed)
            except (Failed, OSError, docker.errors.DockerException) as again:
                still = f"Release {observed['release']} was stopped first and could not be started again ({again}). "
            still += self.remains(observed["release"])
        if stop:
            try:
                self.retire([self.wanted])
            except (OSError, docker.errors.DockerException) as again:
                still += f" {self.name} could not be stopped ({again}); the next switch to another release does."
        try:
            # On record, so that it is removed when its time comes.
            state = self.records.read()
            state["releases"].setdefault(self.wanted, {"manifest": self.manifest})
            if self.leaves in state["releases"]:
                state["releases"][self.leaves].pop("rolled_back", None)
                state["releases"][self.wanted].pop("instead_of", None)
            # A rollback that fails ends no deploy of another release: its guard has to go on.
            own = (state.get("deploy") or {}).get("release") == self.wanted
            if own:
                self.records.unlock()
                del state["deploy"]
            self.records.write(state)
            self.records.journal("failed", self.wanted, reason=str(error))
        except OSError as again:
            still += f" That could not be put on record ({again})."
        self.reached("undone")
        raise Failed(f"Release {self.wanted} is not served. {still}\n  {error}{self.instead}")

    def start_again(self, observed):
        """The served release, which made room for one that failed."""
        self.retire([self.wanted])
        self.container(observed["release"]).start()
        deadline = time.monotonic() + self.params["ready_timeout"]
        while time.monotonic() < deadline:
            if self.ask_slot(observed["slot"], self.params["health_path"]) == (200, observed["release"]):
                break
            time.sleep(0.1)

    def unroute(self, before):
        if before:
            self.point(before)
        else:
            os.unlink(os.path.join(self.route, "active"))

    def remains(self, release):
        """What is served after a failure, as read back."""
        if not release:
            return "Nothing was served before."
        seen = self.serving()
        if seen == release:
            return f"Release {release} goes on serving."
        return f"The route names release {release}, but nginx answers as {seen or 'no release'}."
