"""Every endpoint of every service: its name, a connection, TLS, an HTTP answer; and what time the services have.

In:      services of the policy.
Out:     findings, and for each answer with a Date how far this machine's clock is off, in seconds.
How:     HEAD on the url's path, without the credential: any status will do. All endpoints at once.
Units:   seconds.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException

from sidecar.cli.checkup.finding import Finding, fail, ok, warn
from sidecar.policy.snapshot import Service
from sidecar.terms import Address, TcpAddress, UnixAddress
from sidecar.upstream.tls import TlsFileError, client_context

PATIENCE = 5.0
AT_ONCE = 16
RENEW_WITHIN = 14 * 86_400.0

Told = tuple[Finding, float | None]
Clock = Callable[[], float]


def look_at_services(services: Iterable[Service], clock: Clock) -> tuple[list[Finding], list[float]]:
    found: list[Finding] = []
    places: list[tuple[Service, Address]] = []
    for service in services:
        addresses, finding = _addresses(service)
        found += finding
        places += [(service, address) for address in addresses]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = list(pool.map(lambda place: _look(place[0], place[1], clock), places))
    found += [finding for finding, _ in told]
    return found, [skew for _, skew in told if skew is not None]


def _addresses(service: Service) -> tuple[Sequence[Address], list[Finding]]:
    """Those that are written down, else what the name resolves to: IPv4 only where there are both."""
    if service.endpoints:
        return service.endpoints, []
    url = service.url
    try:
        answers = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter: no label of a name may be that long
        remedy = "correct the url, or see to /etc/resolv.conf and the DNS service"
        why = error.strerror if isinstance(error, OSError) else error
        return (), [fail("network", f"{service.name}: {url.host} has no address ({why})", remedy)]
    fours = [answer for answer in answers if answer[0] == socket.AF_INET]
    hosts = dict.fromkeys(str(answer[4][0]) for answer in fours or answers)
    addresses = [TcpAddress(host, url.port) for host in hosts]
    told = f"{service.name}: {url.host} is {', '.join(hosts)}"
    return addresses, [] if url.host in hosts else [ok("network", told)]


def _look(service: Service, address: Address, clock: Clock) -> Told:
    name = f"{service.name} {address}"
    began = time.monotonic()
    try:
        with _dial(address, min(PATIENCE, service.timeouts.connect)) as plain:
            return _ask(service, name, plain, began, clock)
    except ssl.SSLCertVerificationError as error:
        remedy = "set tls.ca_file or tls.server_name, or correct the clock"
        return fail("network", f"{name}: its certificate is refused: {error.verify_message}", remedy), None
    except ssl.SSLError as error:
        remedy = "is it https there? see url and tls of the service"
        return fail("network", f"{name}: no TLS: {error.reason or error}", remedy), None
    except TlsFileError as error:
        return fail("network", f"{name}: tls.{error}", "correct the file"), None
    except (OSError, HTTPException) as error:
        what = str(error) or type(error).__name__
        remedy = "is the service up, the address right, the way there open (NetworkPolicy, firewall)?"
        return fail("network", f"{name}: not reachable: {what}", remedy), None


def _dial(address: Address, patience: float) -> socket.socket:
    if isinstance(address, TcpAddress):
        return socket.create_connection(address, patience)
    assert isinstance(address, UnixAddress)
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(patience)
        made.connect(address.path)
    except OSError:
        made.close()
        raise
    return made


def _ask(service: Service, name: str, plain: socket.socket, began: float, clock: Clock) -> Told:
    url, expires = service.url, None
    plain.settimeout(PATIENCE)
    connection = HTTPConnection(url.host)
    connection.sock = plain
    if url.scheme == "https":
        context = client_context(service.tls)
        connection.sock = context.wrap_socket(plain, server_hostname=service.tls.server_name or url.host)
        expires = _expiry(connection.sock)
    try:
        connection.request(
            "HEAD", url.path or "/", headers={"host": url.authority, "user-agent": "sidecar-doctor"}
        )
        answer = connection.getresponse()
    finally:
        connection.close()
    took = f"{1000 * (time.monotonic() - began):.0f} ms"
    skew = _skew(answer.getheader("date"), clock())
    if expires is not None and expires - clock() < RENEW_WITHIN:
        days = max(0.0, expires - clock()) / 86_400
        return warn("network", f"{name}: its certificate ends in {days:.0f} days", "renew it"), skew
    tls = " over TLS" if url.scheme == "https" else ""
    return ok("network", f"{name}: answers HTTP{tls} in {took} (status {answer.status})"), skew


def _expiry(connection: ssl.SSLSocket) -> float | None:
    certificate = connection.getpeercert() or {}
    ends = certificate.get("notAfter")
    return ssl.cert_time_to_seconds(ends) if isinstance(ends, str) else None


def _skew(date: str | None, now: float) -> float | None:
    """How far ahead of the service this machine is."""
    if date is None:
        return None
    try:
        told = parsedate_to_datetime(date)
    except ValueError:
        return None
    return now - (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()


def look_at_clock(skews: Sequence[float], now: float) -> Iterator[Finding]:
    """Against the services' own clocks: with a wrong one certificates fail and traces lie."""
    here = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    remedy = "let NTP (chrony, systemd-timesyncd) set the node's clock"
    if now < datetime(2025, 1, 1, tzinfo=UTC).timestamp():
        yield fail("clock", f"it is {here} here, before this program was written", remedy)
    elif not skews:
        yield ok("clock", f"it is {here} here; no service told its own time")
    elif abs(middle := sorted(skews)[len(skews) // 2]) > 30:
        way = "ahead of" if middle > 0 else "behind"
        status = fail if abs(middle) > 300 else warn
        yield status("clock", f"{abs(middle):.0f} s {way} the services: it is {here} here", remedy)
    else:
        yield ok(
            "clock", f"agrees with {len(skews)} service{'s' if len(skews) > 1 else ''} to {abs(middle):.0f} s"
        )
