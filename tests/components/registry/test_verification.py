import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from components.core.artifacts import ModelCard
from components.core.data.decoding import Format, load_image
from components.core.errors import ChangedInput, PipelineError
from components.io import files, models
from components.registry import package, verification
from components.tracking.store import Store


@pytest.fixture
def stored(store: str, model_folder: Path, tmp_path: Path) -> tuple[Store, str, Path]:
    """A store, a logged model in it, and the folder of the files it keeps."""
    client = MlflowClient(store)
    experiment = client.create_experiment("e", str(tmp_path / "mlartifacts"))
    logged = client.create_logged_model(experiment, name="model")
    target = tmp_path / "package"
    package.write(model_folder, target, run_id="1" * 32, model_id=logged.model_id)
    client.log_model_artifacts(logged.model_id, str(target))
    return Store(client, store, experiment, None), logged.model_id, Path(logged.artifact_location)


Stored = tuple[Store, str, Path]


def test_one_changed_byte_is_found(stored: Stored, model_folder: Path) -> None:
    weights = stored[2] / "artifacts/model" / models.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ChangedInput, match="the artifact store damaged it"):
        verification.verify(stored[0], stored[1], files.digest_folder(model_folder))


def test_missing_files_are_found(stored: Stored, model_folder: Path) -> None:
    (stored[2] / "artifacts/model" / models.CARD).unlink()
    with pytest.raises(ChangedInput, match="came back with digest"):
        verification.verify(stored[0], stored[1], files.digest_folder(model_folder))


def test_files_that_are_gone_are_found(stored: Stored, model_folder: Path) -> None:
    digest = files.digest_folder(model_folder)
    shutil.rmtree(stored[2])
    with pytest.raises(ChangedInput, match=r"the files of model .* are gone"):
        verification.verify(stored[0], stored[1], digest)
    stored[0].client.delete_logged_model(stored[1])
    with pytest.raises(ChangedInput, match=r"the files of model .* are gone"):
        verification.verify(stored[0], stored[1], digest)


@pytest.mark.row("R08")
def test_a_package_that_does_not_fit_here_is_not_called_gone(
    stored: Stored, model_folder: Path, small_disk: Path
) -> None:
    digest = files.digest_folder(model_folder)
    with pytest.raises((OSError, MlflowException)) as failed:
        verification.download(stored[0], stored[1], small_disk, digest)
    assert files.is_full(failed.value)


def test_a_link_in_place_of_the_files_is_refused_in_our_words(
    stored: Stored, model_folder: Path, tmp_path: Path
) -> None:
    stored[2].rename(tmp_path / "elsewhere")
    stored[2].symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ChangedInput, match=r"the files of model .* are gone"):
        verification.verify(stored[0], stored[1], files.digest_folder(model_folder))


@pytest.mark.row("P23")
def test_one_changed_byte_of_the_code_beside_the_model_is_found(
    stored: Stored, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "_require_same_predictions", lambda *_: None)
    digest, package_digest = files.digest_folder(model_folder), files.digest_folder(stored[2])
    verification.verify(stored[0], stored[1], digest, package_digest)
    with (stored[2] / "code/components/core/data/decoding.py").open("a") as code:
        code.write("\n")
    with pytest.raises(ChangedInput, match="is not what was uploaded"):
        verification.verify(stored[0], stored[1], digest, package_digest)


def test_a_package_that_phones_home_is_refused(stored: Stored, model_folder: Path) -> None:
    with (stored[2] / "code/components/core/data/decoding.py").open("a") as code:
        code.write("\nimport socket; socket.create_connection(('127.0.0.1', 9))\n")
    with pytest.raises(PipelineError, match="a model may not use the network: socket"):
        verification.verify(stored[0], stored[1], files.digest_folder(model_folder))


# Without torch, which takes seconds to load.
PHONES_HOME_IN_SILENCE = """
import contextlib, socket
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Model(PythonModel):
    def predict(self, context, model_input: list[str], params=None):
        with contextlib.suppress(BaseException):
            socket.getaddrinfo("example.org", 80)
        return []

set_model(Model())
"""


def test_a_package_that_phones_home_and_hides_its_failure_is_refused(
    stored: Stored, model_folder: Path
) -> None:
    served = stored[2] / "served_model.py"
    assert served.exists()
    served.write_text(PHONES_HOME_IN_SILENCE)
    with pytest.raises(PipelineError, match=r"may not use the network: socket\.getaddrinfo"):
        verification.verify(stored[0], stored[1], files.digest_folder(model_folder))


