"""Optuna's own tests of a storage, on ours: alone and inside an exclusive transaction."""

import pickle
from collections.abc import Iterator

import pytest
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase

from hrm_sweep.storage.optuna_storage import SharedStorage


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request, tmp_path_factory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('contract')}/optuna.db"
    server = request.getfixturevalue("postgresql")
    server.psql("CREATE DATABASE contract")
    return server.get_uri().replace("@/postgres", "@/contract")


@pytest.fixture
def fresh_storage(url) -> Iterator[SharedStorage]:
    """A storage without studies; each test clears it, for a database of its own takes a second."""
    storage = SharedStorage(url)
    yield storage
    for study in storage.get_all_studies():
        storage.delete_study(study._study_id)
    storage.engine.dispose()


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
