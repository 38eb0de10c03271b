# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reaches whom: tried from within the network namespace of every container, and from a neighbour of the host."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import yaml
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import NAME, ROOT, SUBNETS, eventually
from ansible_collections.sixty_sales.memory_optimized.tests.security.inside import (
    Neighbour,
    from_each,
    neighbour,
    places,
    reached,
    run,
)

EXPORTERS = "redis_exporter:9121 postgres_exporter:9187 nginx_exporter:9113"
# Grafana, Loki and Fluent Bit run where a registry has their images.
METRICS = f"prometheus:9090 memory_monitor:8080 {EXPORTERS} grafana:3000 loki:3100 fluent_bit:2020"
ADMIN = "prometheus:9090 memory_monitor:8080 alertmanager:9093 grafana:3000"
# Who -> what it needs, and what it reaches beside that, since it shares a network with it.
REACHES = {
    "nginx": ("api:3000", "prometheus:9090 nginx_exporter:9113"),
    "api": (
        "postgres:5432 redis:6379",
        "nginx:8080 nginx:8081 prometheus:9090 redis_exporter:9121 postgres_exporter:9187",
    ),
    "postgres": ("", "api:3000 postgres_exporter:9187"),
    "redis": ("", "api:3000 redis_exporter:9121"),
    "redis_exporter": ("redis:6379", f"api:3000 {METRICS}"),
    "postgres_exporter": ("postgres:5432", f"api:3000 {METRICS}"),
    "nginx_exporter": ("nginx:8081", f"nginx:8080 {METRICS}"),
    "memory_monitor": ("", f"{METRICS} {ADMIN}"),
    "prometheus": (
        f"api:3000 memory_monitor:8080 alertmanager:9093 {EXPORTERS} grafana:3000 loki:3100 fluent_bit:2020",
        "nginx:8080 nginx:8081",
    ),
    "alertmanager": ("", ADMIN),
    "grafana": ("prometheus:9090 loki:3100", f"{METRICS} {ADMIN}"),
    "loki": ("", METRICS),
    "fluent_bit": ("loki:3100", METRICS),
}
PORTS = {
    **{"nginx": {8080, 8081}, "api": {3000}, "postgres": {5432}, "redis": {6379}, "memory_monitor": {8080}},
    **{"prometheus": {9090}, "alertmanager": {9093}, "grafana": {3000}, "loki": {3100}, "fluent_bit": {2020}},
    **{"redis_exporter": {9121}, "postgres_exporter": {9187}, "nginx_exporter": {9113}},
}
# Loki's second port is for other Lokis and listens on 127.0.0.1.
PUBLISHED = {"nginx": "8080/tcp", "memory_monitor": "8080/tcp", "prometheus": "9090/tcp"}
PUBLISHED |= {"alertmanager": "9093/tcp", "grafana": "3000/tcp"}
# In a network with a published port or a way to Slack; the internal ones have no way out.
OUTSIDE = {"nginx", "memory_monitor", "prometheus", "alertmanager", "grafana"}
# A listener in the neighbour, which answers whoever comes.
LISTEN = (
    "import socket; s = socket.create_server(('0.0.0.0', 7777)); print('ready', flush=True)\nwhile True: s.accept()"
)


def allowed(service: str) -> set[str]:
    """What a service may reach of what runs."""
    pairs = set(" ".join(REACHES[service]).split())
    return {pair for pair in pairs if pair.partition(":")[0] in places()} - {
        pair for pair in pairs if pair.startswith(f"{service}:")
    }


def declared() -> dict[str, set[str]]:
    """The networks of each service as the roles have them."""
    networks = {}
    for service in REACHES:
        role = "exporters" if service.endswith("_exporter") else service
        data = yaml.safe_load((ROOT / f"roles/{role}/vars/main.yml").read_text())
        entry = data["__exporters_services"][service] if role == "exporters" else data[f"__{role}_container"]
        # The address in the network app is given and taken by the switch.
        networks[service] = {*entry["networks"], *(["app"] if service == "api" else [])}
    return networks


