"""Marks for what some systems lack. Not imported before `--without` has had its effect."""

import socket
import sys

import pytest

needs_peers_user = pytest.mark.skipif(
    sys.platform == "linux" and not hasattr(socket, "SO_PEERCRED"),
    reason="nobody can be asked who the other end is",
)
