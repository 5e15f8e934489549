"""The doors by which Hydra finds us. Imported at every start of every Hydra app: keep it light.

Hydra executes these modules before it registers them, and dataclasses could not look up annotations
that are strings: no `from __future__ import annotations` here.
"""
