"""What pages are made of, built once for all tests of this folder."""

from __future__ import annotations

import pytest
from web_page_example import Example, make_example


@pytest.fixture(scope="session")
def example(tmp_path_factory) -> Example:
    """A folder with what pages are made of."""
    return make_example(tmp_path_factory.mktemp("pages"))
