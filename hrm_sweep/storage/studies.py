"""What a database knows of its studies, read without Optuna."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from hrm_sweep.compat import optuna_schema
from hrm_sweep.storage import database


def study_attributes(url: str) -> list[dict[str, Any]]:
    """Return the user attributes of each study in a database that exists, in one query.

    Raises:
        StudyError: the database cannot be read.
    """
    database.check(url)
    engine = sqlalchemy.create_engine(url, **database.options(url))
    try:
        with engine.connect() as connection:
            return optuna_schema.study_attributes(connection)
    except (SQLAlchemyError, ImportError) as error:
        raise database.cannot_be_opened(url, error) from None
    finally:
        engine.dispose()
