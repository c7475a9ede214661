"""The key of the lab: made once, for its owner only, refused with a sentence where it is none."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from threading import Thread

import pytest

from peer.core.errors import SettingsError
from peer.drivers.control import DEFAULT_KEY, KEY_BYTES, read_key
from peer.drivers.datagram import Envelope

posix = pytest.mark.skipif(os.name != "posix", reason="files here have no owner's rights")


def written(folder: Path, text: bytes, mode: int = 0o600) -> Path:
    file = folder / "a key"
    file.touch(mode=0o600)
    file.write_bytes(text)
    file.chmod(mode)
    return file


@posix
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077], ids=oct)
def test_the_default_key_is_made_on_first_use_for_its_owner_only(tmp_path, monkeypatch, capsys, mask):
    monkeypatch.chdir(tmp_path)
    before = os.umask(mask)
    try:
        key = read_key(None)
    finally:
        os.umask(before)
    assert len(key) == KEY_BYTES and read_key(None) == read_key(DEFAULT_KEY) == key
    assert stat.S_IMODE(DEFAULT_KEY.stat().st_mode) == 0o600
    assert os.listdir(DEFAULT_KEY.parent) == [DEFAULT_KEY.name], "nothing is left beside it"
    assert capsys.readouterr().err == ""


def test_of_many_that_make_it_at_once_all_have_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys: list[bytes] = []
    threads = [Thread(target=lambda: keys.append(read_key(None))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(keys) == 20 and len(set(keys)) == 1


def test_another_file_is_never_made(tmp_path):
    with pytest.raises(SettingsError, match="cannot read the key: No such file.*; without --key one is made in "):
        read_key(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "text, sentence",
    [
        (b"", "at least 16 bytes, this one 0"),
        (b"00" * 15, "at least 16 bytes, this one 15"),
        (b"00" * 65, "at most 64 bytes, this one 65"),
        (b"0" * 33, "one line of hexadecimal digits"),
        (b"the key of my house", "one line of hexadecimal digits"),
        (b"\xff\xfe\x00" * 20, "one line of hexadecimal digits"),
        ("\u0661" * 40, "one line of hexadecimal digits"),
        (b"0" * 10**6, "at most 64 bytes"),
    ],
    ids=lambda text: repr(text)[:20],
)
def test_what_is_no_key_is_refused_with_a_sentence(tmp_path, text, sentence):
    file = written(tmp_path, text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError, match=sentence) as caught:
        read_key(file)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


def test_a_folder_is_no_key(tmp_path):
    with pytest.raises(SettingsError, match="cannot read the key: Is a directory"):
        read_key(tmp_path)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_every_key_that_is_taken_can_be_used(tmp_path, size):
    key = read_key(written(tmp_path, b"a5" * size + b"\n"))
    assert key == b"\xa5" * size and Envelope(key, "p0").key_id


@posix
@pytest.mark.parametrize("mode, told", [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o622, True)])
def test_a_key_that_others_can_read_is_used_with_a_warning(tmp_path, capsys, mode, told):
    file = written(tmp_path, b"00" * 32, mode)
    assert read_key(file) == bytes(32)
    warning = f"warning: the key in {file} is open to others; `chmod 600 {file}` keeps it to its owner\n"
    assert capsys.readouterr().err == (warning if told else "")
