"""Figures for people: each title states the finding, and how much it rests on.

Equal values give equal PNG bytes on one machine. Figures of test predictions are in
`plots.predictions`, apart from these: tune and train do not depend on the code of evaluation.
"""

from components.io.reports.plots.learning import (
    history,
    study_curves,
    study_history,
    study_importance,
)

__all__ = ["history", "study_curves", "study_history", "study_importance"]
