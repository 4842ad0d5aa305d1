import base64
import importlib.util
import shutil
from collections.abc import Callable
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import pyfunc
from PIL import Image

import components
from components.core.data.decoding import load_image
from components.core.training.inference import predict_logits, probabilities
from components.io import files, models
from components.registry import package, verification

Predict = Callable[[list[str]], list[dict[str, object]]]


def picture(seed: int, kind: str = "PNG", size: tuple[int, int] = (50, 40)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture(scope="module")
def packed(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed") / "package"
    package.write(model_folder, target, run_id="1" * 32, model_id="m-" + "2" * 32)
    return target


@pytest.fixture(scope="module")
def predict(packed: Path) -> Predict:
    return pyfunc.load_model(str(packed)).predict  # type: ignore[no-any-return]


def test_the_model_folder_is_inside_byte_by_byte(packed: Path, model_folder: Path) -> None:
    there = files.digest_folder(packed / "artifacts/model")
    assert there == files.digest_folder(model_folder)


def test_the_model_folder_may_lie_anywhere(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a%41b?c#d 'e'" / "model"
    shutil.copytree(model_folder, folder)
    package.write(folder, tmp_path / "package", run_id="1" * 32, model_id="m-" + "2" * 32)
    assert files.digest_folder(tmp_path / "package/artifacts/model") == files.digest_folder(folder)


def test_nothing_inside_is_pickled_or_generated(packed: Path) -> None:
    kinds = {path.suffix for path in packed.rglob("*") if path.is_file()}
    assert kinds <= {".py", ".json", ".safetensors", ".txt", ".yaml", "", ".html", ".css"}
    assert not list(packed.rglob("__pycache__"))


def test_input_and_output_are_declared(packed: Path) -> None:
    signature = pyfunc.load_model(str(packed)).metadata.signature
    assert [str(kind) for kind in signature.inputs.input_types()] == ["DataType.string"]
    (answer,) = signature.outputs.to_dict()
    assert set(answer["properties"]) == {"label", "probability", "probabilities", "error"}


def test_requirements_are_exact_and_installed(packed: Path) -> None:
    lines = (packed / "requirements.txt").read_text().splitlines()
    assert lines == package.requirements()
    assert f"mlflow=={version('mlflow')}" in lines
    assert all(line.count("==") == 1 and "+" not in line for line in lines)


def test_the_run_and_the_logged_model_are_named(packed: Path) -> None:
    described = yaml.safe_load((packed / "MLmodel").read_text())
    assert described["run_id"] == "1" * 32
    assert described["model_id"] == "m-" + "2" * 32


@pytest.mark.row("P16")
def test_answers_are_those_of_the_model_folder(predict: Predict, model_folder: Path) -> None:
    contents = [picture(0), picture(1, "JPEG"), picture(2, size=(8, 90))]
    loaded = models.load(model_folder)
    card = loaded.card
    squares = np.stack([load_image(c, card.image_size, card.images) for c in contents])
    logits = predict_logits(loaded.network, squares, batch_size=3, device="cpu")
    expected = probabilities(logits, card.temperature)
    for answer, row in zip(predict([encoded(c) for c in contents]), expected, strict=True):
        found = answer["probabilities"]
        assert isinstance(found, dict)
        assert list(found) == ["good cell", "bad|cell"]
        assert list(found.values()) == pytest.approx(row, abs=1e-6)
        assert answer["label"] == card.class_names[row.argmax()]
        assert answer["probability"] == pytest.approx(row.max(), abs=1e-6)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("%%%", "not base64"),
        ("Z\u00fcrich", "not base64"),
        ("", "zero bytes"),
        (encoded(b"hello"), "text/HTML, not an image"),
        (encoded(picture(1)[:200]), "truncated"),
        (encoded(picture(1, "GIF")), "GIF, not one of PNG, JPEG"),
    ],
)
def test_a_broken_image_gets_an_error_of_its_own(
    broken: str, reason: str, predict: Predict
) -> None:
    whole = encoded(picture(0))
    before, error, after = predict([whole, broken, whole])
    assert error == {"error": reason}
    assert before == after
    assert "error" not in before


def test_a_batch_of_broken_images_gets_errors_only(predict: Predict) -> None:
    assert predict(["%", "%"]) == [{"error": "not base64"}] * 2


def test_base64_may_be_wrapped_in_lines(predict: Predict) -> None:
    wrapped = base64.encodebytes(picture(0)).decode()
    assert "\n" in wrapped.strip()
    assert predict([wrapped]) == predict([encoded(picture(0))])


@pytest.mark.parametrize("padded", [True, False])
def test_url_safe_base64_and_data_urls_are_base64(predict: Predict, padded: bool) -> None:
    content = picture(0)
    plain = encoded(content)
    assert {"+", "/"} <= set(plain), "the image should need both letters"
    safe = base64.urlsafe_b64encode(content).decode()
    safe = safe if padded else safe.rstrip("=")
    forms = [plain, safe, f"data:image/png;base64,{plain}", f"DATA:image/png;BASE64,\n{safe}"]
    found = predict(forms)
    assert "error" not in found[0]
    assert found == [found[0]] * len(forms)
    assert predict(["data:image/png,%89PNG"]) == [{"error": "a data URL that is not in base64"}]


def test_many_images_keep_their_order(predict: Predict) -> None:
    images = [encoded(picture(seed % 3)) for seed in range(130)]
    images[100] = "%"
    answers = predict(images)
    assert len(answers) == 130
    assert "error" in answers[100]
    labels = [answer.get("probability") for answer in answers]
    assert labels[0] == pytest.approx(labels[129], abs=1e-6)
    assert labels[1] == pytest.approx(labels[127], abs=1e-6)


def test_an_empty_request_gets_an_empty_answer(predict: Predict) -> None:
    assert predict([]) == []


# Added to the package: what its process had when it ended.
NOTES = """
import atexit, os, sys
from pathlib import Path

def note():
    import components
    others = [name in sys.modules for name in ("components.tracking", "components.train")]
    pickle = os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"]
    Path("notes.txt").write_text(f"{components.__file__}\\n{pickle}\\n{others}")

atexit.register(note)
"""


@pytest.mark.row("P25")
def test_it_runs_by_itself_with_pickle_disallowed(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a fresh process with nothing but the package, where it predicts like the model folder."""
    alone = Path(shutil.copytree(packed, tmp_path / "elsewhere"))
    with (alone / "served_model.py").open("a") as code:
        code.write(NOTES)
    monkeypatch.setenv("PYTHONPATH", str(Path(components.__file__).parent.parent))
    verification._require_same_predictions(alone, alone / "artifacts/model", "m-1")
    place, pickle, others = (alone / "notes.txt").read_text().splitlines()
    assert Path(place).is_relative_to(alone)
    assert pickle == "false"
    assert others == "[False, False]"


def test_every_requirement_is_importable_under_a_known_name() -> None:
    renamed = {"pillow": "PIL"}
    for line in package.requirements():
        name = line.partition("==")[0]
        assert importlib.util.find_spec(renamed.get(name, name)), name
