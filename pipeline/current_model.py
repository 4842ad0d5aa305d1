"""Whether the trained model is that of the present settings, data and code."""

from __future__ import annotations

from components import register, train
from components.core.errors import ChangedInput
from components.core.phrases import short_digest
from components.io import models, params
from components.train.key import expected_key
from pipeline import SETTINGS


def require(paths: register.Paths) -> None:
    """Refuse a model that something else left where `train` writes its own.

    A model from elsewhere, named on the command line, is not asked where it comes from.

    Raises:
        ChangedInput: its training key is not the one of what is here now.
    """
    trained = train.Paths(manifest=paths.manifest, report=paths.report)
    if paths.model != trained.model:
        return
    card = models.load_card(paths.model)
    expected = expected_key(trained, params.load(SETTINGS, train.Params), card)
    if card.training_key != expected:
        raise ChangedInput(
            f"{paths.model / models.CARD}: its training key is {short_digest(card.training_key)}, "
            f"but {SETTINGS}, the data and the code give {short_digest(expected)}: it was trained "
            "with others. Run `dvc repro`."
        )
