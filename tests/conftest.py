"""What tests of several folders need: images as files, and a disk that fills up."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

# Before torch is imported: on tensors as small as the tests', threads cost more than they bring,
# and on a busy machine they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A run begins with a forecast, for which some seconds are measured: not for every run of a test.
os.environ.setdefault("PIPELINE_NO_FORECAST", "1")

# In the background (`make test &`, nohup, many CI systems) SIGINT is ignored, and whom a test
# starts would inherit that. Here: before pytest-xdist starts its workers.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Hypothesis fails an example of 200 ms, and data that are drawn slowly: that depends on who else
# uses the machine.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

COLORS = [(200, 60, 40), (40, 90, 200), (60, 190, 80), (220, 200, 60)]


def pytest_addoption(parser: pytest.Parser) -> None:
    """For docs/reliability.md; any suite may be run with it."""
    parser.addoption("--record-rows", help="file for the outcomes of tests that carry a row's id")


def pytest_configure(config: pytest.Config) -> None:
    """Only whoever sees all reports records them, not a worker of pytest-xdist."""
    path = config.getoption("--record-rows")
    if path and not hasattr(config, "workerinput"):
        from tests.faults.report import Recorder

        config.pluginmanager.register(Recorder(Path(path)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: workers take files in this order, and nobody waits for it."""
    items.sort(key=lambda item: item.path.name != "test_end_to_end.py")


def noisy_image(
    seed: int = 0,
    size: tuple[int, int] = (40, 32),
    color: tuple[int, int, int] = (128, 128, 128),
    kind: str = "PNG",
) -> bytes:
    noise = np.random.default_rng(seed).integers(-40, 41, (size[1], size[0], 3))
    pixels = np.clip(noise + color, 0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="session")
def image_bytes() -> Callable[..., bytes]:
    """image_bytes(seed, size=(width, height), color, kind) -> file bytes: noise around a color."""
    return noisy_image


@pytest.fixture(scope="session")
def class_folders() -> Callable[[Path, dict[str, int]], Path]:
    """class_folders(root, {"cat": 12, "dog": 8}): PNG files, one color a class, all different."""

    def make(root: Path, counts: dict[str, int]) -> Path:
        for k, (name, count) in enumerate(counts.items()):
            folder = root / name
            folder.mkdir(parents=True)
            for n in range(count):
                content = noisy_image(seed=1000 * k + n, color=COLORS[k % len(COLORS)])
                (folder / f"{n:03}.png").write_bytes(content)
        return root

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB; skipped where one may not be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount file systems")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
