"""Asks an OpenAI-compatible endpoint which models it has: tells whether address and key are right."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from domain.errors import InvalidValue

TIMEOUT_S = 10.0
MAX_BYTES = 2 * 1024 * 1024
MAX_MODELS = 1000


@dataclass(frozen=True, slots=True)
class Probe:
    """`error` says in words what went wrong; then `models` is empty."""

    ok: bool
    latency_ms: int
    models: tuple[str, ...] = ()
    error: str | None = None


def check_url(url: str) -> None:
    """InvalidValue unless it is an http(s) address with a host, and without a login, query or fragment."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidValue(f"not an address: {error}", field="api_url") from error
    if parts.scheme not in {"http", "https"} or not host or not url.isprintable() or " " in url:
        raise InvalidValue("an address like https://api.example.com/v1 is expected", field="api_url")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidValue("the address takes no login, '?' or '#'; the key has a field of its own", field="api_url")


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        return [ipaddress.ip_address(host.split("%")[0])]
    except ValueError:  # a name
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(each[4][0]).split("%")[0]) for each in found]


def _names(payload: Any) -> tuple[str, ...] | None:
    rows = payload.get("data") if isinstance(payload, dict) else None
    if not isinstance(rows, list):
        return None
    names = (row.get("id") for row in rows if isinstance(row, dict))
    return tuple(sorted({name for name in names if isinstance(name, str)}))[:MAX_MODELS]


def probe(api_url: str, api_key: str | None, timeout_s: float = TIMEOUT_S) -> Probe:
    """GET {api_url}/models; all of it, looking up the name included, within `timeout_s`.

    Never raises for what the other side does.
    """
    # Timeouts of sockets bound each read: who sends a byte now and then would hold the caller for hours.
    asked: Future[Probe] = Future()

    def work() -> None:
        try:
            asked.set_result(_ask(api_url, api_key, timeout_s))
        except BaseException as error:  # noqa: BLE001 - the outermost edge of a thread; raised by whoever waits
            asked.set_exception(error)

    threading.Thread(target=work, name="probe", daemon=True).start()
    try:
        return asked.result(timeout_s)
    except TimeoutError:
        return Probe(False, round(timeout_s * 1000), error=f"no answer within {timeout_s:g} s")


def _ask(api_url: str, api_key: str | None, timeout_s: float) -> Probe:
    import requests
    import urllib3

    session = requests.Session()
    session.auth = lambda prepared: prepared  # else a login in ~/.netrc would take the place of the key
    started = time.perf_counter()

    def failed(error: str) -> Probe:
        return Probe(False, round((time.perf_counter() - started) * 1000), error=error)

    try:
        check_url(api_url)
        addresses = _addresses(urlsplit(api_url).hostname or "")
        # Link-local addresses belong to machinery (a cloud's metadata service), never to a language model.
        if any(address.is_link_local for address in addresses):
            return failed("this address belongs to the machine's network, not to a language model")
        # A proxy of the environment is for the world outside: on it this machine's addresses are its own.
        session.trust_env = not all(address.is_loopback for address in addresses)
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        with (
            session,
            session.get(
                f"{api_url.rstrip('/')}/models", headers=headers, timeout=timeout_s, allow_redirects=False, stream=True
            ) as answer,
        ):
            status = answer.status_code
            raw = _body(answer.raw, started + timeout_s) if status == 200 else b""
    except InvalidValue as error:
        return failed(str(error))
    except (requests.Timeout, TimeoutError):
        return failed(f"no answer within {timeout_s:g} s")
    # UnicodeError: a key or host that no header or name can carry.
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
        return failed(f"no connection ({type(error).__name__}); check the address")
    if status in {401, 403}:
        return failed(f"the key was refused (HTTP {status})")
    if status != 200:
        return failed(f"HTTP {status} from {api_url.rstrip('/')}/models; check the address")
    return _read(raw, round((time.perf_counter() - started) * 1000))


def _body(stream: Any, deadline: float) -> bytes:
    """At most a byte more than is allowed, as it comes; TimeoutError beyond `deadline`."""
    found = b""
    while len(found) <= MAX_BYTES and (piece := stream.read1(MAX_BYTES + 1 - len(found), decode_content=True)):
        found += piece
        if time.perf_counter() > deadline:
            raise TimeoutError
    return found


def _read(raw: bytes, latency_ms: int) -> Probe:
    import json

    try:
        names = _names(json.loads(raw)) if len(raw) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        names = None
    if names is None:
        return Probe(False, latency_ms, error="the answer is not a list of models; check the address")
    return Probe(True, latency_ms, names)
