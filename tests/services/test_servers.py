"""What a person reads when a service does not come up."""

import os
import sys
from pathlib import Path

import pytest

from tests.services.servers import Postgres, Process

pytestmark = pytest.mark.services


def test_a_server_that_ends_at_once_shows_the_end_of_its_log(tmp_path: Path) -> None:
    code = "print('line ' * 3); raise SystemExit('no such option')"
    server = Process(
        tmp_path / "storage.log", [sys.executable, "-c", code], os.environ, lambda: False
    )
    with pytest.raises(pytest.fail.Exception, match=r"(?s)storage does not.*no such option"):
        server.start()
    assert server.running is None


def test_a_database_with_a_wrong_setting_shows_the_end_of_its_log(folder: Path) -> None:
    place = folder / "wrong"
    place.mkdir()
    server = Postgres(place, "mlflow", "no_such_setting=1")
    with pytest.raises(pytest.fail.Exception, match=r"(?s)PostgreSQL does not.*no_such_setting"):
        server.start()
