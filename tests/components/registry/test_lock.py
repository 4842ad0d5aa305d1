import signal
import time
from typing import Any

import pytest

from components.core.errors import PipelineError
from components.registry import lock
from components.tracking.store import Store, open_store
from tests import processes
from tests.local_store import LocalStore
from tests.registry import NAME


def hold(seconds: float, taken: Any) -> None:
    with open_store() as store, lock.held(store, NAME):
        taken.set()
        time.sleep(seconds)


def test_one_that_is_held_by_another_process_is_waited_for(opened: Store) -> None:
    taken = processes.CONTEXT.Event()
    other = processes.start(hold, 0.5, taken)
    assert taken.wait(60)
    started = time.monotonic()
    with lock.held(opened, NAME) as guard:
        assert guard.exclusive
        guard.require_held()
    assert time.monotonic() - started > 0.2
    other.join()


def test_one_that_is_never_given_back_ends_in_an_error_that_names_its_holder(
    opened: Store,
) -> None:
    taken = processes.CONTEXT.Event()
    other = processes.start(hold, 60, taken)
    assert taken.wait(60)
    with pytest.raises(PipelineError, match=rf"process {other.pid} of .* holds the lock"):
        lock.held(opened, NAME, seconds=0.2).__enter__()
    other.kill()
    other.join()
    assert other.exitcode == -signal.SIGKILL
    with lock.held(opened, NAME, seconds=5) as guard:  # a killed process holds nothing
        guard.require_held()


def test_a_lock_file_that_was_replaced_is_no_lock_any_more(
    opened: Store, local_store: LocalStore
) -> None:
    file = local_store.folder / "mlflow.db.lock"
    with lock.held(opened, NAME) as guard:
        file.unlink()
        with pytest.raises(PipelineError, match="the lock was lost"):
            guard.require_held()
        file.write_text("")
        with pytest.raises(PipelineError, match="the lock was lost"):
            guard.require_held()


def test_a_server_offers_no_lock(opened: Store) -> None:
    store = Store(opened.client, "http://127.0.0.1:1", opened.experiment_id, None)
    with lock.held(store, NAME) as guard:
        assert not guard.exclusive
        guard.require_held()
