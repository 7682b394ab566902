"""Marks for what some systems lack. Not imported before `--without` has had its effect."""

import socket
import sys

import pytest

from tests.internals import descriptors_can_be_passed

needs_descriptors = pytest.mark.skipif(
    not descriptors_can_be_passed(), reason="descriptors can't be passed here"
)
needs_peers_user = pytest.mark.skipif(
    sys.platform == "linux" and not hasattr(socket, "SO_PEERCRED"),
    reason="nobody can be asked who the other end is",
)
