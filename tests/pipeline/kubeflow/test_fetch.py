"""Real git repositories and a real DVC storage, in folders."""

import os
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.core.errors import ChangedInput, InvalidParams, ServiceUnavailable
from components.tracking.lineage import dvc_hash, git_revision
from pipeline.kubeflow.fetch import fetch, folder_hash

GIT = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "test"), ("EMAIL", "test@example.org"))
}


class Origin:
    """A project whose images lie in a DVC storage beside it."""

    def __init__(self, root: Path) -> None:
        self.root, self.storage = root / "origin", root / "storage"
        self.images = self.root / "data/images"
        self.root.mkdir()
        self.run("git", "init", "--quiet")
        self.run("dvc", "init", "--quiet")
        self.run("dvc", "remote", "add", "--default", "storage", str(self.storage))

    def run(self, *command: str) -> str:
        words = [sys.executable, "-m", *command] if command[0] == "dvc" else list(command)
        environment = {**os.environ, **GIT, "DVC_NO_ANALYTICS": "1"}
        done = subprocess.run(
            words, cwd=self.root, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def publish(self, **images: bytes) -> tuple[str, str]:
        """Commit and push these images; return the revision and their hash."""
        for name, content in images.items():
            file = self.images / name / "1.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            file.write_bytes(content)
        self.run("dvc", "add", "--quiet", "data/images")
        self.run("dvc", "push", "--quiet")
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "images")
        return self.run("git", "rev-parse", "HEAD"), dvc_hash(self.root / "data/images.dvc")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return Origin(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def versions(origin: Origin, image_bytes: Callable[..., bytes]) -> list[tuple[str, str]]:
    """Two revisions with different images."""
    first = origin.publish(cat=image_bytes(1), dog=image_bytes(2), **{"a-b": image_bytes(4)})
    return [first, origin.publish(dog=image_bytes(3))]


def test_an_old_revision_comes_with_its_own_images_and_can_be_fetched_twice(
    origin: Origin, versions: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision, data_hash = versions[0]
    project = tmp_path / "deep/project"
    for _ in range(2):
        fetch(project, str(origin.root), revision, data_hash)
        assert folder_hash(project / "data/images") == data_hash
    monkeypatch.chdir(project)
    assert git_revision() == revision  # and not -dirty


def test_another_hash_than_that_of_the_revision_is_refused_before_any_download(
    origin: Origin, versions: list[tuple[str, str]], tmp_path: Path
) -> None:
    (revision, _), (_, other) = versions
    with pytest.raises(ChangedInput, match=f"not {other}"):
        fetch(tmp_path / "project", str(origin.root), revision, other)
    assert not (tmp_path / "project/data/images").exists()


@pytest.mark.row("D39")
def test_bytes_that_changed_in_the_storage_are_noticed_and_not_kept(
    origin: Origin, versions: list[tuple[str, str]], tmp_path: Path
) -> None:
    revision, data_hash = versions[0]
    content = (origin.images / "cat/1.png").read_bytes()
    stored = (file for file in origin.storage.rglob("*") if file.is_file())
    victim = next(file for file in stored if file.read_bytes() == content)
    victim.chmod(0o644)
    victim.write_bytes(content[:-1] + b"?")
    project = tmp_path / "project"
    try:
        with pytest.raises((ChangedInput, ServiceUnavailable)):
            fetch(project, str(origin.root), revision, data_hash)
    finally:
        victim.write_bytes(content)
    assert not (project / "data/images").exists()
    fetch(project, str(origin.root), revision, data_hash)
    assert folder_hash(project / "data/images") == data_hash


def test_a_second_run_with_a_shared_cache_fetches_nothing_and_copies_nothing(
    origin: Origin, versions: list[tuple[str, str]], tmp_path: Path
) -> None:
    revision, data_hash = versions[0]
    cache = tmp_path / "shared/dvc"
    fetch(tmp_path / "first", str(origin.root), revision, data_hash, cache)
    away = origin.storage.rename(origin.storage.with_name("away"))
    try:
        fetch(tmp_path / "second", str(origin.root), revision, data_hash, cache)
    finally:
        away.rename(origin.storage)
    first, second = (tmp_path / run / "data/images/cat/1.png" for run in ("first", "second"))
    assert first.samefile(second)
    assert folder_hash(tmp_path / "second/data/images") == data_hash
    assert git_status(tmp_path / "second") == ""


def test_of_a_shared_cache_only_what_is_damaged_goes(
    origin: Origin, versions: list[tuple[str, str]], tmp_path: Path
) -> None:
    revision, data_hash = versions[0]
    cache = tmp_path / "shared/dvc"
    fetch(tmp_path / "first", str(origin.root), revision, data_hash, cache)
    kept = {path for path in cache.rglob("*") if path.is_file()}
    victim = tmp_path / "first/data/images/cat/1.png"
    victim.chmod(0o644)
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")  # a hard link: the cache has it, too
    victim.chmod(0o444)
    with pytest.raises(ChangedInput, match="the images have the hash"):
        fetch(tmp_path / "second", str(origin.root), revision, data_hash, cache)
    assert len(kept - {path for path in cache.rglob("*") if path.is_file()}) == 1
    fetch(tmp_path / "third", str(origin.root), revision, data_hash, cache)
    assert folder_hash(tmp_path / "third/data/images") == data_hash


def test_images_that_were_never_pushed_are_named(
    origin: Origin, versions: list[tuple[str, str]], tmp_path: Path
) -> None:
    revision, data_hash = versions[0]
    away = origin.storage.rename(origin.storage.with_name("away"))
    try:
        with pytest.raises(ServiceUnavailable, match=f"Missing cache files: md5: {data_hash}") as e:
            fetch(tmp_path / "project", str(origin.root), revision, data_hash)
    finally:
        away.rename(origin.storage)
    assert "\n" not in str(e.value)


def test_an_absent_revision_is_a_service_that_did_not_deliver(
    origin: Origin, versions: list[tuple[str, str]], tmp_path: Path
) -> None:
    with pytest.raises(ServiceUnavailable, match="git fetch") as raised:
        fetch(tmp_path / "project", str(origin.root), "0" * 40, versions[0][1])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("revision", "data_hash", "name"),
    [("main", f"{'0' * 32}.dir", "revision"), ("0" * 40, "0" * 32, "data_hash")],
)
def test_what_names_no_fixed_state_is_refused(
    revision: str, data_hash: str, name: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidParams, match=f"^{name} is"):
        fetch(tmp_path / "project", "nowhere", revision, data_hash)
    assert not (tmp_path / "project").exists()


def git_status(project: Path) -> str:
    command = ["git", "status", "--porcelain"]
    return subprocess.run(
        command, cwd=project, capture_output=True, text=True, check=True
    ).stdout.strip()


class PrivateGit(BaseHTTPRequestHandler):
    """git's own server program, behind a name and a password."""

    root: str

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        given = self.headers.get("Authorization", "")
        if given != f"Basic {b64encode(b'anna:to ken').decode()}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length", 0))
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": self.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        output = subprocess.run(
            ["git", "http-backend"],
            env=environment,
            input=self.rfile.read(length),
            capture_output=True,
            check=True,
        ).stdout
        headers, _, body = output.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in headers.decode().splitlines():
            self.send_header(*line.split(": ", 1))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def private(origin: Origin) -> Iterator[str]:
    PrivateGit.root = str(origin.root.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), PrivateGit) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/origin/.git"
        server.shutdown()