@pytest.mark.row("P24")
def test_a_package_that_holds_a_pickle_as_its_model_is_refused(stored: Stored) -> None:
    description = stored[2] / "MLmodel"
    content = yaml.safe_load(description.read_text())
    flavor = content["flavors"]["python_function"]
    del flavor["model_code_path"]
    flavor["python_model"] = "python_model.pkl"
    flavor["cloudpickle_version"] = "3"
    description.write_text(yaml.safe_dump(content))
    (stored[2] / "python_model.pkl").write_bytes(pickle.dumps(print))
    digest = files.digest_folder(stored[2] / "artifacts/model")
    with pytest.raises(PipelineError, match=r"does not work in a process of its own .*ickle"):
        verification.verify(stored[0], stored[1], digest)


def test_a_package_that_does_not_load_is_found(stored: Stored, model_folder: Path) -> None:
    (stored[2] / "code/components/core/data/decoding.py").write_text("raise RuntimeError('lost')\n")
    with pytest.raises(PipelineError, match=r"does not work in a process of its own .*lost"):
        verification.verify(stored[0], stored[1], files.digest_folder(model_folder))


def test_a_package_that_never_predicts_is_found(
    stored: Stored, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "_TIMEOUT_SECONDS", 0.1)
    with pytest.raises(PipelineError, match="no predictions within"):
        verification._require_same_predictions(stored[2], model_folder, "m-1")


# Predicts what stands beside it, without torch.
PREDICTS_FROM_A_FILE = """
import json
from pathlib import Path
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Model(PythonModel):
    def predict(self, context, model_input: list[str], params=None):
        return json.loads(Path("predictions.json").read_text())

set_model(Model())
"""


def test_predictions_that_differ_in_the_sixth_digit_are_found(
    stored: Stored, model_folder: Path
) -> None:
    card, package = models.load_card(model_folder), stored[2]
    table = verification._predict(model_folder, verification.smoke_test_images(card)) + 3e-6
    rows = [{"probabilities": dict(zip(card.class_names, row, strict=True))} for row in table]
    (package / "predictions.json").write_text(json.dumps(rows))
    (package / "served_model.py").write_text(PREDICTS_FROM_A_FILE)
    with pytest.raises(PipelineError, match=r"predicts differently .* by up to 3e-06;"):
        verification.verify(stored[0], stored[1], files.digest_folder(model_folder))


@pytest.mark.row("P16")
@pytest.mark.slow
def test_a_package_that_predicts_differently_is_found(stored: Stored, model_folder: Path) -> None:
    code = stored[2] / "code/components/core/training/inference.py"
    text = code.read_text()
    division = "logits.astype(np.float64) / temperature"
    assert text.count(division) == 1
    code.write_text(text.replace(division, f"{division} / 1.01"))
    with pytest.raises(PipelineError, match="predicts differently"):
        verification.verify(stored[0], stored[1], files.digest_folder(model_folder))


def test_a_prediction_that_is_an_error_counts_as_different(model_folder: Path) -> None:
    card = models.load_card(model_folder)
    with pytest.raises(PipelineError, match="predicts differently"):
        verification._compare([{"error": "no"}], np.array([[0.5, 0.5]]), card, "m-1")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_smoke_test_images_are_readable_in_every_format(kind: Format, model_folder: Path) -> None:
    card = models.load_card(model_folder)
    images = card.images.model_copy(update={"formats": [kind]})
    only: ModelCard = card.model_copy(update={"images": images})
    images_ = verification.smoke_test_images(only)
    assert images_ == verification.smoke_test_images(only)
    squares = [load_image(image, 32, images) for image in images_]
    assert (squares[0] != squares[1]).any()


_ALONE = """
import sys
from pathlib import Path
from components.io import models
from components.registry import verification

folder = Path(sys.argv[1])
images = verification.smoke_test_images(models.load_card(folder))
print(len(verification._predict(folder, images)), "torch._inductor" in sys.modules)
"""


def test_an_approval_does_not_load_torchs_compiler(model_folder: Path) -> None:
    command = [sys.executable, "-c", _ALONE, str(model_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n"
