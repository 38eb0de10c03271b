#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: blue_green
short_description: Put a release of the application behind nginx
version_added: "0.1.0"
description:
  - Starts a release's container in the slot that is not routed, waits until it answers as the wanted
    release, moves the route with one rename, and reads the release back through nginx before it stops
    the one that served before.
  - It starts, routes and stops containers and never creates one; the container C(<stack>-api-<release id>)
    has to exist.
  - The routed slot is never stopped. Whatever fails up to the read-back leaves the old release serving.
options:
  action:
    description:
      - V(status) only says what is served and what is due. V(switch) does what is due.
    type: str
    choices: [status, switch]
    default: switch
  stack:
    description: Name of the stack.
    type: str
    required: true
  root:
    description: The stack's directory, which holds C(route), C(releases) and C(state.json).
    type: path
    required: true
  release:
    description: Id of the release that is to be served.
    type: str
    required: true
  manifest:
    description:
      - Digest of all that the release is made of. A second release of the same id and another manifest is refused.
    type: str
    required: true
  network:
    description: The network in which the slots have their addresses.
    type: str
    required: true
  slots:
    description: Address of each slot.
    type: dict
    required: true
  port:
    description: Port of the application in its container.
    type: int
    default: 3000
  health_path:
    description: Path that answers 200 and the header X-Release when the release is ready.
    type: str
    default: /health/ready
  url:
    description: Where nginx answers on this host. Certificates are not verified, since the name is not theirs.
    type: str
    default: http://127.0.0.1
  paths:
    description:
      - Paths that are read back through nginx; each has to answer with status 2xx and the wanted X-Release. The last
        one tells which release is served, so it has to be one that the application itself answers.
    type: list
    elements: str
    default: [/, /api/release]
  successes:
    description: Answers in a row that count as ready, and as read back.
    type: int
    default: 3
  ready_timeout:
    description: Seconds within which the release has to become ready.
    type: int
    default: 60
  read_back_timeout:
    description: Seconds within which nginx has to answer with the release.
    type: int
    default: 10
  drain_timeout:
    description: Seconds that the old release has to finish its requests after SIGTERM.
    type: int
    default: 30
  keep:
    description:
      - Releases that are kept beside the served one, those served last first. Containers and files of others are
        removed after a switch; a release that failed and was never served counts as the oldest.
    type: int
    default: 3
attributes:
  check_mode:
    description: Says what is due and changes nothing.
    support: full
  diff_mode:
    description: The served release before and after.
    support: full
requirements:
  - docker (Python SDK) on the host
author: Sixty Sales DevOps Team (@sixty-sales)
"""

EXAMPLES = r"""
- name: Serve the release
  sixty_sales.memory_optimized.blue_green:
    stack: sixty
    root: /srv/sixty
    release: r2
    manifest: 4f1c0d2a9b7e
    network: sixty-app
    slots: {blue: 10.60.3.11, green: 10.60.3.12}
"""

RETURN = r"""
due:
  description: Steps that were due, in order; empty when the release is served already.
  type: list
  elements: str
  returned: success
active:
  description: Slot and release that are routed afterwards.
  type: dict
  returned: success
  sample: {slot: green, release: r2}
previous:
  description: The release that was routed before.
  type: str
  returned: success
seconds:
  description: From the rename to the last successful read-back.
  type: float
  returned: when a switch took place
