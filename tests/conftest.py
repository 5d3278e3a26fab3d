"""What every test gets: a clean environment, a state directory of its own, and no way to the internet."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

# Its pytest plugin imports it at the end of a run; with litellm's loops to collect in the middle of that import,
# CPython 3.11's parser loses count of its recursion depth (SystemError).
import hypothesis  # noqa: F401
import pytest

# At the end: `tests/router` must never stand before the package of that name.
sys.path.append(str(Path(__file__).parent))

from loopback import Provider  # found through the line above

KEPT = {"CLEARBAR_MODELS"}
"""Where the weights of local models lie: machine facts, not test input."""
REMOVED = {
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy",
    "OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_ORGANIZATION", "NO_COLOR", "FORCE_COLOR",
}  # fmt: skip
LOCAL_NAMES = {"localhost", "", None}


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no setting and no proxy of the machine reaches a test; state lives in the test's own directory."""
    for name in list(os.environ):
        if name in REMOVED or name.endswith("_API_KEY") or (name.startswith("CLEARBAR_") and name not in KEPT):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLEARBAR_STATE", str(tmp_path / "state"))


def _is_loopback(host: Any) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in LOCAL_NAMES:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def network_guard() -> Iterator[None]:
    """Connecting to anything but this machine, or asking for a foreign name, raises."""
    patch = pytest.MonkeyPatch()
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(connection: socket.socket, address: Any) -> None:
        if connection.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise PermissionError(f"a test tried to connect to {address[0]}:{address[1]}; tests reach only loopback")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        check(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        check(self, address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_loopback(host):
            raise socket.gaierror(
                socket.EAI_NONAME, f"a test asked for the address of {host!r}; tests reach only loopback"
            )
        return getaddrinfo(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def _provider_server() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def provider(_provider_server: Provider) -> Iterator[Provider]:
    """An OpenAI-compatible provider on loopback, freshly reset; see `tests/loopback.py`."""
    _provider_server.reset()
    yield _provider_server
    _provider_server.reset()
