"""A signed package: what differs from what was signed is refused wherever it would be used."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from components.core.errors import ChangedInput, InvalidParams, MissingInput, PipelineError
from components.io import files, models
from components.registry import (
    approvals,
    loading,
    promotion,
    signature,
    stored_model,
    verification,
    versions,
)
from components.tracking.runs import open_run
from components.tracking.store import Store
from pipeline.cli import main
from tests import registry
from tests.registry import NAME


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A private and a public key in PEM."""
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    spki = PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, spki))
    return private, public


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Both keys, configured."""
    private, public = write_keys(tmp_path, "mine")
    monkeypatch.setenv(signature.SIGNING_KEY, str(private))
    monkeypatch.setenv(signature.VERIFY_KEY, str(public))
    return private, public


@pytest.fixture
def package(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    """A signed folder with a file in another one."""
    folder = tmp_path / "package"
    (folder / "code").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}")
    (folder / "code/served.py").write_text("x = 1")
    signature.sign(folder)
    return folder


def rewrite(package: Path, **changes: object) -> None:
    path = package / signature.FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_with_link(package: Path) -> None:
    (package / "code/served.py").rename(package.parent / "elsewhere.py")
    (package / "code/served.py").symlink_to(package.parent / "elsewhere.py")


def add_cached_code(package: Path) -> None:
    (package / "code/__pycache__").mkdir()
    (package / "code/__pycache__/a.pyc").touch()


def sign_with_another(package: Path) -> None:
    private, _ = write_keys(package.parent, "another")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(signature.SIGNING_KEY, str(private))
        signature.sign(package)


def list_a_change(package: Path) -> None:
    """What somebody does who has no key: the file and its digest in the list."""
    (package / "MLmodel").write_text("other")
    stated = json.loads((package / signature.FILE).read_text())["files"]
    rewrite(package, files=stated | {"MLmodel": files.digest_file(package / "MLmodel")})


Tamper = Callable[[Path], object]
TAMPERED: dict[str, tuple[Tamper, str]] = {
    "changed": (lambda p: (p / "code/served.py").write_text("x = 2"), r"\(changed: code/served"),
    "added": (lambda p: (p / "code/new.py").write_text(""), r"\(added: code/new\.py\)"),
    "cached": (add_cached_code, r"\(added: code/__pycache__/a\.pyc\)"),
    "missing": (lambda p: (p / "code/served.py").unlink(), r"\(missing: code/served\.py\)"),
    "linked": (replace_with_link, r"holds a link or a special file \(code/served\.py\)"),
    "linked folder": (lambda p: (p / "more").symlink_to(p.parent), r"special file \(more\)"),
    "another key": (sign_with_another, "is signed with another key"),
    "relisted": (list_a_change, "or its list of files was changed"),
    "unsigned": (lambda p: (p / signature.FILE).unlink(), "has no signature, but a key is"),
    "garbage": (lambda p: (p / signature.FILE).write_text("{"), "cannot be read"),
    "no base64": (lambda p: rewrite(p, signature="?"), "cannot be read|another key"),
}  # fmt: skip


def test_what_was_signed_is_used(package: Path, keys: tuple[Path, Path]) -> None:
    signature.verify(package, "model")
    assert [*json.loads((package / signature.FILE).read_text())["files"]] == [
        "MLmodel",
        "code/served.py",
    ]


@pytest.mark.row("P23")
@pytest.mark.parametrize("name", TAMPERED)
def test_what_differs_is_refused(name: str, package: Path) -> None:
    tamper, message = TAMPERED[name]
    tamper(package)
    with pytest.raises(ChangedInput, match=message):
        signature.verify(package, "model")


def test_the_private_key_alone_verifies_too(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(signature.VERIFY_KEY)
    signature.verify(package, "model")
    (package / "MLmodel").write_text("other")
    with pytest.raises(ChangedInput):
        signature.verify(package, "model")


def test_without_a_key_nothing_is_signed_or_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (signature.SIGNING_KEY, signature.VERIFY_KEY):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "file").touch()
    signature.sign(tmp_path)
    signature.verify(tmp_path, "model")
    assert not signature.is_required()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("variable", [signature.SIGNING_KEY, signature.VERIFY_KEY])
@pytest.mark.parametrize("content", [None, b"", b"no key", "rsa"])
def test_what_is_no_key_is_named(
    variable: str, content: bytes | str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(signature.SIGNING_KEY, raising=False)
    place = tmp_path / "key.pem"
    if content == "rsa":
        key = rsa.generate_private_key(65537, 2048)
        content = (
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            if variable == signature.SIGNING_KEY
            else key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
    if isinstance(content, bytes):
        place.write_bytes(content)
    monkeypatch.setenv(variable, str(place))
    with pytest.raises(InvalidParams, match=f"{variable} is .*key.pem, which holds no"):
        signature.verify(tmp_path, "model")


@pytest.fixture
def registered(
    opened: Store,
    small_model: Path,
    tmp_path: Path,
    keys: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The stored package of a signed version that passed and is not yet champion."""
    monkeypatch.setattr(verification, "_require_same_predictions", lambda *_: None)
    register(small_model, tmp_path)
    (logged,) = opened.client.search_logged_models([opened.experiment_id])
    return Path(logged.artifact_location)