"""

import contextlib
import datetime
import fcntl
import http.client
import json
import os
import shutil
import ssl
import time
import urllib.parse

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release as core

try:
    import docker
except ImportError:
    docker = None


class Failed(Exception):
    """A step failed; the message is for the person who reads it at night."""


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
    def __init__(self, module, client):
        self.params = module.params
        self.module = module
        self.client = client
        self.root = module.params["root"]
        self.route = os.path.join(self.root, "route")
        self.wanted = module.params["release"]
        self.name = self.container_name(self.wanted)

    def container_name(self, release):
        return f"{self.params['stack']}-api-{release}"

    # -- observe

    def read_state(self):
        try:
            with open(os.path.join(self.root, "state.json"), encoding="utf-8") as handle:
                state = json.load(handle)
            if not all(isinstance(entry["manifest"], str) for entry in state["releases"].values()):
                raise ValueError("a manifest is no text")
            return state
        except FileNotFoundError:
            return {"releases": {}}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Failed(
                f"{self.root}/state.json is not what this module wrote ({type(error).__name__}: {error}). Nothing was "
                "changed. Move it away: the next run takes the served release from the route link and writes it anew."
            ) from error

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
        prefix = self.container_name("")
        running = [
            container.name[len(prefix) :]
            for container in self.client.containers.list(
                filters={"label": [f"sixty.stack={self.params['stack']}", "sixty.service=api"]}, ignore_removed=True
            )
            if container.name.startswith(prefix)
        ]
        return {
            "slot": slot,
            "release": release,
            "running": running,
            "staged": bool(slot) and os.path.isdir(os.path.join(self.route, "slots", slot, release, "www")),
            "serving": self.serving(),
            # One that failed before it was ever served may come again as something else.
            "manifests": {
                name: entry["manifest"] for name, entry in self.read_state()["releases"].items() if "served" in entry
            },
        }

    def serving(self):
        """The release that answers through nginx, or None. nginx puts the routed release on its own errors."""
        status, release = get(self.params["url"] + self.params["paths"][-1])
        return release if status and 200 <= status < 300 else None

    # -- steps

    def stage(self, slot):
        """Hard links of the bundle, in the slot: nginx finds slot and release in the real path."""
        source = os.path.join(self.root, "releases", self.wanted, "current")
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
        state = self.read_state()
        outdated = core.outdated(state["releases"], self.wanted, self.params["keep"])
        for release in outdated:
            with contextlib.suppress(docker.errors.NotFound):
                self.client.containers.get(self.container_name(release)).remove(force=True)
            for path in (f"releases/{release}", f"config/api-{release}"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(os.path.join(self.root, path))
            del state["releases"][release]
            self.journal("pruned", pruned=release)
        if outdated:
            self.write_state(state)

    def write_state(self, state):
        path = os.path.join(self.root, "state.json")
        with open(path + ".new", "w", encoding="utf-8") as handle:
            json.dump(state, handle, indent=2, sort_keys=True)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(path + ".new", path)

    def record(self, slot, event, **more):
        """State by rename, and a line of history."""
        state = self.read_state()
        state.update(version=1, active={"slot": slot, "release": self.wanted})
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        state["releases"][self.wanted] = {"manifest": self.params["manifest"], "served": now}
        self.write_state(state)
        self.journal(event, slot=slot, **more)

    def journal(self, event, **more):
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps(dict(time=now, event=event, release=self.wanted, **more), sort_keys=True)
        with open(os.path.join(self.root, "journal.jsonl"), "a", encoding="utf-8") as handle:
            handle.write(line + "\n")

    # -- the whole

    def run(self, observed, steps, retire):
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
            self.record(slot, "switched" if moved else "restored", previous=observed["release"], seconds=seconds)
            self.retire(retire)
            self.prune()
        except (OSError, docker.errors.DockerException) as error:
            raise Failed(
                f"Release {self.wanted} is served, but what follows a switch (record it, stop and remove older "
                f"releases) did not come to its end: {error}. Mend that and deploy again; nothing has to be undone."
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
            state = self.read_state()
            state["releases"].setdefault(self.wanted, {"manifest": self.params["manifest"]})
            self.write_state(state)
            self.journal("failed", reason=str(error))
        except OSError as again:
            still += f" That could not be put on record ({again})."
        raise Failed(f"Release {self.wanted} is not served. {still}\n  {error}")

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


def main():
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["status", "switch"], "default": "switch"},
            "stack": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "manifest": {"type": "str", "required": True},
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
        },
        supports_check_mode=True,
    )
    params = module.params
    error = core.check_release_id(params["release"]) or core.check_arguments(params)
    if error:
        module.fail_json(msg=error)
    if docker is None:
        module.fail_json(msg=missing_required_lib("docker"))
    # nginx reads the slots as a user of its own.
    os.umask(0o022)
    try:
        switch = Switch(module, docker.from_env())
        with lock(params["root"]):
            observed = switch.observe()
            plan = core.plan(params["release"], params["manifest"], observed)
            if plan["error"]:
                module.fail_json(msg=plan["error"])
            result = {
                "changed": bool(plan["steps"]) and params["action"] == "switch",
                "due": plan["steps"],
                "active": {"slot": observed["slot"], "release": observed["release"]},
                "previous": observed["release"],
                "diff": {
                    "before": f"served release: {observed['release'] or 'none'}\n",
                    "after": f"served release: {params['release']}\n",
                },
            }
            if params["action"] == "switch" and plan["steps"] and not module.check_mode:
                slot, seconds = switch.run(observed, plan["steps"], plan["retire"])
                result["active"] = {"slot": slot, "release": params["release"]}
                if seconds is not None:
                    result["seconds"] = seconds
    except Failed as failure:
        module.fail_json(msg=str(failure))
    except docker.errors.DockerException as failure:
        module.fail_json(msg=f"The engine does not answer as it should: {failure}. What is served was left as it is.")
    except OSError as failure:
        module.fail_json(msg=f"{params['root']} or the engine cannot be read: {failure}. Nothing was changed.")
    module.exit_json(**result)


@contextlib.contextmanager
def lock(root):
    """One switch at a time; the kernel frees the lock of a process that died. It is on the directory itself, so that
    check mode leaves nothing behind."""
    if not os.path.isdir(root):
        yield
        return
    handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Failed("Another switch of this stack is under way. Nothing was changed; wait for it.") from error
    finally:
        os.close(handle)


if __name__ == "__main__":
    main()
