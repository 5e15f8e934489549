"""Optuna's own tests of a storage, on ours: alone and inside an exclusive transaction."""

import pickle
import uuid
from collections.abc import Iterator

import pytest
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase

from hrm_sweep.storage.optuna_storage import SharedStorage


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_storage(request, tmp_path) -> SharedStorage:
    """A storage without studies."""
    if request.param == "sqlite":
        return SharedStorage(f"sqlite:///{tmp_path}/optuna.db")
    server = request.getfixturevalue("postgresql")
    name = f"contract_{uuid.uuid4().hex}"
    server.psql(f"CREATE DATABASE {name}")
    return SharedStorage(server.get_uri().replace("@/postgres", f"@/{name}"))


class TestAlone(StorageTestCase):
    """Each call is a transaction of its own."""

    @pytest.fixture
    def storage(self, fresh_storage) -> SharedStorage:
        return fresh_storage


class TestInAnExclusiveTransaction(StorageTestCase):
    """All calls are one transaction; one that fails leaves those before it as they are."""

    @pytest.fixture
    def storage(self, fresh_storage) -> Iterator[SharedStorage]:
        with fresh_storage.exclusive_transaction("any"):
            yield fresh_storage

    def test_pickle_storage(self, storage) -> None:
        """A copy asks by a connection of its own, so it sees the transaction when it has ended."""
        storage.create_new_study(directions=[StudyDirection.MINIMIZE])
        assert pickle.loads(pickle.dumps(storage)).get_all_studies() == []
