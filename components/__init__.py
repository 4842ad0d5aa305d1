"""The five steps: modules or folders with `run(*, paths, params)`, which meet in files only.

    step      reads                                 writes (artifacts/<step>/)
    validate  data/images, groups.csv, splits.csv   manifest.parquet report.json report.html
                                                    quarantine.csv
    tune      data/images, manifest, report         hyperparameters.json trials.csv pictures
    train     data/images, manifest, report,        model/ (weights.safetensors, card.json)
              hyperparameters                       history.csv
    evaluate  data/images, manifest, report, model  metrics.json evaluation.json predictions.parquet
                                                    latency.json, plot tables and pictures
    register  data/images, manifest, report, model  decision.json, comparison/ with the champion,
              evaluation, predictions, latency      and a version in the registry

Two layers lie below: `core` (values in, values out) and `io` (everything with an effect).
"""
