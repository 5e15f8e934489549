"""MLflow: the exporter that sends records there, and everything else that talks to MLflow."""
