# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A switch that is watched afterwards, and goes back by itself. The decisions are in release.py and triggers.py.

One process does both, so that there is no moment in which a new release serves and nobody watches it.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import triggers, watch_report
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.blue_green_host import (
    RUNNING,
    Switch,
    container_memory,
    routed_release,
)
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_records import Failed, lock, now

try:
    import docker
except ImportError:
    docker = None

# Between two requests of a burst, so that a burst is no load of its own.
SPACING = 0.02
# How long a sample waits for the engine, and a flip-back for somebody else's change to end.
ENGINE_SECONDS, LOCK_SECONDS = 5, 600


class Progress:
    """The lines of one deploy, for whoever follows it. What cannot be written there stops nothing."""

    def __init__(self, root, release, token=""):
        self.path = os.path.join(root, "watch", f"{release}.jsonl")
        self.token = token
        self.warnings, self.is_open = [], False

    def open(self):
        self.is_open = True
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        self.say("begun", f"process {os.getpid()} on this host", pid=os.getpid(), token=self.token)

    def say(self, kind, text, **more):
        line = json.dumps({"time": now(), "kind": kind, "text": text, **more}, sort_keys=True)
        with contextlib.suppress(OSError), open(self.path, "a", encoding="utf-8") as handle:
            handle.write(line + "\n")

    def end(self, text):
        """The last line. A run that was refused has begun nothing, and the lines are another deploy's."""
        if self.is_open:
            self.say("end", text)

    def warn(self, text):
        self.warnings.append(text)
        self.say("warning", text)


def kernel_killed(container_id, since):
    """Whether the kernel's log names a container's cgroup in an OOM kill. False where the log cannot be read.

    C(since) is in seconds of the monotonic clock, which the log's microseconds follow closely.
    """
    try:
        handle = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        while True:
            try:
                record = os.read(handle, 8192).decode(errors="replace")
            except BrokenPipeError:
                # Overwritten while it was read; the next one is whole (Documentation/ABI/testing/dev-kmsg).
                continue
            except OSError:
                return False
            if not record:
                return False
            # <level>,<number>,<microseconds>,<flags>;<text>
            named = "oom-kill:" in record and container_id in record
            if named and int(record.split(",")[2]) / 1e6 >= since - 1:
                return True
    finally:
        os.close(handle)