@pytest.fixture(scope="module")
def outside() -> Iterator[Neighbour]:
    """A machine beside the host, which knows the way to the stack's networks; port 7777 stands for the world."""
    with neighbour(f"{SUBNETS}.0.0/16") as machine:
        listener = subprocess.Popen([*machine.enter, sys.executable, "-c", LISTEN], stdout=subprocess.PIPE, text=True)
        try:
            assert listener.stdout is not None and listener.stdout.readline() == "ready\n"
            yield machine
        finally:
            listener.kill()
            listener.wait()


# -- containers


def test_the_matrix_is_that_of_the_roles_networks():
    """Whoever shares a network reaches every port, so the data below is no wish."""
    networks = declared()
    for service, mine in networks.items():
        sharing = {
            f"{other}:{port}"
            for other, theirs in networks.items()
            if other != service and mine & theirs
            for port in PORTS[other]
        }
        assert sharing == set(" ".join(REACHES[service]).split()) - {f"{service}:{p}" for p in PORTS[service]}, service


def test_nobody_listens_on_more_than_its_port():
    assert {service: place.ports for service, place in places().items()} == {
        service: PORTS[service] | ({8443} & place.ports if service == "nginx" else set())
        for service, place in places().items()
    }


def test_who_reaches_whom():
    """Every address of every container, in every network, from every container."""
    targets = {
        (address, port): f"{service}:{port}"
        for service, place in places().items()
        for address in place.addresses.values()
        for port in PORTS[service]
    }
    seen = from_each(lambda _place: list(targets))
    matrix = {
        service: {targets[target] for target in found if not targets[target].startswith(f"{service}:")}
        for service, found in seen.items()
    }
    assert matrix == {service: allowed(service) for service in places()}


