"""A running trial says that it is alive."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

HEARTBEAT_SECONDS = 10.0  # so often


class Heartbeat:
    """Says that a trial is alive while it trains, in a thread.

    Attributes:
        lost: whether another worker took the trial for dead and requeued it.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self.lost = False
        self._trial = trial
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
        from sqlalchemy.exc import SQLAlchemyError

        while not self._over.wait(HEARTBEAT_SECONDS):
            try:
                self._trial.set_user_attr("heartbeat", time.time())
            except UpdateFinishedTrialError:
                self.lost = True
                return
            except (OSError, SQLAlchemyError, StorageInternalError):
                continue  # the training itself finds out whether the storage is back in time
