"""Outbound HTTP reaches the open Internet and, unless allowed, nothing else."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from assay.worker import outbound
from assay.worker.outbound import Policy, Refused, Unreachable

OPEN = Policy(allow_http=True, allow_private=True, seconds=2.0)
STRICT = Policy(seconds=2.0)


class Peer:
    """An HTTP server on loopback that notes what it is asked and answers as told."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.headers = 204, {}
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                peer.seen.append((self.path, dict(self.headers), body))
                self.send_response(peer.status)
                for name, value in peer.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *arguments: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_special_addresses_are_refused(address: str) -> None:
    with pytest.raises(Refused, match="not an address of the Internet"):
        outbound.check_address(ipaddress.ip_address(address), STRICT)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "::ffff:1.1.1.1", "64:ff9b::101:101"],
)
def test_addresses_of_the_internet_are_allowed(address: str) -> None:
    outbound.check_address(ipaddress.ip_address(address), STRICT)


def test_no_address_that_python_holds_for_special_is_allowed() -> None:
    """An independent list: the standard library's."""
    import random

    chance = random.Random(3)
    for _ in range(50_000):
        for address in (
            ipaddress.IPv4Address(chance.getrandbits(32)),
            ipaddress.IPv6Address(chance.getrandbits(128)),
        ):
            if not address.is_global or address.is_multicast:
                with pytest.raises(Refused):
                    outbound.check_address(address, STRICT)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.9", "::1", "fd12::1"])
def test_an_intranet_can_be_allowed(address: str) -> None:
    outbound.check_address(ipaddress.ip_address(address), OPEN)


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "fd00:ec2::254", "224.0.0.1"])
def test_some_addresses_are_never_allowed(address: str) -> None:
    with pytest.raises(Refused):
        outbound.check_address(ipaddress.ip_address(address), OPEN)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "http://example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://user:secret@example.org/",
        "https://example.org/#part",
        "https://example.org:99999/",
        "https://exa mple.org/",
        "https://example.org/\r\nHost: other",
        "https://[::1/",
        "https://127.0.0.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://.example.org/",
        "https://" + "a" * 70 + ".org/",
        "https://example.org/" + "a" * 2000,
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        outbound.check_url(url, STRICT)


def test_a_body_arrives_with_its_headers(peer: Peer) -> None:
    url = f"http://localhost:{peer.port}/hook?a=1"
    assert outbound.post(url, b"{}", {"Assay-Event": "x"}, OPEN).ok
    path, headers, body = peer.seen[0]
    assert (path, body) == ("/hook?a=1", b"{}")
    assert headers["Assay-Event"] == "x"
    assert headers["Host"] == f"localhost:{peer.port}"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "127.1", "[::ffff:7f00:1]"]
)
def test_every_name_of_loopback_is_refused(peer: Peer, host: str) -> None:
    with pytest.raises(Refused):
        outbound.post(f"http://{host}:{peer.port}/", b"", {}, Policy(allow_http=True))
    assert peer.seen == []


def test_a_name_that_changes_its_address_gains_nothing(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the check sees one answer and a second look-up would see another."""
    answers = iter(["93.184.215.14"] + ["127.0.0.1"] * 9)
    asked, dialled = [], []
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *a: Any, **k: Any) -> Any:
        if host == "rebind.test":
            asked.append(host)
            return real(next(answers), port, *a, **k)
        return real(host, port, *a, **k)

    def dial(address: tuple[str, int], **k: Any) -> socket.socket:
        dialled.append(address[0])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", dial)
    with pytest.raises(Unreachable):
        outbound.post(f"http://rebind.test:{peer.port}/", b"", {}, Policy(allow_http=True))
    assert asked == ["rebind.test"], "a name is resolved once"
    assert dialled == ["93.184.215.14"], "what is dialled is the address that was checked"


def test_one_internal_address_among_others_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, port: int, **k: Any) -> Any:
        return [(2, 1, 6, "", (a, port)) for a in ("93.184.215.14", "10.0.0.7")]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(Refused, match=r"10\.0\.0\.7"):
        outbound.post("https://mixed.test/", b"", {}, STRICT)


def test_redirections_are_not_followed(peer: Peer) -> None:
    peer.status, peer.headers = 307, {"Location": f"http://127.0.0.1:{peer.port}/secret"}
    answer = outbound.post(f"http://localhost:{peer.port}/", b"", {}, OPEN)
    assert (answer.status, answer.ok) == (307, False)
    assert len(peer.seen) == 1


@pytest.mark.parametrize("drip", [b"", b"HTTP/1.1 200 OK\r\n", b"H"])
def test_a_peer_that_never_ends_is_left(drip: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                try:
                    for n in range(100):
                        line.sendall(drip if n == 0 else b"X" if drip else b"")
                        time.sleep(0.1)
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        begun = time.monotonic()
        policy = Policy(allow_http=True, allow_private=True, seconds=1.0)
        with pytest.raises(Unreachable, match=r"within 1 s|not HTTP"):
            outbound.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"", {}, policy)
        assert time.monotonic() - begun < 3
        thread.join()


def test_an_endless_answer_is_not_read(peer: Peer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                try:
                    line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    for _ in range(1000):
                        line.sendall(b"0" * 65536)
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        assert outbound.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"", {}, OPEN).ok
        thread.join()


def test_nobody_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Unreachable, match="refused"):
        outbound.post(f"http://127.0.0.1:{port}/", b"", {}, OPEN)
    with pytest.raises(Unreachable, match="no address"):
        outbound.post("https://no-such-name.invalid/", b"", {}, OPEN)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for hooks.test, which is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, secret


def test_tls_is_checked_against_the_name_not_the_address(
    authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*authority)
    names = []
    served.sni_callback = lambda sock, name, context: names.append(name)
    peer = Peer(served)
    real = socket.getaddrinfo

    def look_up(host: str, *a: Any, **k: Any) -> Any:
        return real("127.0.0.1" if host.endswith(".test") else host, *a, **k)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    trusting = ssl.create_default_context(cafile=str(authority[0]))
    try:
        url = f"https://hooks.test:{peer.port}/x"
        assert outbound.post(url, b"1", {}, OPEN, tls=trusting).ok
        assert names == ["hooks.test"]
        assert peer.seen[0][1]["Host"] == f"hooks.test:{peer.port}"
        with pytest.raises(Unreachable, match="TLS"):
            outbound.post(url, b"1", {}, OPEN)
        other = f"https://other.test:{peer.port}/x"
        with pytest.raises(Unreachable, match="TLS: Hostname mismatch"):
            outbound.post(other, b"1", {}, OPEN, tls=trusting)
        assert len(peer.seen) == 1
    finally:
        peer.close()


def test_waits_grow_and_are_bounded() -> None:
    assert [Policy().delay(n) for n in (1, 2, 3, 4, 8)] == [10, 50, 250, 1250, 21600]
