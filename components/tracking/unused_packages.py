"""Parts of MLflow that importing its client runs and nothing here uses: left until asked for.

`import mlflow` runs what judges language models and serves them, FastAPI included; of its quarter
of a second nothing is used. The code of such a package runs when somebody asks for something in
it; the modules inside it can be imported before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_UNUSED = frozenset(
    {"mlflow.gateway", "mlflow.genai", "mlflow.genai.judges", "mlflow.genai.scorers"}
    | {"mlflow.models"}  # what signatures, examples and evaluation are; used when one is logged
)


class _Unrun(ModuleType):
    """A package whose own code has not run."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # asked of every module
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(self)
        return getattr(self, name)


class _Later(Loader):
    """Makes the package without running its code."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """A package that can be searched for its modules."""
        return _Unrun(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave the code to the package's own loader."""
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader


class _Finder:
    """Finds the unused packages where they are."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As the import system asks for it."""
        spec = PathFinder.find_spec(name, path) if name in _UNUSED else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Later(spec.loader)
        return spec


_FINDER = _Finder()


def leave_unrun() -> None:
    """Leave out what is unused of the MLflow that is imported next; harmless later on."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
