import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        action="append",
        default=[],
        metavar="PATH",
        help="further files of figures of the published HRM code, for test_parity",
    )
