"""Where the state is kept, looked at while the engine works on it: whether it answers, whether it can be written.

The engine itself says nothing while it waits for its state: it shows the resource whose change it would record, for minutes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from amianai_infra.engine.backend import StateFiles
from amianai_infra.errors import AmianaiError, UnreachableError
from amianai_infra.progress import duration

PATIENCE = 10.0
"""Seconds that an answer may take before a person hears of it."""


class Watch:
    """Looks at the state again and again, beside everything else, and knows what keeps it from being written.

    Args:
        files: the state; None where only the engine can reach it.
        every: seconds between two looks; the store's own measure where not given.
        patience: seconds that an answer may take.
        clock: monotonic seconds.
    """

    def __init__(
        self, files: StateFiles | None, every: float | None = None, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._files = files
        self._every = every
        self._patience = patience
        self._clock = clock
        self._over = threading.Event()
        self._answered = clock()
        self._asking = False
        self._trouble = ""

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look until the end of the block."""
        if self._files is None:
            yield
            return
        every = self._files.look_every if self._every is None else self._every
        thread = threading.Thread(target=self._go_on, args=(self._files, every), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(_LAST_LOOK)

    def _go_on(self, files: StateFiles, every: float) -> None:
        while not self._over.wait(every):
            self.look(files)

    def look(self, files: StateFiles) -> None:
        """Look once."""
        if not self._trouble:
            self._answered = self._clock()
        self._asking = True
        try:
            self._trouble = files.look()
        except UnreachableError:
            self._trouble = _SILENT
        except AmianaiError as error:
            self._trouble = f"cannot be reached: {error.where or error.what}"
        self._asking = False

    def trouble(self) -> str:
        """What keeps the state from being written right now, one clause; empty when nothing does."""
        silent = self._clock() - self._answered
        if self._trouble not in ("", _SILENT):
            return f"the state's {self._place} {self._trouble}"
        if (self._asking or self._trouble) and silent > self._patience:
            return f"the state's {self._place} does not answer for {duration(silent)}"
        return ""

    @property
    def _place(self) -> str:
        return self._files.place if self._files else ""


_SILENT = "does not answer"
_LAST_LOOK = 1.0
"""Seconds that the end waits for a look at a folder, which writes; one at a bucket may last longer, and nothing waits for it."""