class Sampler:
    """Looks at the new release, and at the old one where it is still warm, the same way."""

    def __init__(self, switch, params, release, slot, old):
        self.switch, self.params = switch, params
        self.release, self.slot, self.old = release, slot, old
        self.began, self.began_monotonic = time.time(), time.monotonic()
        self.deaths, self.kills, self.last_memory = {}, 0, None
        self.figures, self.looking = (None, 0), None
        self.first_kills = None
        self.container_id = ""

    def burst(self, slot, release):
        """(latencies, whether all was well, what was not) of one round of probes at one slot."""
        status, answered = self.switch.ask_slot(slot, self.params["health_path"])
        if status != 200 or answered != release:
            said = f"HTTP {status} from release {answered or '(no X-Release)'}" if status else answered
            return (), False, f"{self.params['health_path']}: {said}"
        latencies = []
        paths = self.params["probe_paths"]
        for number in range(self.params["probes"]):
            path = paths[number % len(paths)]
            sent = time.monotonic()
            status, answered = self.switch.ask_slot(slot, path)
            if status is None or status >= 500:
                return tuple(latencies), False, f"{path}: " + (f"HTTP {status}" if status else str(answered))
            latencies.append(round(time.monotonic() - sent, 5))
            time.sleep(SPACING)
        return tuple(latencies), True, ""

    def baseline(self, samples):
        """Latencies of the old release just before the switch, while the new one is warmed up the same way."""
        latencies, failures = [], 0
        # One that is down is not waited for: nobody is served meanwhile.
        while len(latencies) < samples and failures < 3:
            self.burst(self.slot, self.release)
            found, healthy, _detail = self.burst(self.old["slot"], self.old["release"])
            latencies += found
            failures += not healthy
        return latencies

    def engine(self):
        """Memory and limit; restarts and OOM kills since the switch are noted beside them.

        An engine that hangs may hold up nobody: without an answer the memory is not known in this period.
        """
        if self.looking is None or not self.looking.is_alive():
            self.figures = (None, 0)
            self.looking = threading.Thread(target=self.look, daemon=True)
            self.looking.start()
        self.looking.join(ENGINE_SECONDS)
        return self.figures

    def look(self):
        """Ask the engine; what was known before stays where it is away."""
        memory, limit = None, 0
        try:
            client = self.switch.client
            container = self.switch.container(self.release)
            self.container_id = container.id
            limit = container.attrs["HostConfig"]["Memory"]
            version = int(client.info().get("CgroupVersion") or 1)
            figures = container_memory(container, version)
            if figures:
                memory = self.last_memory = figures["unreclaimable"]
                # Kills inside of a container that lives on.
                if self.first_kills is None:
                    self.first_kills = figures["oom_kills"]
                self.kills = max(self.kills, figures["oom_kills"] - self.first_kills)
            self.note_deaths(client, limit)
        except (Failed, OSError, docker.errors.DockerException, docker.errors.StreamParseError):
            pass
        self.figures = (memory, limit)

    def note_deaths(self, client, limit):
        """Ends of the container, by the engine's events; it keeps the last 256 of all containers."""
        events = client.events(
            since=int(self.began),
            until=f"{time.time():.6f}",
            filters={"container": self.container_id, "event": ["die", "oom"]},
            decode=True,
        )
        for event in events:
            moment = event.get("timeNano", 0)
            if moment / 1e9 < self.began or moment in self.deaths:
                continue
            killed = event["Action"] == "oom"
            if event["Action"] == "die":
                near = self.last_memory is not None and self.last_memory * 10 > limit * 8
                killed = event["Actor"]["Attributes"].get("exitCode") == "137" and (
                    near or kernel_killed(self.container_id, self.began_monotonic)
                )
            self.deaths[moment] = (event["Action"], killed)

    def sample(self):
        """One period. Raises nothing for what it looks at."""
        moment = time.monotonic()
        latencies, healthy, detail = self.burst(self.slot, self.release)
        reference, reference_healthy = (), True
        if self.old:
            reference, reference_healthy, _detail = self.burst(self.old["slot"], self.old["release"])
            if not reference_healthy and not self.switch.is_warm_now():
                # Somebody stopped it, and it excuses nothing any more.
                self.old, reference_healthy = None, True
        memory, limit = self.engine()
        ends = list(self.deaths.values())
        deaths = [killed for action, killed in ends if action == "die"]
        return triggers.Sample(
            time=moment,
            healthy=healthy,
            memory=memory,
            limit=limit,
            latencies=latencies,
            reference=reference,
            restarts=len(deaths),
            # One kill may show three times: in the cgroup, as an event of its own, and as the end of the container.
            oom_kills=max(self.kills, sum(deaths), sum(action == "oom" for action, _killed in ends)),
            detail=detail,
            reference_healthy=reference_healthy,
        )


