"""The five steps: packages with `run(paths, params)`, which meet in files only.

    step      reads                                 writes (artifacts/<step>/)
    validate  data/images, groups.csv, splits.csv   manifest.parquet report.json report.html
                                                    quarantine.csv near_duplicates.csv
    tune      data/images, manifest, report         hyperparameters.json trials.csv plots/
    train     data/images, manifest, report,        model/ (weights.safetensors, card.json)
              hyperparameters                       history.csv
    evaluate  data/images, manifest, report, model  metrics.json evaluation.json predictions.parquet
                                                    latency.json, plots/, ../report/
    register  data/images, manifest, report, model  decision.json, comparison/ with the champion,
              evaluation, predictions, latency      ../report/ and a version in the registry

Below the steps: `registry` and `tracking` (MLflow), `io` (files) and `core` (values in,
values out).
"""

STEPS = ("validate", "tune", "train", "evaluate", "register")
