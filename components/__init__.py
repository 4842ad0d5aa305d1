"""The five steps. Each is one module with `run(*, paths, params)` and meets the others in files.

    step      reads                                 writes (artifacts/<step>/)
    validate  data/images                           manifest.parquet report.json report.html
                                                    quarantine.csv
    tune      data/images, manifest, report         hyperparameters.json trials.csv pictures
    train     data/images, manifest, report,        model/ (weights.safetensors, card.json)
              hyperparameters                       history.csv
    evaluate  data/images, manifest, report, model  metrics.json evaluation.json predictions.parquet
                                                    plot tables and pictures
    register  model, evaluation, predictions,       decision.json, and a version in the registry
              report

Two layers lie below: `core` (values in, values out) and `io` (everything with an effect).
"""
