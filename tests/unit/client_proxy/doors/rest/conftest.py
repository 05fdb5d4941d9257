"""The API over fakes, by the thin layer and by Flask alike."""

from __future__ import annotations

import pytest

from tests.unit.rest_door import Door, clean_door


@pytest.fixture(params=[True, False], ids=["thin", "flask"])
def door(request: pytest.FixtureRequest) -> Door:
    return clean_door(thin=request.param)
