"""`init`: images and settings in place, nothing of the user's lost, every refusal in one line."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline import sample_data
from pipeline.cli import main
from pipeline.new_project import setup

Capture = pytest.CaptureFixture[str]


def files_below(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of all files."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def no_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `dvc add`, which takes seconds; what it does is tried once, below."""
    monkeypatch.setattr(setup, "record", lambda: None)


def init(folder: Path | str, *words: str) -> int:
    return main(["init", str(folder), "--name", "pets", *words])


def refused(capsys: Capture, folder: Path | str, *words: str) -> str:
    """The one line of a refusal, which changes nothing."""
    before = files_below(Path.cwd())
    assert init(folder, *words) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert files_below(Path.cwd()) == before
    return error


def settings() -> dict[str, dict[str, object]]:
    loaded: dict[str, dict[str, object]] = yaml.safe_load(Path("params.yaml").read_text())
    return loaded


def test_images_settings_and_the_record_of_dvc_are_in_place(
    project: Path, photos: Path, capsys: Capture
) -> None:
    (project / ".dvc/config").write_text("[core]\n    no_scm = true\n")  # of `dvc init`
    (photos / ".DS_Store").write_bytes(b"junk")
    (photos / "README.txt").write_text("about the photos")
    assert init(photos) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"{photos}: 20 files in 2 classes, from 8 of dog to 12 of cat; median size 40 x 32 px"
    )
    assert lines[1] == "left out, being in no class folder: README.txt"
    assert lines[-2:] == [
        "written: params.yaml, data/images, data/images.dvc",
        "Next: dvc repro; if you use git: git add params.yaml data && git commit",
    ]
    expected = {name: text for name, text in files_below(photos).items() if "/" in name}
    assert files_below(project / "data/images") == expected
    pointer = yaml.safe_load((project / "data/images.dvc").read_text())["outs"][0]
    assert (pointer["nfiles"], pointer["path"]) == (20, "images")
    assert pointer["md5"] != sample_data.DVC_HASH
    assert settings()["register"]["model_name"] == "pets"
    assert not (project / "dvc.lock").exists()
    assert not (project / "backup").exists()
    assert main(["check"]) == 0
    assert "warning" not in capsys.readouterr().out


def test_running_it_again_changes_nothing(
    project: Path, photos: Path, no_dvc: None, capsys: Capture
) -> None:
    assert init(photos) == 0
    before = files_below(project)
    shutil.copy("data/splits.csv", "kept")
    Path("data/splits.csv").write_text(f"pixel_sha256,split,path\n{'0' * 64},test,cat/000.png\n")
    Path("dvc.lock").write_text("schema: '2.0'\n")
    pins = files_below(project)
    assert init(photos) == 0
    assert files_below(project) == pins
    assert before.keys() < pins.keys()


