"""What the tests of the classroom program's failures share."""

import pytest

from tests.classroom.lab import Lab
from tests.classroom.losing import Losing


@pytest.fixture
def losing(monkeypatch):
    """losing(such, times): what a test says is lost, in virtual time."""
    return lambda such, times: Losing(such, times).install(monkeypatch)


@pytest.fixture
def lab(tmp_path):
    """The whole lab over real sockets; its peers are to be started."""
    with Lab(tmp_path) as lab:
        yield lab
