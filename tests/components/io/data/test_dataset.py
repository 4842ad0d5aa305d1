"""From a validated folder to labeled images; nothing that changed since is accepted."""

import json
import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from components.core.artifacts import ValidationReport
from components.core.data.decoding import DataParams, load_image
from components.core.errors import ChangedInput, MissingInput
from components.io import files
from components.io.data.dataset import DataPaths, Dataset, open_dataset, require_same_data

DATA = DataParams.model_validate_json(
    json.dumps(yaml.safe_load((Path(__file__).parents[4] / "params.yaml").read_text())["data"])
)
SIZE = 32


@pytest.fixture
def location(workspace: Any, tmp_path: Path) -> DataPaths:
    """A validated data set that may be changed."""
    copied = {name: tmp_path / path.name for name, path in workspace.inputs.items()}
    for name, path in workspace.inputs.items():
        if path.is_dir():
            shutil.copytree(path, copied[name])
        elif path.is_file():
            shutil.copy(path, copied[name])
    return DataPaths(**copied)


def whole(location: DataPaths) -> Dataset:
    return open_dataset(location, DATA, SIZE, ("train", "val", "test"))


def test_images_labels_and_rows_belong_together(location: DataPaths) -> None:
    dataset = whole(location)
    assert dataset.class_names == ["lying", "standing"]
    for split, labeled in dataset.splits.items():
        rows = dataset.rows[split]
        assert len(labeled.pixels) == len(labeled.labels) == len(rows) > 0
        assert labeled.labels.dtype == np.int64
        assert set(rows["split"]) == {split}
        assert rows["path"].tolist() == sorted(rows["path"])
        pixels = labeled.pixels[:]
        for n, path in enumerate(rows["path"]):
            # The folder of an image is its class: the index must be the one of that name.
            assert dataset.class_names[labeled.labels[n]] == path.split("/")[0]
            content = (location.images / path).read_bytes()
            assert np.array_equal(pixels[n], load_image(content, SIZE, DATA.decode_params))


def test_the_splits_share_no_image_and_hold_all_that_are_used(location: DataPaths) -> None:
    dataset = whole(location)
    paths = [path for rows in dataset.rows.values() for path in rows["path"]]
    manifest = pd.read_parquet(location.manifest)
    assert sorted(paths) == manifest.loc[manifest["status"] == "used", "path"].tolist()
    assert len(set(paths)) == len(paths)


def test_only_the_splits_asked_for_are_opened(location: DataPaths) -> None:
    manifest = pd.read_parquet(location.manifest)
    for path in manifest.loc[manifest["split"] == "test", "path"]:
        (location.images / path).write_bytes(b"never read")
    shutil.rmtree(location.cache, ignore_errors=True)
    dataset = open_dataset(location, DATA, SIZE, ("train", "val"))
    assert set(dataset.splits) == set(dataset.rows) == {"train", "val"}


def test_the_digest_is_the_one_of_the_report(location: DataPaths) -> None:
    report = files.read_artifact(location.report, ValidationReport)
    assert whole(location).digest == report.data_digest


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _other_label(location: DataPaths) -> None:
    manifest = pd.read_parquet(location.manifest)
    manifest.loc[0, "label"] = "standing" if manifest.loc[0, "label"] == "lying" else "lying"
    manifest.to_parquet(location.manifest)


@pytest.mark.parametrize(
    "change",
    [
        _other_label,
        lambda at: rewrite(at.report, success=False),
        lambda at: rewrite(at.report, data_digest="0" * 64),
        lambda at: rewrite(at.report, class_names=["standing", "lying"]),
        lambda at: rewrite(at.report, class_names=["lying"]),
        lambda at: rewrite(at.report, class_names=["lying", "sitting"]),
        lambda at: at.manifest.write_bytes(at.manifest.read_bytes()[:-50]),
    ],
)
def test_a_manifest_and_a_report_that_do_not_agree_are_refused(
    location: DataPaths, change: Callable[[DataPaths], None]
) -> None:
    change(location)
    with pytest.raises(ChangedInput) as refused:
        whole(location)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["manifest", "report"])
def test_a_missing_file_is_named(location: DataPaths, name: str) -> None:
    path: Path = getattr(location, name)
    path.unlink()
    with pytest.raises(MissingInput, match=f"{path.name}: does not exist"):
        whole(location)