@pytest.mark.parametrize("stop", ["_copy", "_back_up", "_swap", "record"])
def test_a_run_that_was_stopped_is_finished_by_the_next(
    stop: str, project: Path, photos: Path, no_dvc: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = project / "data/images/mine/1.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(setup, stop, die)
        assert init(photos, "--yes") == 130
    assert init(photos, "--yes") == 0
    assert files_below(project / "data/images") == files_below(photos)
    assert settings()["register"]["model_name"] == "pets"
    kept = [path.read_bytes() for path in project.glob("backup/*/data/images/mine/1.png")]
    assert kept == [b"mine"]
    assert {path.name for path in (project / "data").iterdir()} == {
        "groups.csv",
        "images",
        "images.dvc",
        "splits.csv",
    }


def test_a_dry_run_shows_it_all_and_writes_nothing(
    project: Path, photos: Path, capsys: Capture
) -> None:
    (project / "data/splits.csv").write_text("pixel_sha256,split,path\nx,y,z\n")
    before = files_below(project)
    assert init(photos, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "register.gate.min_test_images_per_class  1 " in out
    assert "\nnothing was written\nneeds --yes: data/splits.csv: has 1 line\n" in out
    assert files_below(project) == before


def test_a_ready_made_split_is_kept(
    project: Path,
    tmp_path: Path,
    no_dvc: None,
    class_folders: Callable[[Path, dict[str, int]], Path],
    capsys: Capture,
) -> None:
    for split, number in (("train", 9), ("val", 4), ("test", 6)):
        class_folders(tmp_path / "split" / split, {"cat": number, "dog": number})
    assert init(tmp_path / "split") == 0
    out = capsys.readouterr().out
    assert "the folder's own split is kept: train 18, val 8, test 12" in out
    assert "about 12 are expected; 200 take 200 test images" in out
    assert len(files_below(project / "data/images/test")) == 12


def test_the_only_folder_inside_is_the_one_that_is_meant(
    project: Path, photos: Path, tmp_path: Path, no_dvc: None, capsys: Capture
) -> None:
    outer = tmp_path / "download" / "v2"
    outer.mkdir(parents=True)
    shutil.move(photos, outer / "images")
    (outer / "LICENSE").write_text("free")
    (tmp_path / "download/README.md").write_text("what this is")
    assert init(tmp_path / "download") == 0
    assert capsys.readouterr().out.startswith(f"{outer}/images: 20 files in 2 classes")
    assert {path.name for path in (project / "data/images").iterdir()} == {"cat", "dog"}


def test_files_that_are_no_images_are_named_before_validate_does(
    project: Path, photos: Path, no_dvc: None, capsys: Capture
) -> None:
    (photos / "dog/notes.txt").write_text("which dog is which")
    assert init(photos) == 0
    text = "no images, which validate will name one by one: dog/notes.txt"
    assert text in capsys.readouterr().out


def test_images_that_lie_in_data_images_already_stay_there(
    project: Path, photos: Path, no_dvc: None
) -> None:
    shutil.move(photos, project / "data/images")
    before = files_below(project / "data/images")
    assert init("data/images") == 0
    assert files_below(project / "data/images") == before
    assert settings()["register"]["model_name"] == "pets"


def test_hard_links_hold_the_data_once(project: Path, photos: Path, no_dvc: None) -> None:
    assert init(photos, "--link") == 0
    assert (project / "data/images/cat/000.png").samefile(photos / "cat/000.png")


def test_a_link_across_file_systems_says_to_copy(
    project: Path, photos: Path, no_dvc: None, small_disk: Path, capsys: Capture
) -> None:
    for name in ("cat", "dog"):
        (small_disk / name).mkdir()
        for number in range(4):
            shutil.copy(photos / name / f"{number:03}.png", small_disk / name)
    assert "cannot be linked" in refused(capsys, small_disk, "--link")
    assert not (project / "data/.images.part").exists()


def test_the_sample_goes_without_a_question(project: Path, photos: Path, no_dvc: None) -> None:
    sample_data.materialize(project / "data/images")
    (project / "data/images/functional/.DS_Store").write_bytes(b"junk")
    assert init(photos) == 0
    assert files_below(project / "data/images") == files_below(photos)
    assert not (project / "backup").exists()


@pytest.mark.parametrize(
    ("path", "content", "found"),
    [
        ("data/images/mine/1.png", "mine", "data/images: holds 1 file"),
        ("data/groups.csv", "path,group\na/1.png,a\n", "data/groups.csv: has 1 line"),
        ("data/splits.csv", "pixel_sha256,split,path\na,b,c\n\n", "data/splits.csv: has 1 line"),
        ("data/images.dvc", "outs:\n- md5: 0.dir\n", "data/images.dvc: records other images"),
    ],
)
def test_what_is_not_the_samples_is_refused_by_name_or_kept(
    path: str, content: str, found: str, project: Path, photos: Path, no_dvc: None, capsys: Capture
) -> None:
    (project / path).parent.mkdir(parents=True, exist_ok=True)
    (project / path).write_text(content)
    error = refused(capsys, photos)
    assert error.startswith(f"error: {found}. These are not the sample's: with --yes they are ")
    assert init(photos, "--yes") == 0
    assert "what was there before: backup/1\n" in capsys.readouterr().out
    assert (project / "backup/1" / path).read_text() == content
    assert len(files_below(project / "data/images")) == 20
    assert init(photos, "--yes") == 0
    assert not (project / "backup/2").exists()


def test_settings_of_the_users_are_refused_by_name_or_kept(
    project: Path, photos: Path, no_dvc: None, capsys: Capture
) -> None:
    text = (project / "params.yaml").read_text()
    text = text.replace("image_size: 64 ", "image_size: 160 ").replace("retries: 2", "retries: 5")
    (project / "params.yaml").write_text(text)
    assert "error: params.yaml: model.image_size is 160. These are" in refused(capsys, photos)
    assert init(photos, "--yes") == 0
    assert settings()["model"]["image_size"] == 64
    assert settings()["cluster"]["retries"] == 5
    assert (project / "backup/1/params.yaml").read_text() == text


def test_images_that_dvc_links_from_its_cache_are_images(
    project: Path, photos: Path, tmp_path: Path, no_dvc: None
) -> None:
    image = photos / "cat/000.png"
    cached = tmp_path / "cache/files/md5/ab" / ("c" * 30)
    cached.parent.mkdir(parents=True)
    image.rename(cached)
    image.symlink_to(cached)
    assert init(photos) == 0
    copy = project / "data/images/cat/000.png"
    assert not copy.is_symlink()
    assert copy.read_bytes() == cached.read_bytes()


def add_link(photos: Path) -> None:
    (photos / "cat/secret.png").symlink_to("/etc/passwd")


def add_folder_link(photos: Path) -> None:
    (photos / "bird").symlink_to("/etc")


def add_dangling_link(photos: Path) -> None:
    (photos / "cat/gone.png").symlink_to("nowhere")


def add_pipe(photos: Path) -> None:
    os.mkfifo(photos / "cat/pipe.png")


def add_loose_image(photos: Path) -> None:
    shutil.copy(photos / "cat/000.png", photos)


def add_strange_name(photos: Path) -> None:
    shutil.copy(os.fsencode(photos / "cat/000.png"), os.fsencode(photos) + b"/cat/\xff.png")


def add_class_of_two(photos: Path) -> None:
    (photos / "bird").mkdir()
    for number in range(2):
        shutil.copy(photos / f"cat/{number:03}.png", photos / "bird")


def add_empty_class(photos: Path) -> None:
    (photos / "bird").mkdir()


def leave_one_class(photos: Path) -> None:
    shutil.rmtree(photos / "dog")


def remove_classes(photos: Path) -> None:
    shutil.rmtree(photos / "dog")
    shutil.rmtree(photos / "cat")


def put_all_in_one_place(photos: Path) -> None:
    for number, image in enumerate(sorted(photos.rglob("*.png"))):
        image.rename(photos / f"{number}.png")
    (photos / "dog").rmdir()
    (photos / "cat").rmdir()


def write_texts(photos: Path) -> None:
    for image in photos.rglob("*.png"):
        image.write_text("not an image")


def add_annotations(photos: Path) -> None:
    (photos / "xml").mkdir()
    for number in range(8):
        (photos / f"xml/{number:03}.xml").write_text("<annotation/>")


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (add_link, "cat/secret.png is a symbolic link to /etc/passwd; "),
        (add_folder_link, "bird is a symbolic link to /etc; "),
        (add_dangling_link, "cat/gone.png is a symbolic link to "),
        (add_pipe, "cat/pipe.png is a FIFO, socket or device; "),
        (add_loose_image, "1 image in no class folder, such as 000.png; "),
        (add_strange_name, r"cat/\udcff.png: names with control or undecodable characters; "),
        (add_class_of_two, "too few images of bird (2); each class needs 3 or more"),
        (add_empty_class, "too few images of bird (0); "),
        (leave_one_class, "holds only one class, cat; "),
        (remove_classes, "holds no file in a class folder; "),
        (put_all_in_one_place, "20 images in no class folder, such as 0.png; "),
        (write_texts, "none of 12 files of cat that were tried is an image, cat/000.png among"),
        (add_annotations, "none of 8 files of xml that were tried is an image, xml/000.xml among"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused_in_one_line(
    spoil: Callable[[Path], None], found: str, project: Path, photos: Path, capsys: Capture
) -> None:
    spoil(photos)
    assert f"error: {photos}: {found}" in refused(capsys, photos)


@pytest.mark.row("D23")
def test_a_class_that_is_missing_from_a_ready_made_split_is_named(
    project: Path,
    tmp_path: Path,
    class_folders: Callable[[Path, dict[str, int]], Path],
    capsys: Capture,
) -> None:
    for split in ("train", "val", "test"):
        class_folders(tmp_path / "split" / split, {"cat": 4, "dog": 4})
    shutil.rmtree(tmp_path / "split/val/dog")
    assert "split val has no image of dog" in refused(capsys, tmp_path / "split")


@pytest.mark.parametrize(
    "names", [("seg_train", "seg_dev", "seg_test"), ("Training", "Valid", "Test set")]
)
def test_a_ready_made_split_is_kept_whatever_it_is_called(
    names: tuple[str, ...],
    project: Path,
    tmp_path: Path,
    no_dvc: None,
    class_folders: Callable[[Path, dict[str, int]], Path],
    capsys: Capture,
) -> None:
    for name, number in zip(names, (9, 4, 6), strict=True):
        class_folders(tmp_path / "split" / name, {"cat": number, "dog": number})
    assert init(tmp_path / "split") == 0
    assert "the folder's own split is kept: train 18, val 8, test 12" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("seg_train", "seg_test"), "named like splits, without val"),
        (("camera1", "camera2"), "hold the same folders (cat, dog)"),
    ],
)
def test_folders_that_are_no_classes_are_refused_unless_validate_only_warns(
    names: tuple[str, ...],
    found: str,
    project: Path,
    tmp_path: Path,
    no_dvc: None,
    class_folders: Callable[[Path, dict[str, int]], Path],
    capsys: Capture,
) -> None:
    for name in names:
        class_folders(tmp_path / "photos2" / name, {"cat": 9, "dog": 9})
    assert found in refused(capsys, tmp_path / "photos2")
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(
        text.replace("  warning_rules:\n", "  warning_rules:\n  - class_level\n")
    )
    assert init(tmp_path / "photos2") == 0