def test_a_private_repository_opens_to_the_credentials_of_the_environment(
    origin: Origin, private: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision, data_hash = origin.publish(cat=b"private")
    monkeypatch.setenv("GIT_USERNAME", "anna")
    monkeypatch.setenv("GIT_PASSWORD", "to ken")
    fetch(tmp_path / "run", private, revision, data_hash)
    assert (tmp_path / "run/data/images/cat/1.png").read_bytes() == b"private"
    kept = [p for p in (tmp_path / "run/.git").rglob("*") if p.is_file()]
    assert not any(b"to ken" in path.read_bytes() for path in kept)


def test_a_private_repository_refuses_others_without_asking_at_the_keyboard(
    origin: Origin, private: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision, data_hash = origin.publish(cat=b"others")
    with pytest.raises(ServiceUnavailable, match="could not read Username"):
        fetch(tmp_path / "none", private, revision, data_hash)
    monkeypatch.setenv("GIT_USERNAME", "anna")
    monkeypatch.setenv("GIT_PASSWORD", "wrong")
    with pytest.raises(ServiceUnavailable, match="Authentication failed") as raised:
        fetch(tmp_path / "wrong", private, revision, data_hash)
    assert "\n" not in str(raised.value)
    assert "wrong" not in str(raised.value)
