"""Who may use the server: whoever is on this machine, or has the token."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
import socket
import stat
import warnings
from pathlib import Path
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from photic.core.errors import ConfigError
from photic.inference.serve.problems import Problem

VARIABLE = "PHOTIC_TOKEN"
"""Environment variable that may hold the token."""
OPEN = ("/health/live", "/health/ready")
"""What needs no token: whoever watches over the process learns nothing else from it."""
_LEAST = 16
_MAKE = "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))' > token; chmod 600 token"


def read_token(file: Path | None) -> str | None:
    """Return the token from a file, or from the environment (from where it is taken away, so that no child process sees it).

    Args:
        file: with the token on its first line; None looks into the environment.

    Raises:
        ConfigError: the file cannot be read, or what is in it is no token.
    """
    given = os.environ.pop(VARIABLE, None)
    if file is None:
        return None if given is None else check_token(given, VARIABLE)
    try:
        text = file.read_text(encoding="utf-8")
        mode = file.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the token cannot be read: {getattr(error, 'strerror', None) or 'no text'}; {_MAKE}") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        warnings.warn(f"{file}: others on this machine can read the token; chmod 600 {file}", UserWarning, stacklevel=2)
    return check_token(text.strip(), str(file))


def check_token(token: str, where: str) -> str:
    """Return a token that is one.

    Raises:
        ConfigError: it is too short, or has characters that no header may have; it is not repeated in the message.
    """
    if len(token) < _LEAST or not token.isascii() or any(letter.isspace() or not letter.isprintable() for letter in token):
        raise ConfigError(f"{where}: expected a token of at least {_LEAST} ASCII letters, digits and signs without spaces; {_MAKE}")
    return token


def is_loopback(host: str) -> bool:
    """Say whether an address or name means this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    if not host:
        return False
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found)


def check_host(host: str, token: str | None) -> None:
    """Refuse to be reached from other machines without a token.

    Raises:
        ConfigError: so it would be.
    """
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"host '{host}': other machines could reach it, so a token is needed; give one with --token-file FILE or in the environment "
            f"as {VARIABLE} ({_MAKE}), or stay with --host 127.0.0.1"
        )


class Guard:
    """Wraps an application: lets in who may come in.

    Without a token only requests that name this machine in ``Host`` come in, so that no web page can make a browser read answers under
    another name of it. With or without, a page of another origin cannot make a browser send something.

    Args:
        app: the application.
        token: what clients must send, as ``Authorization: Bearer TOKEN`` or as the password of basic authentication; None asks for nothing.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._digest = None if token is None else hashlib.sha256(token.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"host", b"origin", b"authorization")}
            self._check_origin(headers.get(b"origin"), headers.get(b"host", ""))
            if self._digest is None:
                _check_name(headers.get(b"host", ""))
            elif scope["path"] not in OPEN:
                self._check_token(headers.get(b"authorization", ""))
        await self._app(scope, receive, send)

    def _check_token(self, authorization: str) -> None:
        given = hashlib.sha256(_token_of(authorization).encode("utf-8", "replace")).digest()
        assert self._digest is not None, "asked only where there is a token"
        if not hmac.compare_digest(given, self._digest):
            raise Problem(
                401,
                "token_needed",
                "this server needs a token: send it as 'Authorization: Bearer TOKEN'"
                + ("; the one that came is wrong" if authorization else ""),
                headers={"WWW-Authenticate": 'Bearer realm="photic", Basic realm="photic", charset="UTF-8"'},
            )

    def _check_origin(self, origin: str | None, host: str) -> None:
        if origin is not None and _split(origin) != _split(f"//{host}"):
            raise Problem(403, "foreign_origin", "requests of web pages of other origins are not answered")


def _token_of(authorization: str) -> str:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _check_name(host: str) -> None:
    name = (_split(f"//{host}") or ("", None))[0]
    if name != "localhost" and not _is_loopback_address(name):
        raise Problem(
            403,
            "foreign_host",
            "without a token this server answers only requests to localhost or 127.0.0.1; start it with one to use it under another name",
        )


def _is_loopback_address(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _split(address: str) -> tuple[str, int | None] | None:
    """Return name and port of an address; None if it is none."""
    try:
        parts = urlsplit(address)
        return (parts.hostname, parts.port) if parts.hostname else None
    except ValueError:
        return None
