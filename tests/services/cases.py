"""Judged versions with their evidence, as register leaves them."""

from pathlib import Path
from typing import Any

import numpy as np

from components.core.artifacts import Evaluation, ModelCard
from components.core.data.decoding import ImageParams
from components.core.evaluation.metrics import compute_metrics
from components.core.evaluation.predictions import Predictions
from components.core.gate.evidence import ChampionEvidence
from components.core.training.architectures import build_network
from components.io import files, models
from components.io.data import predictions as answers
from components.registry import audit_log as journal
from components.registry import champion as seats
from components.registry import promotion
from components.tracking.store import Store
from tests.services import actors
from tests.services.actors import NAME

CLASSES = ["bad", "good"]


def said(right: list[bool]) -> Predictions:
    """Answers to images of the class good."""
    predicted = np.array(right, dtype=np.int64)
    return Predictions(
        class_names=CLASSES,
        paths=[f"good/{k}.png" for k in range(len(right))],
        groups=[str(k) for k in range(len(right))],
        labels=np.ones(len(right), dtype=np.int64),
        predicted=predicted,
        probabilities=np.eye(2)[predicted],
    )


def judge(store: Store, folder: Path, digest: str, verdict: Any) -> str:
    """A version as register leaves it: evidence with its run, verdict, `candidate`; its number."""
    place = folder / f"evidence of {digest}"
    place.mkdir()
    seat = promotion.seat(store, NAME)
    ours, theirs = said([True, True, False, False]), said([False, True, True, True])
    files.write_bytes(place / "predictions.parquet", answers.to_parquet(ours))
    found = compute_metrics(
        np.eye(2, dtype=np.float32)[ours.predicted], ours.labels, CLASSES, 1.0, 15
    )
    evaluation = Evaluation(
        metrics=found[0],
        per_class=found[1],
        confusion=found[2].tolist(),
        model_digest=digest,
        data_digest="d",
        test_digest="t",
        predictions_sha256=files.digest_file(place / "predictions.parquet"),
    )
    files.write_artifact(place / "evaluation.json", evaluation)
    incumbent = ChampionEvidence(state="none", model_digest="", predictions_sha256="", reason="")
    if seat.model_digest:
        files.write_bytes(place / "champion.parquet", answers.to_parquet(theirs))
        incumbent = ChampionEvidence(
            state="compared",
            model_digest=seat.model_digest,
            predictions_sha256=files.digest_file(place / "champion.parquet"),
            reason="",
        )
    receipt = actors.write_receipt(
        place / "decision.json",
        digest,
        verdict,
        predictions_sha256=evaluation.predictions_sha256,
        evaluation_sha256=files.digest_file(place / "evaluation.json"),
        champion=incumbent,
    )
    run = store.client.create_run(store.experiment_id)
    store.client.log_artifacts(run.info.run_id, str(place), "register")
    number = actors.add_version(
        store,
        digest,
        verdict,
        run_id=run.info.run_id,
        decision_sha256=files.digest_file(receipt),
    )
    store.client.update_model_version(NAME, number, f"{verdict.upper()} 0.500 accuracy\n\nmore")
    store.client.set_registered_model_alias(NAME, seats.CANDIDATE, number)
    return number


def promoted(store: Store, folder: Path, digest: str) -> str:
    number = judge(store, folder, digest, "promote")
    promotion.promote(store, NAME, number, over=promotion.seat(store, NAME))
    return number


def champion(store: Store) -> str | None:
    shown = seats.aliases(store, NAME)
    seat, _ = seats.look(store, NAME)
    assert (seat.version, seat.fault) == (shown.get("champion"), "")
    return seat.version


def records(store: Store) -> list[tuple[str, str]]:
    return [(r.action, r.version) for r in journal.read(store, NAME).records]


def write_model(folder: Path) -> Path:
    """A resnet18 of 32 pixels and two classes with random weights."""
    import torch

    torch.manual_seed(0)
    digest = models.save_weights(folder, build_network("resnet18", 2).state_dict())
    images = ImageParams(
        formats=["PNG"], max_pixels=9999, multi_frame="refuse", background=(0, 0, 0), fit="crop"
    )
    card = ModelCard(
        architecture="resnet18",
        class_names=CLASSES,
        image_size=32,
        images=images,
        temperature=1.7,
        weights_sha256=digest,
        initial_weights="random",
        data_digest="d" * 64,
        training_key="e" * 64,
        settings={},
        best_epoch=1,
        val_loss=0.6,
    )
    models.save_card(folder, card)
    return folder
