"""What several files of live tests share: a relay with listeners for mail programs, one for each file."""

from collections.abc import Iterator

import pytest

from tests.world.service import Service, service


@pytest.fixture(scope="module")
def shared() -> Iterator[Service]:
    """One for all tests that need nothing else."""
    with service() as made:
        yield made


@pytest.fixture
def there(shared: Service) -> Service:
    """The same, with nothing delivered yet."""
    shared.exchanger.forget()
    return shared
