"""The application as a whole."""

from __future__ import annotations

import pytest

from tests.unit.rest_door import clean_door


def test_making_an_application_prepares_no_addresses() -> None:
    """A proxy's start would compile two functions for each route otherwise, and nothing ever calls them."""
    routes = clean_door().app.url_map.bind("proxy")
    assert routes.match("/health")[0] == "/health"
    with pytest.raises(NotImplementedError):
        routes.build("/health")