@pytest.mark.parametrize("service", ["api", "nginx_exporter"])
def test_the_counters_of_nginx_are_for_its_exporter_alone(service):
    """The API shares the network app with nginx, where it reaches the port and is refused."""
    shared = {"api": "app", "nginx_exporter": "status"}[service]
    url = f"http://{places()['nginx'].addresses[shared]}:8081/stub_status"
    code = f"import urllib.request; print(urllib.request.urlopen({url!r}, timeout=5).status)"
    command = [*places()[service].enter, sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "403: Forbidden" in ended.stderr if service == "api" else ended.stdout == "200\n", ended


# -- the way out


def test_backends_have_no_way_out(outside):
    seen = from_each(lambda _place: [(outside.address, 7777)])
    assert {service for service, found in seen.items() if found} == OUTSIDE & places().keys()


def test_nobody_reaches_the_host(outside):
    """Neither at a gateway of its networks nor at another address of the host; what the host keeps for itself by none.

    Who is in admin and egress may: a receiver of alerts, or an exporter, can run on the host.
    """
    with socket.create_server(("0.0.0.0", 0)) as everywhere, socket.create_server(("127.0.0.1", 0)) as own:
        ports = [listener.getsockname()[1] for listener in (everywhere, own)]
        assert reached(("env",), [("127.0.0.1", port) for port in ports]) == {("127.0.0.1", port) for port in ports}
        addresses = {
            service: [outside.host, *(address.rpartition(".")[0] + ".1" for address in place.addresses.values())]
            for service, place in places().items()
        }
        admin = [
            int(binding["HostPort"])
            for place in places().values()
            for bindings in (place.found["HostConfig"]["PortBindings"] or {}).values()
            for binding in bindings
            if binding["HostIp"].startswith("127.")
        ]
        assert admin
        seen = from_each(lambda place: [(a, p) for a in addresses[place.name] for p in (*ports, *admin)])
    assert {service for service, found in seen.items() if found} <= {
        "memory_monitor",
        "prometheus",
        "alertmanager",
        "grafana",
    }
    assert {port for found in seen.values() for _address, port in found} <= {ports[0]}


# -- the way in


def test_what_is_published():
    """One port of nginx for people, and what is for operators on 127.0.0.1 alone."""
    published = {
        service: {port: {binding["HostIp"] for binding in bindings} for port, bindings in ports.items()}
        for service, place in places().items()
        if (ports := place.found["HostConfig"]["PortBindings"])
    }
    assert published.keys() == PUBLISHED.keys() & places().keys()
    for service, ports in published.items():
        assert set(ports) <= {PUBLISHED[service], *(["8443/tcp"] if service == "nginx" else [])}
        if service != "nginx":
            assert set.union(*ports.values()) == {"127.0.0.1"}
    for service, place in places().items():
        for port in place.ports if service in published and service != "nginx" else ():
            bound = int(place.found["HostConfig"]["PortBindings"][f"{port}/tcp"][0]["HostPort"])
            listening = run("ss", "--no-header", "--listening", "--tcp", "--numeric", f"sport = :{bound}").split()
            assert f"127.0.0.1:{bound}" in listening and not [word for word in listening if word == f"0.0.0.0:{bound}"]


def test_a_neighbour_of_the_host_gets_in_nowhere(outside):
    """By the containers' own addresses, by the host's, and by 127.0.0.1 at the host, which engines before 28 let in."""
    inner = {
        (address, port): service
        for service, place in places().items()
        for address in place.addresses.values()
        for port in place.ports
    }
    ours = [
        int(bindings[0]["HostPort"])
        for place in places().values()
        for bindings in (place.found["HostConfig"]["PortBindings"] or {}).values()
        if bindings[0]["HostIp"] == "127.0.0.1"
    ]
    with socket.create_server(("0.0.0.0", 0)) as door:
        open_door = (outside.host, door.getsockname()[1])
        seen = reached(outside.enter, [open_door, *inner, *((outside.host, port) for port in ours)])
    assert open_door in seen
    # nginx is what the world is served by; its container's address is as good as its port.
    assert {inner.get(target, "host") for target in seen - {open_door}} <= {"nginx"}


def test_nor_by_the_hosts_own_loopback(outside):
    """A packet for 127.0.0.1 that is sent to the host over the wire, as moby/moby#45610 has it."""
    ports = [
        int(places()[service].found["HostConfig"]["PortBindings"][PUBLISHED[service]][0]["HostPort"])
        for service in ("memory_monitor", "prometheus", "alertmanager")
    ]
    # The neighbour has no loopback of its own from here on, which no later test needs.
    steps = [
        "sysctl -qw net.ipv4.conf.all.route_localnet=1",
        "ip address delete 127.0.0.1/8 dev lo",
        "ip link set lo down",
    ]
    steps += [f"ip route add 127.0.0.0/8 via {outside.host} src {outside.address}"]
    run(*outside.enter, "sh", "-ec", "; ".join(steps))
    assert f"via {outside.host}" in run(*outside.enter, "ip", "route", "get", "127.0.0.1")
    assert reached(outside.enter, [("127.0.0.1", port) for port in ports]) == set()


def test_walls_come_back_with_the_engine():
    """What is in the packet filter now is what the engine's unit puts back after a reboot."""
    unit = f"/etc/systemd/system/docker.service.d/{NAME}.conf"
    with open(unit) as handle:
        starts = [line.partition('"')[2] for line in handle if line.startswith("ExecStartPost=")]
    assert len(starts) == 2
    for line in starts:
        check = line.partition(" || ")[0].split()
        assert check[:3] == ["iptables", "-w", "-C"]
        run(*check)


def test_a_published_port_passes_the_hosts_firewall_and_stops_at_docker_user(outside):
    """Rules for this test's own wire and container; the second is the one of docs/security.md."""
    wire = json.loads(run("ip", "-json", "route", "get", outside.address))[0]["dev"]
    name, image = f"{NAME}-sec-published", places()["memory_monitor"].found["Config"]["Image"]
    program = ("python3", "-m", "http.server", "8000")
    run("docker", "run", "--rm", "--detach", "--name", name, f"--publish={outside.host}::8000", image, *program)
    try:
        port = int(run("docker", "port", name, "8000").rpartition(":")[2])
        door = (outside.host, port)
        eventually(lambda: reached(outside.enter, [door]), "it is published", 10)
        only_known = ("!", "-s", "203.0.113.0/24", "-m", "conntrack", "--ctstate", "NEW", "--ctorigdstport", str(port))
        for chain, rule, expected in (
            ("INPUT", ("-i", wire), {door}),
            ("DOCKER-USER", ("-i", wire, "-p", "tcp", *only_known), set()),
        ):
            run("iptables", "-w", "-I", chain, *rule, "-j", "DROP")
            try:
                assert reached(outside.enter, [door]) == expected, chain
            finally:
                run("iptables", "-w", "-D", chain, *rule, "-j", "DROP")
        assert reached(outside.enter, [door]) == {door}
    finally:
        run("docker", "rm", "--force", name)
