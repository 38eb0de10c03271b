# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import os
import ssl
from typing import Any

from aiohttp import web

DOCUMENTATION = r"""
---
short_description: Receive Alertmanager's webhook from who has the secret
description:
  - Takes the JSON of Alertmanager's C(webhook_configs) at C(POST /alerts), and puts the alerts that fire in an event
    with C(host) and C(alerts). The host is the one whose bearer token it came with, whatever the body says.
  - A caller without a token is refused before its body is read. A body that is too large, comes too slowly or is no
    such JSON is refused, and changes nothing.
options:
  tokens:
    description:
      - For each host, by its name in the inventory, the file with its token; at least 32 characters, and no one but
        its owner may read it.
    type: dict
    required: true
  host:
    description: Address to listen at. One that is not this machine alone needs O(certfile), or the token could be read.
    type: str
    default: 127.0.0.1
  port:
    description: Port to listen at.
    type: int
    default: 5005
  certfile:
    description: Certificate with its chain, for TLS.
    type: str
  keyfile:
    description: Its key.
    type: str
"""

EXAMPLES = r"""
- sixty_sales.memory_optimized.alertmanager_webhook:
    host: 0.0.0.0
    certfile: /etc/sixty/eda/tls.crt
    keyfile: /etc/sixty/eda/tls.key
    tokens:
      web1: /etc/sixty/eda/web1.token
"""

LARGEST, PATIENCE, SHORTEST = 1 << 20, 10, 32
# ansible-rulebook runs this file without a name.
logger = logging.getLogger("alertmanager_webhook")


def read_token(path: str) -> bytes:
    """A secret out of a file, or ValueError where others may read it or it could be guessed."""
    with open(path, "rb") as handle:
        mode = os.fstat(handle.fileno()).st_mode & 0o777
        token = handle.read(4096).strip()
    if mode & 0o077:
        raise ValueError(f"{path} has mode {mode:04o}, so others may read the token; chmod 0600 {path}")
    if len(token) < SHORTEST:
        raise ValueError(f"the token in {path} has {len(token)} characters, at least {SHORTEST}: openssl rand -hex 32")
    return token


def sender(authorization: str, tokens: dict[str, bytes]) -> str | None:
    """The host that a header's bearer token is of, or None. It takes as long for any wrong token."""
    scheme, _space, given = authorization.partition(" ")
    secret = given.strip().encode("utf-8", "surrogateescape")
    found = [host for host, token in tokens.items() if hmac.compare_digest(secret, token)]
    return found[0] if found and scheme.lower() == "bearer" else None


def firing(body: bytes) -> list[Any]:
    """Alerts of a webhook's body that fire, or ValueError."""
    try:
        payload = json.loads(body)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    alerts = payload.get("alerts") if isinstance(payload, dict) else None
    if not isinstance(alerts, list):
        raise ValueError("it has no list of alerts")
    return [alert for alert in alerts if isinstance(alert, dict) and alert.get("status") == "firing"]


def application(queue: Any, tokens: dict[str, bytes]) -> web.Application:
    """The web application that puts events in the queue."""

    async def receive(request: web.Request) -> web.Response:
        host = sender(request.headers.get("Authorization", ""), tokens)
        if not host:
            logger.warning("A caller at %s without a valid token was refused.", request.remote)
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer", "Connection": "close"})
        try:
            body = await asyncio.wait_for(request.read(), PATIENCE)
            alerts = firing(body)
        except asyncio.TimeoutError as error:
            raise web.HTTPRequestTimeout(headers={"Connection": "close"}) from error
        except ValueError as error:
            logger.warning("What %s sent was refused: %s.", host, error)
            raise web.HTTPBadRequest(text="not the JSON of a webhook of Alertmanager\n") from error
        if alerts:
            await queue.put({"host": host, "alerts": alerts})
        return web.Response(status=204)

    made = web.Application(client_max_size=LARGEST)
    made.router.add_post("/alerts", receive)
    return made


def check(args: dict[str, Any]) -> tuple[dict[str, bytes], str, int, ssl.SSLContext | None]:
    """(tokens, address, port, TLS or None), or ValueError for arguments that cannot be used."""
    files, address = args.get("tokens"), args.get("host") or "127.0.0.1"
    if not isinstance(files, dict) or not files:
        raise ValueError("tokens has to name a file with a token for each host")
    tokens = {host: read_token(str(path)) for host, path in files.items()}
    if len(set(tokens.values())) != len(tokens):
        raise ValueError("two hosts have the same token, so nobody could tell which of them calls")
    context = None
    if args.get("certfile"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(args["certfile"], args.get("keyfile"))
    elif not ipaddress.ip_address(address).is_loopback:
        raise ValueError(f"at {address} the token would be sent in the clear; set certfile and keyfile")
    return tokens, address, int(args.get("port") or 5005), context


async def main(queue: Any, args: dict[str, Any]) -> None:
    tokens, address, port, context = check(args)
    runner = web.AppRunner(application(queue, tokens))
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port, ssl_context=context).start()
        logger.info("Listening at %s:%s for %s.", address, port, ", ".join(tokens))
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
