"""The sections of pools as models."""

from typing import Any

import pytest
from pydantic import ValidationError

from miner.config import Config
from miner.config_pool import PoolConfig, UpstreamsConfig
from miner.stratum.pool_address import PoolAddress
from tests.miner.test_config import SMALLEST

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
SCRIPT = "0014751e76e8199196d454941c45d1b3a323f1433bd6"


def pool(**keys: Any) -> PoolConfig:
    return PoolConfig.model_validate({"url": "stratum+tcp://pool.example:3333", "user": "me.site1", **keys})


def test_a_pool_needs_its_url_and_a_user_and_nothing_else() -> None:
    least = pool()
    assert least.address == PoolAddress("pool.example", 3333, tls=False)
    assert least.label == "pool.example:3333"
    assert (least.scheme, least.fee, least.no_work_s, least.worker_names) == ("fpps", 0.0, 120.0, False)
    assert least.version_bits == 0x1FFFE000
    with pytest.raises(ValidationError):
        PoolConfig.model_validate({"url": "stratum+tcp://pool.example:3333"})


@pytest.mark.parametrize(
    "url", ["pool.example:3333", "stratum+tcp://me:secret@pool.example:3333", "http://a:1"]
)
def test_a_url_that_names_no_pool_is_refused_and_shows_no_password(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        pool(url=url)
    assert "secret" not in str(refused.value)


def test_tls_is_told_by_the_url() -> None:
    assert pool(url="stratum+tls://pool.example:443").address.tls
    assert pool(url="stratum+ssl://[::1]:443").label == "[::1]:443"


def test_a_pool_may_have_a_name() -> None:
    assert pool(name="home").label == "home"


@pytest.mark.parametrize(
    "keys", [{"name": "a\nb"}, {"name": "x" * 65}, {"user": ""}, {"user": " me"}, {"fee": 1.0}]
)
def test_names_and_numbers_have_limits(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        pool(**keys)


def test_without_a_password_it_is_the_one_that_pools_take_which_ask_for_none() -> None:
    assert pool().secret == "x"
    assert pool(password="hunter2").secret == "hunter2"
    assert pool(password="").secret == ""


def test_a_password_does_not_show() -> None:
    assert "hunter2" not in repr(pool(password="hunter2"))
    assert "hunter2" not in str(pool(password="hunter2"))


def test_payees_are_addresses_or_scripts() -> None:
    both = pool(payees=[ADDRESS, SCRIPT.upper()])
    assert both.payee_addresses == (ADDRESS,)
    assert both.payee_scripts == (bytes.fromhex(SCRIPT),)
    with pytest.raises(ValidationError, match="is no bitcoin address"):
        pool(payees=["not one"])


def test_pools_are_left_and_gone_back_to_after_these_times() -> None:
    times = UpstreamsConfig()
    assert (times.answer_s, times.return_s, times.suspicions, times.difficulty_factor) == (10, 60, 3, 1000)
    for key, value in {"answer_s": 0.0, "suspicions": -1, "difficulty_factor": 1.0}.items():
        with pytest.raises(ValidationError):
            UpstreamsConfig.model_validate({key: value})


POOL: dict[str, Any] = {"url": "stratum+tcp://pool.example:3333", "user": "me"}


class TestOfTheWhole:
    """What a configuration is with pools in it."""

    def test_neither_solo_nor_a_node_is_needed_beside_a_pool(self) -> None:
        config = Config.model_validate({"network": "main", "pool": [POOL]})
        assert config.solo is None
        assert config.bitcoind == ()
        assert config.solo_share == 0.0

    def test_everything_mines_solo_where_there_is_no_pool(self) -> None:
        assert Config.model_validate(SMALLEST).solo_share == 1.0

    def test_beside_a_pool_solo_is_the_last_resort_unless_it_has_a_share(self) -> None:
        with_pool = {**SMALLEST, "pool": [POOL]}
        assert Config.model_validate(with_pool).solo_share == 0.0
        shared = {**with_pool, "solo": {**SMALLEST["solo"], "share": 0.25}}
        assert Config.model_validate(shared).solo_share == 0.25
        with pytest.raises(ValidationError):
            Config.model_validate({**with_pool, "solo": {**SMALLEST["solo"], "share": 1.5}})

    def test_pools_keep_their_order(self) -> None:
        pools = [{**POOL, "name": name} for name in ("b", "a", "c")]
        assert [each.label for each in Config.model_validate({"network": "main", "pool": pools}).pool] == [
            "b",
            "a",
            "c",
        ]
