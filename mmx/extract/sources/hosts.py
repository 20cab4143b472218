"""What is known of one host of the web: how busy it is, and whether it answers at all."""

from __future__ import annotations

import threading
import time

from mmx.extract.reasons import ImageError, Reason
from mmx.extract.sources.web import Web

NO_ANSWER = (Reason.TIMEOUT, Reason.REFUSED, Reason.LOST, Reason.NO_HOST, Reason.NO_TLS)


class Host:
    """Shared by all threads that fetch from it."""

    def __init__(self, name: str, web: Web) -> None:
        self.name, self.web = name, web
        self.slots = threading.Semaphore(web.per_host)  # what may be open to it
        self._lock = threading.Lock()
        self._rest_until = 0.0  # of time.monotonic(), as it requested
        self._strikes, self._given_up_until = 0, 0.0
        self._last = ""

    def rest(self, seconds: float) -> None:
        """Send it nothing for a while."""
        with self._lock:
            self._rest_until = max(self._rest_until, time.monotonic() + seconds)

    def wait(self) -> None:
        """Sleep as long as it rests."""
        while (left := self._rest_until - time.monotonic()) > 0:
            time.sleep(left)

    def strike(self, reason: Reason) -> None:
        """An attempt had no answer. After ``web.strikes`` in a row the host is given up.

        For a time: after that one more failure is enough.
        """
        with self._lock:
            self._strikes, self._last = self._strikes + 1, str(reason)
            if self._strikes >= self.web.strikes:
                self._given_up_until = time.monotonic() + self.web.giving_up

    def answered(self) -> None:
        """It answered, whatever the status."""
        with self._lock:
            self._strikes, self._given_up_until = 0, 0.0

    def refuse_if_given_up(self) -> None:
        """Raises ImageError while it is given up."""
        if time.monotonic() < self._given_up_until:
            raise ImageError(
                Reason.GIVEN_UP,
                f"{self.name} gave no answer {self.web.strikes} times in a row ({self._last})",
            )
