# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container is made of and may touch, and what the host keeps of it.

User, capabilities, privileges, read-only root and limits of every process: tests/integration/test_limits.py.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import HOME, NAME, docker
from ansible_collections.sixty_sales.memory_optimized.tests.security.inside import places

# What each may see of the host: source -> writable. A volume goes by its name.
MOUNTS = {
    "nginx": {"config/nginx": False, "route": False, "/var/log/{}/nginx": True},
    "api": {"config/api": False, "/var/log/{}/api": True},
    "redis": {"config/redis": False, "volume redis": True},
    "postgres": {"config/postgres": False, "volume postgres": True},
    "memory_monitor": {
        **{"config/memory_monitor": False, "route": False, "status": False},
        **{"/sys/fs/cgroup": False, "/var/log/{}": False},
    },
    "prometheus": {"config/prometheus": False, "volume prometheus": True},
    "alertmanager": {"config/alertmanager": False, "volume alertmanager": True},
    "redis_exporter": {"config/redis_exporter": False},
    "postgres_exporter": {"config/postgres_exporter": False},
    "nginx_exporter": {},
    "grafana": {"config/grafana": False, "volume grafana": True},
    "loki": {"config/loki": False, "volume loki": True},
    "fluent_bit": {"config/fluent_bit": False, "fluent_bit": True, "/var/log/{}": False},
}
# Below /srv/<stack>: owner and mode; what is not named is root's and nobody else may write it.
MODES = {
    "": (0, 0, 0o711),
    "config": (0, 0, 0o700),
    "backups": (0, 0, 0o700),
    "route": (0, 0, 0o755),
    "releases": (0, 0, 0o755),
    "state.json": (0, 0, 0o644),
    "journal.jsonl": (0, 0, 0o644),
}


def named(mount: dict[str, object]) -> str:
    """A mount as the table above names it."""
    if mount["Type"] == "volume":
        return f"volume {str(mount['Name'])[len(NAME) + 1 :]}"
    source = Path(str(mount["Source"]))
    if source.is_relative_to(HOME):
        # Each release has a directory of its own.
        return str(source.relative_to(HOME)).partition("/api-")[0] + ("/api" if "/api-" in str(source) else "")
    return str(source).replace(f"/var/log/{NAME}", "/var/log/{}")


def test_each_sees_what_it_needs_of_the_host():
    seen = {
        service: {named(mount): mount["RW"] for mount in place.found["Mounts"]} for service, place in places().items()
    }
    assert seen == {service: MOUNTS[service] for service in places()}


def test_nobody_has_the_engine():
    """Neither its socket nor a directory that has it, under any name; and it listens on no port."""
    for service, place in places().items():
        mounts = Path(f"/proc/{place.pid}/mountinfo").read_text()
        assert "docker.sock" not in mounts and "containerd" not in mounts, service
        assert "docker" not in Path(f"/proc/{place.pid}/net/unix").read_text(), service
        found = subprocess.run(
            ["find", f"/proc/{place.pid}/root/", "-xdev", "-type", "s"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        ).stdout
        assert "docker" not in found and "containerd" not in found, service
    listening = ["ss", "--no-header", "--listening", "--tcp", "--processes"]
    ended = subprocess.run(listening, capture_output=True, text=True, timeout=10, check=True)
    assert '"docker-proxy"' in ended.stdout and '"dockerd"' not in ended.stdout


def test_each_is_alone():
    """No namespace of the host or of a neighbour, no device, and the engine's filter of system calls."""
    for service, place in places().items():
        config = place.found["HostConfig"]
        assert not {config["PidMode"], config["IpcMode"], config["UTSMode"], config["UsernsMode"]} - {"", "private"}
        assert config["NetworkMode"].startswith(f"{NAME}-") and not config["Devices"] and not config["DeviceRequests"]
        assert config["SecurityOpt"] == ["no-new-privileges"] and not config["ExtraHosts"] and not config["Links"]
        for kind in ("pid", "ipc", "uts", "mnt", "net"):
            owners = {
                other.name for other in places().values() if _namespace(other.pid, kind) == _namespace(place.pid, kind)
            }
            assert owners == {service} and _namespace(place.pid, kind) != _namespace(os.getpid(), kind), (service, kind)
        for process in place.processes:
            filtered = [line for line in (process / "status").read_text().splitlines() if line.startswith("Seccomp:")]
            assert filtered == ["Seccomp:\t2"], (service, process)


def _namespace(pid: int, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def test_no_image_starts_as_root():
    """Whoever starts one by hand, without the role, is nobody as well."""
    for service, place in places().items():
        image = json.loads(docker("image", "inspect", place.found["Image"]))[0]
        user = image["Config"]["User"].partition(":")[0]
        assert user.isdigit() and user != "0", (service, user)


def test_no_image_has_an_account_with_a_password():
    for service, place in places().items():
        root = Path(f"/proc/{place.pid}/root")
        shadow = (root / "etc/shadow").read_text().splitlines() if (root / "etc/shadow").exists() else []
        assert not [line for line in shadow if line.split(":")[1] not in ("*", "!", "!*", "!!")], service


def test_every_image_is_named_by_what_it_is_made_of():
    """Ours by a digest of their context, published ones by a version; nothing is fetched at a start."""
    for service, place in places().items():
        name, _, tag = place.found["Config"]["Image"].rpartition(":")
        assert name and tag != "latest" and any(letter.isdigit() for letter in tag), service


@pytest.mark.parametrize("path", MODES)
def test_owners_and_modes(path):
    status = (HOME / path).stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == MODES[path]


def test_nobody_but_root_writes_what_runs():
    """Configuration, bundles, route, state, units: root's, and writable by root alone."""
    own = {HOME / "fluent_bit"}
    paths = [HOME, *(path for path in HOME.rglob("*") if not {path, *path.parents} & own)]
    paths += [Path("/etc/docker/daemon.json"), Path(f"/etc/systemd/system/docker.service.d/{NAME}.conf")]
    paths += [Path(f"/etc/logrotate.d/{NAME}"), Path(f"/etc/sysctl.d/60-{NAME}.conf")]
    assert len(paths) > 50
    for path in paths:
        status = path.lstat()
        assert status.st_uid == 0, path
        assert path.is_symlink() or not status.st_mode & 0o022, path


def test_a_container_writes_no_program_that_it_could_start():
    """What it may write is mounted noexec, or is data of a database on a volume."""
    for service, place in places().items():
        mounts = [line.split() for line in Path(f"/proc/{place.pid}/mounts").read_text().splitlines()]
        writable = {
            path: set(options.split(","))
            for _device, path, kind, options, *_rest in mounts
            if "rw" in options.split(",") and kind not in ("proc", "devpts", "mqueue", "sysfs", "cgroup", "cgroup2")
        }
        volumes = {mount["Destination"] for mount in place.found["Mounts"] if mount["RW"]}
        # The engine's own three files, which are root's.
        engine = {"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"}
        open_doors = {
            path
            for path, options in writable.items()
            if "noexec" not in options and not path.startswith(("/proc/", "/dev", "/sys/")) and path not in engine
        }
        assert open_doors <= volumes, (service, open_doors - volumes)