@pytest.mark.row("D03")
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("keep_time", [True, False])
def test_a_changed_image_is_refused_also_when_its_pixels_are_cached(
    location: DataPaths, cached: bool, keep_time: bool
) -> None:
    if cached:
        whole(location)
    else:
        shutil.rmtree(location.cache, ignore_errors=True)
    path = sorted((location.images / "lying").iterdir())[5]
    times, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ChangedInput) as refused:
        whole(location)
    assert str(refused.value).startswith(f"{path}: its bytes have changed since validate; ")


@pytest.mark.row("D36")
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_removed_image_is_named_whatever_its_split(location: DataPaths, split: str) -> None:
    manifest = pd.read_parquet(location.manifest)
    path = location.images / manifest.loc[manifest["split"] == split, "path"].iloc[0]
    path.unlink()
    with pytest.raises(ChangedInput) as refused:
        open_dataset(location, DATA, SIZE, ("train", "val"))
    assert str(refused.value).startswith(f"{path}: is gone, but validate found it; ")
    assert "\n" not in str(refused.value)


@pytest.mark.row("D36")
@pytest.mark.parametrize("name", ["lying/new.png", "new class/a.png", "notes.txt"])
def test_an_added_file_is_named(location: DataPaths, name: str) -> None:
    path = location.images / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"new")
    with pytest.raises(ChangedInput) as refused:
        whole(location)
    assert str(refused.value).startswith(f"{path}: was added after validate; ")


def test_a_file_that_is_not_used_may_go(location: DataPaths) -> None:
    dropped = location.images / "lying" / "copy.png"
    manifest = pd.read_parquet(location.manifest)
    row = manifest.iloc[[0]].assign(
        path="lying/copy.png", status="ignored", split="", reason="same"
    )
    pd.concat([manifest, row]).to_parquet(location.manifest)
    dropped.write_bytes((location.images / str(manifest["path"][0])).read_bytes())
    digests = {whole(location).digest}
    dropped.unlink()
    digests.add(whole(location).digest)
    assert len(digests) == 1


def test_a_link_in_place_of_an_image_is_refused(location: DataPaths) -> None:
    path = location.images / "lying" / "03.png"
    path.rename(location.images.parent / "elsewhere.png")
    path.symlink_to("nowhere")
    with pytest.raises(ChangedInput, match="could not be read"):
        whole(location)


def test_junk_may_come_and_go(location: DataPaths) -> None:
    for name in (".DS_Store", "lying/Thumbs.db", ".ipynb_checkpoints/a.png"):
        path = location.images / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"junk")
    assert len(whole(location).rows["train"]) > 0


@pytest.mark.row("D36")
@pytest.mark.parametrize("seed", range(12))
def test_no_mixture_of_old_and_new_images_is_ever_opened(location: DataPaths, seed: int) -> None:
    before = {split: part.pixels[:] for split, part in whole(location).splits.items()}
    if seed % 2:
        shutil.rmtree(location.cache)
    rng = random.Random(seed)
    paths = sorted(location.images.rglob("*.png"))
    stop = threading.Event()

    def mutate() -> None:
        time.sleep(rng.uniform(0, 0.03))
        while not stop.is_set():
            path = rng.choice(paths)
            content = path.read_bytes()
            path.write_bytes(content[::-1])
            path.write_bytes(content)

    mutator = threading.Thread(target=mutate)
    mutator.start()
    try:
        with suppress(ChangedInput):  # the other right outcome
            opened = whole(location)
            assert all(np.array_equal(opened.splits[s].pixels[:], before[s]) for s in before)
    finally:
        stop.set()
        mutator.join()


@pytest.mark.row("D43")
def test_the_report_of_another_validation_is_refused(location: DataPaths, tmp_path: Path) -> None:
    manifest = pd.read_parquet(location.manifest)
    manifest.loc[manifest["split"] == "val", "split"] = "train"
    manifest.to_parquet(location.manifest)
    with pytest.raises(
        ChangedInput, match=r"has data digest .* is about .* run `dvc repro validate`"
    ):
        whole(location)


def test_an_artifact_of_other_data_names_the_step_to_run() -> None:
    require_same_data(Path("a.json"), "1" * 64, "1" * 64, "tune")
    with pytest.raises(ChangedInput) as refused:
        require_same_data(Path("a.json"), "1" * 64, "2" * 64, "tune")
    assert str(refused.value) == (
        "a.json: was made from data 111111111111, but the manifest is about 222222222222; "
        "run `dvc repro tune`."
    )