def register(model: Path, folder: Path) -> None:
    """Make a version of a model that passed."""
    digest = files.digest_folder(model)
    decision = registry.write_decision(folder / "decision.json", digest)
    with open_run(kind="model", name="n", key="k") as run:
        version = versions.ensure_version(
            run,
            name=NAME,
            folder=model,
            digest=digest,
            card=models.load_card(model),
            test_digest="t" * 64,
        )
        versions.record_decision(run, version, decision=decision, description="passed")


def promote(store: Store) -> None:
    promotion.promote(store, NAME, "1", over=promotion.current_champion(store, NAME))


def append_code(package: Path) -> Path:
    """As whoever can write to the artifact store: the digest tag alone would not show it."""
    marker = package.parent / "it-ran"
    served = next((package).glob("*.py"))
    served.write_text(f"{served.read_text()}\nopen({str(marker)!r}, 'w').close()\n")
    return marker


@pytest.mark.row("P23")
def test_a_signed_version_is_promoted_and_a_changed_one_is_not(
    opened: Store, registered: Path
) -> None:
    kept = shutil.copytree(registered, registered.parent / "kept")
    append_code(registered)
    with pytest.raises(PipelineError, match="version 1 cannot become champion"):
        promote(opened)
    shutil.copytree(kept, registered, dirs_exist_ok=True)
    promote(opened)
    assert registry.champion_version(opened) == "1"


@pytest.mark.row("P23")
def test_another_key_promotes_nothing_and_loads_nothing(
    opened: Store, registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(signature.VERIFY_KEY, str(write_keys(tmp_path, "another")[1]))
    with pytest.raises(PipelineError, match="is signed with another key"):
        promote(opened)
    with pytest.raises(ChangedInput, match="is signed with another key"):
        loading.load_model(NAME, "1")


@pytest.mark.row("P23")
def test_an_unsigned_champion_is_not_rolled_back_to_once_a_key_is_configured(
    opened: Store, registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(opened)
    with monkeypatch.context() as patch:
        for variable in (signature.SIGNING_KEY, signature.VERIFY_KEY):
            patch.delenv(variable)
        registry.add_promoted(opened, tmp_path, "b")
    (registered / signature.FILE).unlink()
    with pytest.raises(ChangedInput, match="has no signature"):
        approvals.rollback(opened, NAME, "1", "why", confirm=lambda _: True)


@pytest.mark.row("P23")
def test_no_code_of_a_changed_package_runs(opened: Store, registered: Path) -> None:
    marker = append_code(registered)
    with pytest.raises(ChangedInput, match="is not what was signed"):
        loading.load_model(NAME, "1")
    assert not marker.exists()


@pytest.mark.row("P23")
def test_a_command_takes_no_copy_of_a_version_that_is_no_longer_what_was_signed(
    opened: Store, registered: Path, tmp_path: Path
) -> None:
    assert stored_model.fetch(NAME, "1", tmp_path / "cache").number == "1"
    append_code(registered)
    with pytest.raises(ChangedInput, match="is not what was signed"):
        stored_model.fetch(NAME, "1", tmp_path / "cache")


def test_a_version_that_is_not_there_is_named(opened: Store, registered: Path) -> None:
    with pytest.raises(MissingInput, match="there is no champion"):
        loading.load_model(NAME)
    with pytest.raises(MissingInput, match="there is no version 7"):
        loading.load_model(NAME, "7")


@pytest.mark.row("P23")
def test_status_reads_the_champion_back(
    opened: Store, registered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["status", "--verify", "--model", NAME]
    promote(opened)
    assert main(words) == 0
    assert "version 1 was read back: the bytes that were registered" in capsys.readouterr().out
    append_code(registered)
    assert main(words[:1] + words[2:]) == 0
    capsys.readouterr()
    assert main(words) == 3
    assert "! version 1 cannot be used: MLflow: model m-" in capsys.readouterr().out
    assert main([*words, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["problems"]


def test_the_readme_s_keys_sign_and_its_line_loads(
    opened: Store, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    mark = "<!-- run by: tests/components/registry/test_signature.py -->\n```sh\n"
    *making, loading_it = readme.partition(mark)[2].partition("```")[0].splitlines()
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl")
    for line in making:
        subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setenv(signature.SIGNING_KEY, str(tmp_path / "signing.pem"))
    monkeypatch.setenv(signature.VERIFY_KEY, str(tmp_path / "verify.pem"))
    register(model_folder, tmp_path)
    promote(opened)
    python = f"{sys.executable} {loading_it.replace('solar-cells', NAME).partition(' ')[2]}"
    root = {"PYTHONPATH": str(Path(__file__).parents[3])}

    def load() -> int:
        words = ["sh", "-c", python]
        done = subprocess.run(words, cwd=tmp_path, env=os.environ | root, capture_output=True)
        return done.returncode

    assert load() == 0
    subprocess.run(["sh", "-c", making[0]], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["sh", "-c", making[1]], cwd=tmp_path, check=True, capture_output=True)
    assert load() == 1  # another key
