# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A switch at its host: the engine, the route link, and answers over HTTP. What is due is decided in release.py."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import ssl
import time
import urllib.parse

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_records import Failed, now

try:
    import docker
except ImportError:
    docker = None

# States of a container that may hold its slot's address, and the time that the engine gives one never started.
RUNNING = ("running", "paused", "restarting")
NEVER = "0001-01-01"


def get(url, timeout=2.0, redirects=1):
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
        connection.request("GET", target, headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        if redirects and answer.status in (301, 302, 307, 308):
            further = urllib.parse.urljoin(url, answer.getheader("Location") or "")
            if urllib.parse.urlsplit(further).hostname == parts.hostname:
                return get(further, timeout, redirects - 1)
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
        return {
            "slot": slot,
            "release": release,
            "running": sorted(name for name, container in containers.items() if container.status in RUNNING),
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
            "manifests": {
                name: entry["manifest"] for name, entry in self.records.read()["releases"].items() if "served" in entry
            },
        }

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

    def serving(self):
        """The release that answers through nginx, or None. nginx puts the routed release on its own errors."""
        status, release = get(self.params["url"] + self.params["paths"][-1])
        return release if status and 200 <= status < 300 else None

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
        container.start()

    def container(self):
        try:
            return self.client.containers.get(self.name)
        except docker.errors.NotFound as error:
            raise Failed(f"There is no container {self.name}; roles/container makes it.") from error

    def verify(self, slot):
        """The release answers directly, as itself, several times in a row."""
        url = f"http://{self.params['slots'][slot]}:{self.params['port']}{self.params['health_path']}"
        answers, last = 0, "no answer yet"
        # Restarts of earlier days do not count, and a container that is up again has forgotten why it ended.
        earlier, ended = self.container().attrs["RestartCount"], None
        deadline = time.monotonic() + self.params["ready_timeout"]
        while time.monotonic() < deadline:
            status, release = get(url)
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
            time.sleep(0.25)
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
                status, release = get(self.params["url"] + path)
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

    def prune(self):
        """Remove what belongs to releases that are no longer kept: container, bundle, secrets, record."""
        state = self.records.read()
        outdated = core.outdated(state["releases"], self.wanted, self.params["keep"])
        for release in outdated:
            with contextlib.suppress(docker.errors.NotFound):
                self.client.containers.get(self.container_name(release)).remove(force=True)
            for path in (f"releases/{release}", f"config/api-{release}"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(os.path.join(self.root, path))
            del state["releases"][release]
            self.records.journal("pruned", self.wanted, pruned=release)
        if outdated:
            self.records.write(state)

    def record(self, slot, event, previous, seconds, reason):
        """State by rename, and a line of history."""
        state = self.records.read()
        state.update(version=1, active={"slot": slot, "release": self.wanted})
        if event == "rolled_back" and previous:
            # The mark says so for as long as the release is kept, also where the state was lost.
            state["releases"].setdefault(previous, self.records.known().get(previous, {"manifest": ""}))
        line = {"slot": slot, "manifest": self.manifest, "previous": previous, "seconds": seconds}
        if reason is not None:
            line.update({"from": previous, "to": self.wanted, "reason": reason})
        core.put_on_record(state["releases"], event, self.wanted, now(), line)
        self.records.write(state)
        self.records.journal(event, self.wanted, **line)

    # -- the whole

    def run(self, observed, steps, retire, reason=None):
        """Do what is due; C(reason) is that of a rollback. Returns slot and seconds."""
        same = observed["release"] == self.wanted
        slot = observed["slot"] if same else core.other_slot(observed["slot"])
        before = core.route_link(observed["slot"], observed["release"]) if observed["slot"] else None
        moved, seconds = False, None
        try:
            if not same:
                # Whatever still runs in the standby slot has its address and is not routed.
                self.retire([name for name in retire if name != observed["release"]])
            for step in steps:
                if step == "stage":
                    self.stage(slot)
                elif step == "start":
                    self.start(slot)
                elif step == "verify":
                    self.verify(slot)
                elif step == "route":
                    began = time.monotonic()
                    self.point(core.route_link(slot, self.wanted))
                    moved = True
                elif step == "read_back":
                    self.read_back()
                    seconds = round(time.monotonic() - began, 3) if moved else None
        except (Failed, OSError, docker.errors.DockerException) as error:
            self.undo(error, before, moved, same, observed)
        try:
            event = "restored" if same else "switched" if reason is None else "rolled_back"
            self.record(slot, event, observed["release"], seconds, None if same else reason)
            self.retire(retire)
            if reason is None:
                self.prune()
        except (OSError, docker.errors.DockerException) as error:
            raise Failed(
                f"Release {self.wanted} is served, but what follows a switch (record it, stop and remove older "
                f"releases) did not come to its end: {error}. Mend that and run this again; nothing has to be undone."
            ) from error
        return slot, seconds

    def undo(self, error, before, moved, same, observed):
        """Put the old route back and stop what was started; then say what happened."""
        still, stop = "It is the routed release, so it was left as it is.", not same
        if not same:
            try:
                if moved:
                    self.unroute(before)
                still = self.remains(observed["release"])
            except OSError as again:
                # What is routed is never stopped.
                mend = f"ln -sfn {before} {self.route}/active" if before else f"rm {self.route}/active"
                still, stop = f"THE ROUTE STILL NAMES IT and could not be put back ({again}). Run: {mend}.", False
        if stop:
            try:
                self.retire([self.wanted])
            except (OSError, docker.errors.DockerException) as again:
                still += f" {self.name} could not be stopped ({again}); the next switch to another release does."
        try:
            # On record, so that it is removed when its time comes.
            state = self.records.read()
            state["releases"].setdefault(self.wanted, {"manifest": self.manifest})
            self.records.write(state)
            self.records.journal("failed", self.wanted, reason=str(error))
        except OSError as again:
            still += f" That could not be put on record ({again})."
        raise Failed(f"Release {self.wanted} is not served. {still}\n  {error}{self.instead}")

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