def test_folders_that_cannot_be_meant_are_refused(
    project: Path, photos: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert "does not exist" in refused(capsys, tmp_path / "nowhere")
    assert "is a file" in refused(capsys, photos / "cat/000.png")
    assert "holds this project" in refused(capsys, tmp_path)
    assert "holds this project" in refused(capsys, ".")
    shutil.move(photos, project / "data/more")
    assert "lies inside this project" in refused(capsys, "data/more")


@pytest.mark.parametrize(
    "name", ["", "weld defects", "weld/defects", "-weld", "w\u00e9ld", "a" * 101]
)
def test_a_name_that_mlflow_cannot_take_is_refused(
    name: str, project: Path, photos: Path, capsys: Capture
) -> None:
    assert main(["init", str(photos), f"--name={name}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: --name is {name!r}; it should be 1 to 100 letters, digits")
    assert error.count("\n") == 1


def test_a_project_without_dvc_is_told_to_set_it_up(
    project: Path, photos: Path, capsys: Capture
) -> None:
    (project / ".dvc").rmdir()
    assert "run `dvc init`" in refused(capsys, photos)


def test_what_dvc_refuses_is_passed_on_in_one_line(
    project: Path, photos: Path, capsys: Capture
) -> None:
    assert init(photos) == 1  # .dvc holds nothing: no project of DVC
    error = capsys.readouterr().err
    assert error.startswith("error: dvc add data/images: ERROR: ")
    assert error.count("\n") == 1
    assert "then run the same command again" in error
