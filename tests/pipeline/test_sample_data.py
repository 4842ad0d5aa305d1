"""The sample is complete, byte for byte, and never mixed with other files."""

import hashlib
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from components.core.errors import InvalidData, MissingInput, PipelineError
from pipeline.dvc_command import run_dvc
from pipeline.sample_data import is_sample, materialize, record

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = tmp_path_factory.mktemp("sample") / "data" / "images"
    assert materialize(images) == 2_223
    return images


def test_the_certain_images_are_there_byte_for_byte(sample: Path) -> None:
    counts = {folder.name: len(list(folder.iterdir())) for folder in sample.iterdir()}
    assert counts == {"functional": 1_508, "defective": 715}
    spec = find_spec("elpv_dataset")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent / "data" / "images"
    # the first and the fourth line of the package's labels.csv
    for target, name in (("defective", "cell0001.png"), ("functional", "cell0004.png")):
        assert (sample / target / name).read_bytes() == (source / name).read_bytes()


def test_the_sample_is_what_git_says_dvc_tracks(sample: Path) -> None:
    pointer = yaml.safe_load((ROOT / "data" / "images.dvc").read_text())["outs"][0]
    paths = sorted(sample.rglob("*.png"), key=lambda path: path.relative_to(sample).parts)
    md5s = [hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in paths]
    entries = ", ".join(
        f'{{"md5": "{md5}", "relpath": "{path.relative_to(sample).as_posix()}"}}'
        for path, md5 in zip(paths, md5s, strict=True)
    )
    # DVC's digest of a folder: the MD5 of this JSON list
    folder = hashlib.md5(f"[{entries}]".encode(), usedforsecurity=False).hexdigest()
    assert pointer["md5"] == f"{folder}.dir"
    assert pointer["nfiles"] == 2_223


def test_running_again_repairs_and_changes_nothing_else(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    intact, broken = sample / "functional" / "cell0004.png", sample / "defective" / "cell0001.png"
    written = intact.stat().st_mtime_ns
    content = broken.read_bytes()
    broken.write_bytes(b"half")
    materialize(sample)
    assert broken.read_bytes() == content
    assert intact.stat().st_mtime_ns == written
    assert [path.name for path in sample.parent.iterdir()] == ["images"]
    assert "CC BY-NC-SA 4.0" in capsys.readouterr().out


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "mine.png").write_bytes(b"x")
    with pytest.raises(InvalidData, match=r"do not belong to the sample, such as 'mine\.png'"):
        materialize(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["cat", "mine.png"]


def test_a_missing_package_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "elpv_dataset", raising=False)
    with pytest.raises(MissingInput, match="run `make install`"):
        materialize(tmp_path / "images")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match="could not be written"):
        materialize(tmp_path / "file" / "images")


def test_the_sample_is_recognized_whatever_junk_lies_in_it(sample: Path) -> None:
    (sample / "functional/.DS_Store").write_bytes(b"junk")
    assert is_sample(sample)
    image = sample / "functional/cell0004.png"
    content = image.read_bytes()
    image.write_bytes(content + b"\n")
    assert not is_sample(sample)
    image.unlink()
    assert not is_sample(sample)
    image.write_bytes(content)
    (sample / "functional/.DS_Store").unlink()
    assert is_sample(sample)


def test_the_recorded_sample_is_in_dvc_s_cache_from_where_it_can_be_pushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_dvc("init", "--no-scm")
    materialize(Path("data/images"))
    shutil.copy(ROOT / "data/images.dvc", "data/images.dvc")
    record()
    run_dvc("remote", "add", "--default", "storage", str(tmp_path / "storage"))
    run_dvc("push")
    assert len([path for path in (tmp_path / "storage").rglob("*") if path.is_file()]) == 2_223 + 1


def test_images_that_dvc_knows_by_another_hash_are_left_to_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/images.dvc").write_text("outs:\n- md5: 0.dir\n  path: images\n")
    record()  # without DVC's folder it could only fail
    with pytest.raises(PipelineError, match=r"^dvc commit nothing\.dvc: .* in place; fix that, "):
        run_dvc("commit", "nothing.dvc")
