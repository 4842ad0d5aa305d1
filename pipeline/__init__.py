"""The entry points: the command line, the doctor, and Kubeflow Pipelines."""
