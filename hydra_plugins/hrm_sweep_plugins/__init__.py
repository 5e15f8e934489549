"""Entry points that Hydra finds. Imported at every start of every Hydra app: keep them light.

Hydra executes these modules before it registers them, so dataclasses cannot look up annotations
that are strings: no `from __future__ import annotations` here.
"""
