"""Runs that several tests of analysis look at; nobody changes them, `copied` is for that."""

import shutil

import pytest

from tests.analysis import plain


@pytest.fixture(scope="session")
def lossy(tmp_path_factory):
    """A run of every ordering and variant over a network that loses, doubles and overtakes: folders by title."""
    runs = plain.played(tmp_path_factory.mktemp("runs"), "lossy", "all:variants", messages=25, seed=3)
    assert all(run.error is None for run in runs)
    return {run.planned.title: run.folder for run in runs}


@pytest.fixture
def copied(lossy, tmp_path):
    """A copy of one of these folders, to be changed."""
    return shutil.copytree(lossy["fifo"], tmp_path / "run")
