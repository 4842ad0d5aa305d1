"""A signature over all files of a package, by whoever holds a key: Ed25519, no network.

Two variables name files in PEM. `PIPELINE_SIGNING_KEY` is the private key of whoever registers;
`PIPELINE_VERIFY_KEY` the public key of whoever uses models, and then nothing unsigned is used. Who
has only the private key verifies with its public half. Make them with

    openssl genpkey -algorithm ed25519 -out signing.pem
    openssl pkey -in signing.pem -pubout -out verify.pem
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from components.core.errors import ChangedInput, InvalidParams
from components.core.phrases import listing
from components.io import files

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNING_KEY, VERIFY_KEY = "PIPELINE_SIGNING_KEY", "PIPELINE_VERIFY_KEY"
FILE = "signature.json"

# In front of what is signed: the key may sign other things, too.
_PURPOSE = b"image classification pipeline, package of a model, version 1\n"
_REGISTER_AGAIN = "train and register it again, or restore the artifact store from a backup"


class Signature(BaseModel):
    """The file beside what it signs.

    Attributes:
        files: path -> SHA-256 of every file of the package but this one.
        signature: Ed25519 over them, base64.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, str]
    signature: str


def is_required() -> bool:
    """Whether a key is configured: then what is not signed by it is not used."""
    return bool(os.environ.get(VERIFY_KEY) or os.environ.get(SIGNING_KEY))


def sign(package: Path) -> None:
    """Write the signature of a package into it, if a private key is configured.

    Raises:
        InvalidParams: the key cannot be read.
    """
    if key := _private_key():
        contents = {name: files.digest_file(package / name) for name in _names(package)}
        signed = base64.b64encode(key.sign(_message(contents))).decode()
        files.write_artifact(package / FILE, Signature(files=contents, signature=signed))


def verify(package: Path, name: str) -> None:
    """Refuse a package that is not exactly what the configured key has signed.

    Does nothing where no key is configured.

    Args:
        package: its folder, without links on the way out of it.
        name: of the model, for the message.

    Raises:
        ChangedInput: it has no signature or one of another key; a file was changed, added, removed
            or replaced by a link.
        InvalidParams: the key cannot be read.
    """
    if key := _public_key():
        problem = _problem(package, key)
        if problem:
            raise ChangedInput(f"{name} {problem}")


def _problem(package: Path, key: Ed25519PublicKey) -> str:
    """What is wrong with a package, and what to do; empty if it is what was signed."""
    from cryptography.exceptions import InvalidSignature

    try:
        names = sorted(_names(package))
        stated = Signature.model_validate_json((package / FILE).read_bytes())
        key.verify(base64.b64decode(stated.signature), _message(stated.files))
    except FileNotFoundError:
        return f"has no signature, but a key is configured: {_REGISTER_AGAIN}."
    except _Linked as error:
        return f"holds a link or a special file ({error}), which nobody signs: {_REGISTER_AGAIN}."
    except InvalidSignature:
        return (
            "is signed with another key, or its list of files was changed; check that "
            f"{VERIFY_KEY} belongs to whoever registered it, else {_REGISTER_AGAIN}."
        )
    except ValueError:
        return f"has a signature that cannot be read: {_REGISTER_AGAIN}."
    found = {
        "missing": sorted(set(stated.files) - set(names)),
        "added": sorted(set(names) - set(stated.files)),
        "changed": [
            name
            for name in names
            if stated.files.get(name) not in (None, files.digest_file(package / name))
        ],
    }
    wrong = "; ".join(f"{what}: {listing(which, 3)}" for what, which in found.items() if which)
    return wrong and f"is not what was signed ({wrong}): {_REGISTER_AGAIN}."


class _Linked(Exception):
    """A file that is none."""


def _names(package: Path) -> Iterator[str]:
    """Every file below the package but the signature; no link is followed."""
    for folder, folders, names in os.walk(package):
        for name in (*folders, *names):
            path = Path(folder) / name
            relative = path.relative_to(package).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise _Linked(relative)
            if name in names and relative != FILE:
                yield relative


def _message(contents: Mapping[str, str]) -> bytes:
    return _PURPOSE + json.dumps(dict(contents), sort_keys=True).encode()


def _private_key() -> Ed25519PrivateKey | None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not (place := os.environ.get(SIGNING_KEY)):
        return None
    try:
        key = load_pem_private_key(Path(place).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(SIGNING_KEY, place) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _unreadable(SIGNING_KEY, place)
    return key


def _public_key() -> Ed25519PublicKey | None:
    """None = no key is configured."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if not (place := os.environ.get(VERIFY_KEY)):
        private = _private_key()
        return private.public_key() if private else None
    try:
        key = load_pem_public_key(Path(place).read_bytes())
    except (OSError, ValueError) as error:
        raise _unreadable(VERIFY_KEY, place) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _unreadable(VERIFY_KEY, place)
    return key


def _unreadable(variable: str, place: str) -> InvalidParams:
    kind = "private" if variable == SIGNING_KEY else "public"
    return InvalidParams(
        f"{variable} is {place}, which holds no {kind} Ed25519 key in PEM without a password; "
        "`openssl genpkey -algorithm ed25519` makes one."
    )
