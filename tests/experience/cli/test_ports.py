"""Who holds a port, and which one is next."""

import os
import socket

import pytest

from experience.cli import ports


def test_listening_port_is_not_free_and_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        assert f"(pid {os.getpid()})" in str(ports.find_holder(port))
        assert ports.find_next_free(port) != port
    assert ports.is_free(port)
    assert ports.find_holder(port) is None


def test_listener_on_ipv6_alone_counts() -> None:
    """Browsers try ::1 first for `localhost`: a page there would be taken for ours."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        assert f"(pid {os.getpid()})" in str(ports.find_holder(port))


def test_free_ports_differ() -> None:
    found = ports.find_free_ports(20)
    assert len(set(found)) == 20
    assert all(ports.is_free(port) for port in found)
