"""HTTP to addresses that users name, which must never become a way into the own network.

A name is resolved once, every address that it has is checked, and the connection goes to
an address that was checked: a name that changes its answer (DNS rebinding) gains nothing.
Redirections are not followed, and time and size are bounded.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

__all__ = ["Answer", "Policy", "Refused", "Unreachable", "check_address", "check_url", "post"]

_MOST_ANSWER = 64 * 1024  # bytes read of an answer, whose content is of no interest
_MOST_URL = 2000

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA's registries of special-purpose addresses, https://www.iana.org/assignments/
_LOCAL = [
    ipaddress.ip_network(n)
    for n in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    )
]
_NEVER = [
    ipaddress.ip_network(n)
    for n in (
        "0.0.0.0/8",
        "169.254.0.0/16",  # also where clouds keep the secrets of a machine
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "fd00:ec2::/32",  # a cloud's secrets by IPv6
    )
]
_GLOBAL_6 = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is allowed, and how often a failed delivery is tried.

    ``seconds`` bounds one try altogether; between tries ``first_delay`` seconds pass, and
    five times as long after each, at most six hours.
    """

    allow_http: bool = False
    allow_private: bool = False
    seconds: float = 10.0
    tries: int = 8
    first_delay: float = 10.0

    def delay(self, tried: int) -> float:
        """Seconds to wait after ``tried`` failures (1 or more)."""
        return float(min(self.first_delay * 5 ** (tried - 1), 6 * 3600.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """HTTP status of the answer."""

    status: int

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Refused(Exception):
    """The policy does not allow it; trying again will not help."""


class Unreachable(Exception):
    """No answer: the name is unknown, nobody listens, TLS fails, or it takes too long."""


def check_url(url: str, policy: Policy) -> SplitResult:
    """The parts of a URL that may be called.

    Raises:
        Refused: another scheme, credentials in it, no host, or no URL at all.
    """
    if len(url) > _MOST_URL or any(c <= " " or c == "\x7f" for c in url):
        raise Refused("this is not a URL")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").rstrip(".")
        host.encode("idna")
    except ValueError:  # UnicodeError among them
        raise Refused("this is not a URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and policy.allow_http):
        raise Refused("the URL must begin with https://")
    if not host or port == 0:
        raise Refused("the URL has no host")
    if parts.username is not None or parts.password is not None:
        raise Refused("the URL must not hold credentials")
    if parts.fragment:
        raise Refused("the URL must not have a fragment")
    with suppress(ValueError):  # a name; its addresses are checked at each call
        check_address(ipaddress.ip_address(host), policy)
    return parts


def check_address(address: _Address, policy: Policy) -> None:
    """Pass for addresses of the open Internet, or if the policy says so, of the local one.

    Raises:
        Refused: private, loopback, link-local, multicast, reserved or otherwise special.
    """
    inner = address
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            raise Refused(f"{address} is not an address of the Internet")
        if address.ipv4_mapped is not None:
            inner = address.ipv4_mapped
        elif address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    local = any(inner in network for network in _LOCAL if network.version == inner.version)
    if any(inner in network for network in _NEVER if network.version == inner.version):
        allowed = False
    elif local:
        allowed = policy.allow_private
    else:
        allowed = inner.version == 4 or inner in _GLOBAL_6
    if not allowed:
        raise Refused(f"{address} is not an address of the Internet")


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    policy: Policy,
    *,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Send ``body`` and answer with the status.

    Raises:
        Refused, Unreachable: with a sentence for the log.
    """
    parts = check_url(url, policy)
    deadline = time.monotonic() + policy.seconds
    host = (parts.hostname or "").rstrip(".").encode("idna").decode()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    addresses = _resolve(host, port, policy)
    line = _connect(addresses, port, deadline)
    if parts.scheme == "https":
        line = (tls or ssl.create_default_context()).wrap_socket(
            line, server_hostname=host, do_handshake_on_connect=False
        )
    # A peer that sends a byte now and then never lets a socket time out; this ends it.
    guard = threading.Timer(max(0.0, deadline - time.monotonic()), _hang_up, (line,))
    guard.daemon = True
    guard.start()
    try:
        if isinstance(line, ssl.SSLSocket):
            line.do_handshake()
        answer = _exchange(line, parts, host, port, body, headers)
        if time.monotonic() >= deadline:  # what was hung up on may look like an end
            raise TimeoutError
        return answer
    except (OSError, http.client.HTTPException) as error:
        if time.monotonic() >= deadline:
            raise Unreachable(f"no answer within {policy.seconds:g} s") from None
        raise Unreachable(_say(error)) from None
    finally:
        guard.cancel()
        line.close()


def _exchange(
    line: socket.socket,
    parts: SplitResult,
    host: str,
    port: int,
    body: bytes,
    headers: Mapping[str, str],
) -> Answer:
    connection = http.client.HTTPConnection(host, port)
    connection.sock = line
    connection.default_port = 443 if parts.scheme == "https" else 80
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(
            "POST", target, body, {"Connection": "close", "Accept": "*/*", **headers}
        )
        answer = connection.getresponse()
        answer.read(_MOST_ANSWER)
        return Answer(status=answer.status)
    finally:
        connection.close()


def _resolve(host: str, port: int, policy: Policy) -> list[_Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable("the name has no address") from None
    addresses = list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0])) for entry in found))
    # One bad address is enough: whoever names it means no good.
    for address in addresses:
        check_address(address, policy)
    return addresses


def _connect(addresses: list[_Address], port: int, deadline: float) -> socket.socket:
    last: OSError | None = None
    for address in addresses:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            return socket.create_connection((str(address), port), timeout=left)
        except OSError as error:
            last = error
    raise Unreachable(_say(last) if last else "no connection in time")


def _hang_up(line: socket.socket) -> None:
    with suppress(OSError):
        # Not TLS's own shutdown, which would pull the rug from under the reading thread.
        socket.socket.shutdown(line, socket.SHUT_RDWR)


def _say(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'the handshake failed'}"
    if isinstance(error, http.client.HTTPException):
        return "the answer is not HTTP"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else "") or "the connection failed"
