"""paramiko's transport, mended where several threads share it and where a program is to end."""

from __future__ import annotations

import time
from threading import local
from typing import Any

import paramiko
from paramiko import ChannelException, SSHException


class Transport(paramiko.Transport):
    """One that several threads can open channels on, each hearing why its own was refused; and that ends altogether.

    paramiko has one place for the last refusal, from which any thread takes it; and it leaves a timer behind for which
    the program could not end.
    """

    def __init__(self, *arguments: Any, patience_s: float, **options: Any) -> None:
        """`patience_s`: for the other side's first words."""
        super().__init__(*arguments, **options)
        self.handshake_timeout = self._patience_s = patience_s
        self._began = time.monotonic()
        self._asked = local()  # each thread's last channel
        self._refusals: dict[int, ChannelException] = {}

    @property
    def was_silent(self) -> bool:
        """Whether all the time that there was for the first words has passed."""
        return time.monotonic() - self._began >= 0.9 * self._patience_s  # by another clock than paramiko's

    def get_exception(self) -> Exception | None:
        refusal = self._refusals.pop(getattr(self._asked, "channel", -1), None)
        general = super().get_exception()
        return refusal or (None if isinstance(general, ChannelException) else general)

    def _next_channel(self) -> int:
        self._asked.channel = super()._next_channel()
        return self._asked.channel

    def _parse_channel_open_failure(self, message: paramiko.Message) -> None:
        channel, reason, text = message.get_int(), message.get_int(), message.get_text()
        self._refusals[channel] = ChannelException(reason, text)
        message.rewind()
        super()._parse_channel_open_failure(message)

    def run(self) -> None:
        try:
            super().run()
        except (OSError, EOFError, SSHException):
            pass  # of closing a way through a jump that is broken already
        finally:
            self.packetizer.complete_handshake()
