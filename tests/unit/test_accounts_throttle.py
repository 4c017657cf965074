"""Too many failures to sign in: of an account, from an address, at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from hpcwaas.errors import TooManyRequests
from tests.unit.accounts import HERE, THERE, Count, World, fail

pytest_plugins = "tests.unit.accounts_fixtures"


class TestThrottle:
    @pytest.fixture
    def world(self, quick_world: World) -> World:
        return quick_world

    @pytest.mark.parametrize("name", ["paul", "hugo", "sara", "dora", "mallory", "", "\0", "\ud800"])
    def test_an_account_whoever_it_is(self, world: World, name: str, verified: Count) -> None:
        fail(world, name, 10)
        with pytest.raises(TooManyRequests, match="as this user have failed: wait 15 minutes") as caught:
            world.identity.basic(name, f"{name}'s password", HERE)
        assert caught.value.retry_after == 900
        assert verified() == 10  # the right password wasn't even looked at

    @pytest.mark.parametrize("name", ["sara", "mallory"])
    def test_an_account_from_everywhere(self, world: World, name: str, verified: Count) -> None:
        for number in range(10):
            fail(world, name, 10, f"203.0.113.{number}")
        with pytest.raises(TooManyRequests, match="as this user have failed: wait 15 minutes"):
            world.identity.basic(name, f"{name}'s password", HERE)
        assert verified() == 100

    def test_nobody_is_locked_out_by_one_address(self, world: World) -> None:
        fail(world, "sara", 10, THERE)
        with pytest.raises(TooManyRequests):
            world.identity.basic("sara", "sara's password", THERE)
        assert world.identity.basic("sara", "sara's password", HERE)

    def test_nobody_is_locked_out_where_they_have_signed_in_before(self, world: World) -> None:
        assert world.identity.basic("sara", "sara's password", HERE)
        world.now += timedelta(days=29)
        for number in range(10):
            fail(world, "sara", 10, f"203.0.113.{number}")
        afterwards = world.another_process()  # which remembers nothing
        with pytest.raises(TooManyRequests):
            afterwards.basic("sara", "sara's password", THERE)
        assert afterwards.basic("sara", "sara's password", HERE)
        world.now += timedelta(days=2)
        for number in range(10):
            fail(world, "sara", 10, f"203.0.113.{number}")
        with pytest.raises(TooManyRequests):
            world.another_process().basic("sara", "sara's password", HERE)

    def test_a_locked_account_opens_again(self, world: World) -> None:
        fail(world, "sara", 10)
        world.now += timedelta(minutes=14, seconds=30)
        with pytest.raises(TooManyRequests, match="wait 1 minute\\.") as caught:
            world.identity.basic("sara", "sara's password", HERE)
        assert caught.value.retry_after == 30
        world.now += timedelta(seconds=30)
        assert world.identity.basic("sara", "sara's password", HERE)

    def test_a_success_clears_the_account(self, world: World) -> None:
        fail(world, "sara", 9)
        assert world.another_process().basic("sara", "sara's password", HERE)
        fail(world, "sara", 10)
        with pytest.raises(TooManyRequests):
            world.identity.basic("sara", "wrong", HERE)

    def test_a_success_clears_neither_the_account_elsewhere_nor_the_address(self, world: World) -> None:
        for number in range(9):
            fail(world, "sara", 10, f"203.0.113.{number}")
        fail(world, "sara", 9)
        assert world.identity.basic("sara", "sara's password", HERE)
        fail(world, "sara", 1, THERE)
        with pytest.raises(TooManyRequests):
            world.identity.basic("sara", "sara's password", "198.51.100.8")

    def test_an_operator_clears_all_of_an_account(self, world: World) -> None:
        for number in range(9):
            fail(world, "sara", 10, f"203.0.113.{number}")
        fail(world, "sara", 10)
        fail(world, "paul", 10)
        world.throttle().reopen("sara")
        for address in (HERE, THERE):
            assert world.another_process().basic("sara", "sara's password", address)
        with pytest.raises(TooManyRequests):
            world.identity.basic("paul", "paul's password", HERE)

    def test_others_are_not_locked(self, world: World) -> None:
        fail(world, "sara", 10)
        assert world.identity.basic("paul", "paul's password", HERE)

    def test_all_processes_count_together(self, world: World) -> None:
        fail(world, "sara", 10)
        with pytest.raises(TooManyRequests):
            world.another_process().basic("sara", "sara's password", HERE)

    def test_an_address(self, world: World) -> None:
        for number in range(49):
            world.throttle().failed(f"name{number}", HERE)
        fail(world, "mallory", 1)
        with pytest.raises(TooManyRequests, match="from this address"):
            world.identity.basic("sara", "sara's password", HERE)
        assert world.identity.basic("sara", "sara's password", THERE)
        with pytest.raises(TooManyRequests):  # an account of one's own doesn't clear the address
            world.identity.basic("mallory", "wrong", HERE)

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("2001:db8::1", "2001:db8::ffff:0:0:1", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("::ffff:192.0.2.1", "192.0.2.1", True),
            ("192.0.2.1", "192.0.2.2", False),
            ("", "", True),
        ],
    )
    def test_what_counts_as_one_address(self, world: World, one: str, other: str, same: bool) -> None:
        counting = world.throttle()
        for number in range(50):
            counting.failed(f"name{number}", one)
        if same:
            with pytest.raises(TooManyRequests):
                counting.check("sara", other)
        else:
            counting.check("sara", other)

    def test_names_are_not_stored(self, world: World, tmp_path: Path) -> None:
        fail(world, "a password typed for the name", 1)
        world.database.close()
        assert not any(b"a password typed" in file.read_bytes() for file in tmp_path.iterdir())


class TestTheSameTime:
    def test_attempts(self, world: World, verified: Count) -> None:
        """However many come at once: hardly more than allowed are verified."""
        with ThreadPoolExecutor(24) as pool:
            answers = [pool.submit(world.identity.basic, "sara", f"guess {number}", HERE) for number in range(60)]
        refused = [isinstance(answer.exception(), TooManyRequests) for answer in answers]
        assert verified() <= 11
        assert refused.count(False) == verified()

    def test_many_requests_with_the_right_password(self, world: World, verified: Count) -> None:
        with ThreadPoolExecutor(24) as pool:
            answers = [pool.submit(world.identity.basic, "sara", "sara's password", HERE) for _ in range(60)]
        assert all(answer.result() for answer in answers)
        assert verified() <= 2
