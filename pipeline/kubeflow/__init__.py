"""Kubeflow Pipelines: the graph, a client, and what runs inside a task."""