class Guard(Switch):
    """A switch of a stack whose outcome is watched. C(params) are the module's."""

    def __init__(self, params, client, records, progress):
        super().__init__(params, client, records)
        self.progress = progress
        self.began, self.doubt = time.time(), ""
        self.deploy, self.old, self.slot, self.baseline, self.seconds = None, None, None, [], None
        self.limits = triggers.Thresholds(
            **{
                name: params[name]
                for name in (
                    *("memory_percent", "memory_seconds", "degradation_percent", "latency_samples"),
                    *("latency_floor", "health_failures", "restarts"),
                )
            }
        )

    # -- the plan

    def look(self):
        """(observed, plan, the deploy that was broken off, how memory allows it), or Failed."""
        observed = self.observe()
        error = core.busy(observed["deploy"], self.records.holder())
        if error:
            raise Failed(error)
        observed["serving"] = self.serving()
        plan = core.plan(self.wanted, self.manifest, observed)
        if plan["error"]:
            raise Failed(plan["error"])
        memory = None
        if "start" in plan["steps"]:
            memory = self.memory(observed)
            if memory and not memory.mode:
                raise Failed(
                    f"Release {self.wanted} does not fit beside what runs. {memory.text}. Nothing was changed."
                )
        return observed, plan, observed["deploy"], memory

    # -- the whole

    def run(self):
        """Switch, watch, promote; or what was served before is served again, and Failed says why."""
        with lock(self.root, self.params["lock_timeout"]):
            observed, plan, unfinished, memory = self.look()
            resumed = self.resumed(observed, unfinished)
            if not plan["steps"] and not unfinished:
                return {"changed": False, "phase": "promoted"}
            self.switch_over(observed, plan, unfinished, memory, resumed)
        if self.old and self.params["watch_seconds"] > 0 and not (resumed and unfinished["phase"] == "watched"):
            self.watch()
        self.promote()
        result = {"changed": True, "phase": "promoted", "active": {"slot": self.slot, "release": self.wanted}}
        return {**result, **({} if self.seconds is None else {"seconds": self.seconds})}

    def resumed(self, observed, unfinished):
        """Whether this goes on with a deploy that was broken off after its switch."""
        return bool(
            unfinished
            and unfinished["release"] == self.wanted == observed["release"]
            # The rename is done before its phase is on record.
            and (unfinished["previous"] or unfinished["phase"] in ("routed", "switched", "watched"))
        )

    def switch_over(self, observed, plan, unfinished, memory, resumed):
        previous = {"slot": observed["slot"], "release": observed["release"]} if observed["release"] else None
        if observed["release"] == self.wanted:
            previous = unfinished["previous"] if resumed else None
        self.progress.open()
        for text in core.drift(observed, {"active": observed["active"]}):
            self.progress.warn(text)
        if unfinished and not resumed:
            self.progress.warn(
                f"The deploy of release {unfinished['release']} was broken off when it was {unfinished['phase']} "
                f"({unfinished['since']}). Release {observed['release'] or 'none'} is routed, and is where this starts."
            )
        elif resumed:
            self.progress.warn(
                f"This deploy was broken off when it was {unfinished['phase']} ({unfinished['since']}) and goes on."
            )
        if memory:
            self.progress.say("memory", f"memory of the switch: {memory.text}")
        self.stop_first = memory.mode == "stop_first" if memory else bool(resumed and unfinished.get("stop_first"))
        self.deploy = self.records.begin(
            {
                "release": self.wanted,
                "manifest": self.manifest,
                "previous": previous,
                "phase": unfinished["phase"] if resumed else "begun",
                "stop_first": self.stop_first,
            },
            self.params["owner"],
        )
        self.old, self.observed = previous, observed
        if resumed:
            self.baseline = unfinished.get("baseline") or []
        self.reached("begun")
        keep = {previous["release"]} if previous else set()
        self.slot, self.seconds = self.advance(
            observed, [step for step in plan["steps"] if step != "retire"], [n for n in plan["retire"] if n not in keep]
        )
        is_switched = observed["release"] != self.wanted or resumed
        before = (previous or {}).get("release") if is_switched else self.wanted
        try:
            self.record(self.slot, "switched" if is_switched else "restored", before, self.seconds, None)
        except OSError as error:
            # It is served, and nothing is more important than to watch it.
            self.progress.warn(f"That release {self.wanted} is served could not be put on record: {error}.")
        if is_switched:
            self.reached("switched")
        took = "" if self.seconds is None else f"; nginx answered with it {self.seconds} s after the rename"
        self.progress.say("switched", f"release {self.wanted} is served in slot {self.slot}{took}")

    def reached(self, phase):
        self.progress.say("phase", f"{self.wanted} {phase}", phase=phase)
        if self.deploy and phase in ("staged", "healthy", "routed", "switched", "watched"):
            try:
                self.records.phase(self.deploy, phase, **({"baseline": self.baseline} if phase == "healthy" else {}))
            except OSError as error:
                # Before the switch that ends it; afterwards nothing is more important than to go on watching.
                if phase in ("staged", "healthy"):
                    raise
                self.progress.warn(f"The phase {phase} could not be put on record: {error}.")
        super().reached(phase)

    def before_route(self):
        if self.old and not self.stop_first and self.params["watch_seconds"] > 0:
            slot = core.other_slot(self.old["slot"])
            self.baseline = Sampler(self, self.params, self.wanted, slot, self.old).baseline(
                self.limits.latency_samples
            )
            with contextlib.suppress(OSError):
                self.records.phase(self.deploy, "healthy", baseline=self.baseline)
            self.progress.say(
                "baseline",
                f"baseline: p95 of release {self.old['release']} is {watch_report.milliseconds(self.baseline)} ms "
                f"over {len(self.baseline)} requests",
            )

    # -- the watch

    def superseded(self):
        """Failed, when somebody else ended this deploy: a rollback does."""
        deploy = None
        # A state that was lost or broken says nothing.
        with contextlib.suppress(Failed):
            deploy = self.records.deploy()
        if routed_release(self.route) != self.wanted or (deploy and deploy["id"] != self.deploy["id"]):
            seen = self.serving()
            raise Failed(
                f"The deploy of release {self.wanted} was ended by somebody else while it was watched, most likely by "
                f"a rollback (make releases shows the history). Release {seen or 'none'} is served.",
                superseded=True,
            )

    def is_warm_now(self):
        """Whether the old release's container runs; that of an engine which is away goes on as it was."""
        try:
            return self.container(self.old["release"]).status in RUNNING
        except Failed:
            return False
        except (OSError, docker.errors.DockerException):
            return True

    def watch(self):
        old = self.old if not self.stop_first and self.is_warm_now() else None
        sampler = Sampler(self, self.params, self.wanted, self.slot, old)
        began, period, samples = time.monotonic(), self.params["period"], []
        end = began + self.params["watch_seconds"]
        # A condition that holds is waited for until it fires or goes.
        latest = end + self.limits.memory_seconds + period * self.limits.health_failures
        while True:
            samples.append(sampler.sample())
            self.superseded()
            with contextlib.suppress(OSError):
                self.records.beat()
            elapsed = time.monotonic() - began
            line = watch_report.sample_line(
                self.wanted, elapsed, self.params["watch_seconds"], samples, self.baseline, self.limits
            )
            self.progress.say("sample", line, elapsed=round(elapsed, 1))
            super().reached("watching")
            trigger = triggers.judge(samples, self.baseline, self.limits)
            if trigger:
                self.flip_back(trigger, samples, sampler)
            moment = time.monotonic()
            if moment >= latest or (moment >= end and not triggers.pending(samples, self.limits)):
                break
            time.sleep(max(0.0, samples[-1].time + period - moment))
        self.reached("watched")

    def words(self, release):
        """The last words of a release, for the evidence."""
        with contextlib.suppress(Failed, OSError, docker.errors.DockerException):
            return self.container(release).logs(tail=8).decode(errors="replace").strip().splitlines()[-8:]
        return []

    def flip_back(self, trigger, samples, sampler):
        """The old release is served again; then this fails with the trigger."""
        bad, fired = self.wanted, time.monotonic()
        self.progress.say("trigger", f"TRIGGER {trigger.name}: {trigger.reason}", trigger=trigger.name)
        evidence = {**trigger.evidence, "words": [], "watched": round(fired - samples[0].time, 1)}
        super().reached("rolling_back")
        with lock(self.root, LOCK_SECONDS):
            self.superseded()
            manifest = self.records.known().get(self.old["release"], {}).get("manifest", "")
            self.aim(self.old["release"], manifest)
            self.leaves = bad
            try:
                slot = self.go_back()
            except (Failed, OSError, docker.errors.DockerException) as error:
                self.finish_failed(bad, trigger, error)
            took = round(time.monotonic() - fired, 3)
            tail = self.doubt
            evidence["words"] = self.words(bad)
            try:
                self.records.unlock()
                self.record(slot, "rolled_back", bad, took, trigger.reason, trigger=trigger.name, evidence=evidence)
                super().reached("rolled_back")
                self.retire([bad])
            except (OSError, docker.errors.DockerException) as error:
                tail += f" What follows a rollback (record it, stop release {bad}) did not come to its end: {error}."
        self.progress.say("rolled_back", f"release {self.wanted} is served again, {took} s after the trigger")
        words = "".join(f"\n    {line}" for line in evidence["words"])
        raise Failed(
            f"Release {bad} was rolled back {evidence['watched']:.0f} s into its watch. Trigger {trigger.name}: "
            f"{trigger.reason}. Release {self.wanted} is served again, {took} s after the trigger fired.{tail} The "
            f"evidence is in {self.progress.path} and in journal.jsonl."
            + (f"\n  Its last words:{words}" if words else ""),
            rolled_back=True,
            trigger={"name": trigger.name, "reason": trigger.reason, "seconds": took, "evidence": evidence},
            active={"slot": slot, "release": self.wanted},
        )

    def go_back(self):
        """Route the old release: with nothing but a request and a rename where it is warm, else by all the steps.

        Where there is room for one only, these stop the bad one first.
        """
        slot = self.old["slot"]
        if self.ask_slot(slot, self.params["health_path"]) == (200, self.wanted):
            link = core.route_link(slot, self.wanted)
            if os.path.isfile(os.path.join(self.route, link, "www", "index.html")):
                self.mark()
                self.point(link)
                try:
                    self.read_back()
                except Failed as error:
                    # It answers itself, and nginx follows the route. A port of the loopback address is a process of the
                    # engine, so with the engine away nobody here can ask, and others are served all the same.
                    self.doubt = f" That could not be read back: {error}"
                return slot
        self.warm_up = 0
        observed = self.observe()
        observed["serving"] = None
        plan = core.plan(self.wanted, self.manifest, observed)
        steps = [step for step in plan["steps"] if step != "retire"]
        return self.advance(observed, steps, [])[0]

    def finish_failed(self, bad, trigger, error):
        """Nothing to go back to any more: the bad release stays, and somebody has to come."""
        with contextlib.suppress(OSError):
            self.records.journal("failed", bad, reason=f"{trigger.reason}; and the way back failed: {error}")
            self.records.finish()
        seen = self.serving()
        raise Failed(
            f"Release {bad} fired the trigger {trigger.name} ({trigger.reason}), and release {self.old['release']} "
            f"could not be put back: {error}\n  {'Release ' + seen if seen else 'NOTHING'} is served now.",
            rolled_back=False,
            trigger={"name": trigger.name, "reason": trigger.reason},
        ) from error

    def promote(self):
        """The old release has done its duty."""
        with lock(self.root, self.params["ready_timeout"]):
            self.superseded()
            try:
                active = {"slot": self.slot, "release": self.wanted}
                if self.records.read().get("active") != active:
                    # The disk was full, or the state was lost meanwhile.
                    self.record(self.slot, "switched", (self.old or {}).get("release"), self.seconds, None)
                self.retire([name for name in self.observe()["running"] if name != self.wanted])
                self.prune(self.began)
                self.records.journal("promoted", self.wanted, previous=(self.old or {}).get("release"))
                self.records.finish()
            except (OSError, docker.errors.DockerException) as error:
                raise Failed(
                    f"Release {self.wanted} is served and was watched to the end, but what follows (stop and remove "
                    f"older releases, record it) did not: {error}. Mend that and run this again; nothing has "
                    "to be undone."
                ) from error
        self.reached("promoted")
