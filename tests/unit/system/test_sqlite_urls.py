"""A path becomes an address and stays that path, for us and for SQLAlchemy."""

from pathlib import Path

import pytest
import sqlalchemy

from hrm_sweep.system.sqlite_urls import absolute, path_of, url_of

NAMES = ["plain", "a?b", "a#b", "a%41b", "a%3Fb", "100%", "a b", "a'b\"", "a&b;c", "ä日本"]
NAMES += ["a\\b", "a\nb", "a{b}", "a:b@c", "-a", "~a", "a[b]*", "file:a"]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_survives(name):
    path = Path("/top", name, "x.db")
    assert path_of(url_of(path)) == path
    assert sqlalchemy.make_url(url_of(path)).database == str(path)


def test_a_plain_path_is_its_own_address():
    assert url_of(Path("/a/b c.db")) == "sqlite:////a/b c.db"


def test_an_address_is_made_absolute_with_its_options(tmp_path, monkeypatch):
    (tmp_path / "a?b").mkdir()
    monkeypatch.chdir(tmp_path / "a?b")
    made = absolute("sqlite:///x.db?timeout=20")
    assert made == f"sqlite+pysqlite:///{tmp_path}/a%3Fb/x.db?timeout=20"
    assert absolute(made) == made
    assert absolute("postgresql://h/d") == "postgresql://h/d"
    assert path_of("postgresql://h/d") is None
