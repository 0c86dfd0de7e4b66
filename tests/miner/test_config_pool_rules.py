"""What `load` says of pools, and of the rest of the file beside them."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from miner.config_file import load
from miner.config_pool_rules import password_variable

Said = Callable[..., list[str]]

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
POOL = '[[pool]]\nurl = "stratum+tcp://pool.example:3333"\nuser = "me.site1"\n'
TLS_POOL = POOL.replace("tcp", "tls")
OTHER = '[[pool]]\nurl = "stratum+tcp://other.example:3333"\nuser = "me.site1"\n'
POOL_ONLY = f'network = "main"\n[controller]\nenabled = false\n{POOL}'  # the pool begins in line 4
SOLO = f'[solo]\npayout_address = "{ADDRESS}"\n'
NODE = '[[bitcoind]]\nrpc_url = "http://127.0.0.1:8332"\ncookie_file = "cookie"\n'


def keys(found: list[str]) -> list[str]:
    return [line.split(": ")[1] for line in found]


class TestWhatThereMustBe:
    """Something to mine."""

    def test_a_pool_is_enough(self, problems: Said) -> None:
        assert problems(POOL_ONLY) == []

    def test_a_pool_may_stand_beside_solo_and_a_node(self, problems: Said, good_text: str) -> None:
        assert problems(good_text + POOL) == []

    def test_a_node_may_watch_a_pool(self, problems: Said) -> None:
        assert problems(POOL_ONLY + NODE) == []

    def test_without_pool_and_solo_both_ways_are_told(self, problems: Said) -> None:
        found = problems('network = "main"\n[controller]\nenabled = false\n')
        assert keys(found) == ["bitcoind", "solo"]
        assert "or a [[pool]] with url and user" in found[1]

    def test_solo_needs_a_node_also_beside_a_pool(self, problems: Said) -> None:
        (found,) = problems(POOL_ONLY + SOLO)
        assert found.startswith("1: bitcoind: is missing")
        assert "without [solo] none is needed" in found

    def test_pools_are_an_array(self, problems: Said) -> None:
        (found,) = problems(POOL_ONLY.replace("[[pool]]", "[pool]"))
        assert found == "4: pool: there may be several: write [[pool]] instead of [pool]"

    def test_a_controller_may_decide_without_a_node(self, problems: Said) -> None:
        priced = POOL_ONLY.replace("enabled = false", "enabled = true")
        assert problems(f"{priced}[market]\nbtc_usd = 9e4\n[power]\nusd_per_kwh = 0.05\n") == []


class TestEveryPool:
    """One pool by itself."""

    @pytest.mark.parametrize(
        ("old", "new", "wrong"),
        [
            ('user = "me.site1"\n', "", "4: pool[1].user: is missing"),
            ("stratum+tcp", "https", "5: pool[1].url: https is no way to speak to a pool"),
            (":3333", "", "5: pool[1].url: "),
            ("user", "usr", "4: pool[1].user: is missing"),
        ],
    )
    def test_what_is_wrong_is_told_with_its_place(
        self, problems: Said, old: str, new: str, wrong: str
    ) -> None:
        assert problems(POOL_ONLY.replace(old, new))[0].startswith(wrong)

    @pytest.mark.parametrize(
        ("line", "wrong"),
        [
            ("fee = 1", "fee: must be below 1, not 1"),
            ('scheme = "fps"', 'scheme: must be "fpps", "pps"'),
            ('payees = ["?"]', 'payees[1]: "?" is no bitcoin address'),
            ("no_work_s = 0", "no_work_s: must be above 0"),
            ("password = 7", "password: must be text in quotes, not this value"),
            ('name = "a\\nb"', "name: must hold printable characters only"),
            ("fees = 0.1", "fees: is unknown: did you mean fee?"),
            ("suspicions = 1", "suspicions: is unknown here: it belongs into [upstreams]"),
        ],
    )
    def test_a_wrong_key_is_told_in_words(self, problems: Said, line: str, wrong: str) -> None:
        (found,) = problems(f"{POOL_ONLY}{line}\n")
        assert found.startswith(f"7: pool[1].{wrong}")

    def test_everything_is_told_at_once(self, problems: Said) -> None:
        text = (
            POOL_ONLY.replace("3333", "0")
            + 'ca_file = "none.pem"\npassword_file = "none"\nfee = 2\n'
            + OTHER
            + "x = 1\n"
        )
        assert [line.split(": ")[:2] for line in problems(text)] == [
            ["5", "pool[1].url"],
            ["7", "pool[1].ca_file"],
            ["8", "pool[1].password_file"],
            ["9", "pool[1].fee"],
            ["13", "pool[2].x"],
        ]

    def test_addresses_as_payees_need_a_node(self, problems: Said) -> None:
        text = f'{POOL_ONLY}payees = ["0014751e76e8199196d454941c45d1b3a323f1433bd6", "{ADDRESS}"]\n'
        (found,) = problems(text)
        assert found.startswith("7: pool[1].payees[2]: only a node knows an address's script")
        assert problems(text + NODE) == []


class TestSeveral:
    """Pools have to be told apart."""

    def test_two_pools_are_fine(self, problems: Said) -> None:
        assert problems(POOL_ONLY + OTHER) == []

    def test_the_same_one_twice_is_a_mistake_unless_the_user_is_another(self, problems: Said) -> None:
        (found,) = problems(POOL_ONLY + POOL)
        assert found.startswith("8: pool[2].url: pool[1] is the same pool with the same user")
        second = POOL.replace("me.site1", "you") + 'name = "yours"\n'
        assert problems(POOL_ONLY + second) == []
        assert keys(problems(POOL_ONLY + POOL.replace("me.site1", "you"))) == ["pool[2].url"]

    def test_each_has_a_name_of_its_own(self, problems: Said) -> None:
        (found,) = problems(f'{POOL_ONLY}name = "a"\n{OTHER}name = "a"\n')
        assert found == '11: pool[2].name: pool[1] is called "a" too: give each its own name'

    def test_none_is_called_solo(self, problems: Said) -> None:
        (found,) = problems(f'{POOL_ONLY}name = "solo"\n')
        assert found.startswith('7: pool[1].name: "solo" is the name of mining on the own node')


class TestPasswords:
    """Where they come from, and who may read them."""

    def loaded(self, file: Path, **environ: str) -> list[str]:
        return [pool.secret for pool in load(file, environ).pool]

    def test_each_pool_may_have_one_in_the_environment(self, config_file: Callable[[str], Path]) -> None:
        file = config_file(POOL_ONLY + OTHER)
        assert self.loaded(file) == ["x", "x"]
        assert self.loaded(file, HASHMILL_POOL_PASSWORD="one", HASHMILL_POOL_PASSWORD_2="two") == [
            "one",
            "two",
        ]
        assert password_variable(0) == "HASHMILL_POOL_PASSWORD"

    def test_what_is_written_goes_first(self, config_file: Callable[[str], Path]) -> None:
        file = config_file(POOL_ONLY + 'password = "123"\n')
        assert self.loaded(file, HASHMILL_POOL_PASSWORD="one") == ["123"]

    def test_it_may_be_in_a_file(self, config_file: Callable[[str], Path], tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("hunter2\n")
        (tmp_path / "secret").chmod(0o600)
        file = config_file(POOL_ONLY + 'password_file = "secret"\n')
        assert self.loaded(file, HASHMILL_POOL_PASSWORD="one") == ["hunter2"]

    def test_a_file_that_others_can_read_is_refused(self, problems: Said, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("hunter2\n")
        (tmp_path / "secret").chmod(0o640)
        (found,) = problems(POOL_ONLY + 'password_file = "secret"\n')
        assert found.startswith("7: pool[1].password_file: others can read")

    def test_one_is_enough(self, problems: Said, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("hunter2\n")
        (tmp_path / "secret").chmod(0o600)
        found = problems(POOL_ONLY + 'password = "x"\npassword_file = "secret"\n')
        assert found == ["7: pool[1].password: there is a password_file too: keep one of them"]

    def test_a_real_one_makes_the_configuration_a_secret(self, problems: Said, tmp_path: Path) -> None:
        (tmp_path / "hashmill.toml").touch(0o644)
        assert problems(POOL_ONLY + 'password = "x"\n') == []
        (found,) = problems(POOL_ONLY + 'password = "hunter2"\n')
        assert found.startswith("7: pool[1].password: others can read")
        assert "hunter2" not in found
        (tmp_path / "hashmill.toml").chmod(0o600)
        assert problems(POOL_ONLY + 'password = "hunter2"\n') == []


class TestAuthorities:
    """A pool may have an authority of its own."""

    def test_it_is_a_certificate(self, problems: Said, tmp_path: Path) -> None:
        text = f'network = "main"\n[controller]\nenabled = false\n{TLS_POOL}ca_file = "ca.pem"\n'
        assert problems(text) == [f"7: pool[1].ca_file: {tmp_path / 'ca.pem'} does not exist"]
        (tmp_path / "ca.pem").write_text("no certificate\n")
        assert problems(text) == [f"7: pool[1].ca_file: {tmp_path / 'ca.pem'} holds no certificates in PEM"]
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]
        made = ["-subj", "/CN=ca", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "ca.pem")]
        subprocess.run([*command, *made], check=True, capture_output=True)
        assert problems(text) == []
        (found,) = problems(text.replace("tls", "tcp"))
        assert found.startswith("7: pool[1].ca_file: verifies nothing without TLS")


class TestBeside:
    """What the rest of the file says of pools."""

    def test_blocks_pay_workers_only_where_everything_mines_solo(
        self, problems: Said, good_text: str
    ) -> None:
        paying = good_text.replace("[market]", 'payout = "worker"\n[market]')
        assert problems(paying) == []
        (found,) = problems(paying + POOL)
        assert found.startswith("7: solo.payout: blocks pay workers only where everything mines solo")

    def test_a_share_is_shared_with_somebody(self, problems: Said, good_text: str) -> None:
        shared = good_text.replace("[market]", "share = 0.5\n[market]")
        assert problems(shared + POOL) == []
        assert keys(problems(shared)) == ["solo.share"]
        assert problems(shared.replace("0.5", "1.0")) == []

    def test_a_pools_answer_comes_from_a_pool(self, problems: Said, good_text: str) -> None:
        waiting = good_text + '[stratum]\nanswers = "pool"\n'
        assert problems(waiting + POOL) == []
        assert problems(waiting)[0].startswith("14: stratum.answers: there is no [[pool]] to wait for")
        assert problems(waiting.replace('"pool"', '"both"'))[0].startswith(
            '14: stratum.answers: must be "own"'
        )

    def test_units_mine_where_there_is_something_to_mine(self, problems: Said, good_text: str) -> None:
        for at in ("any", "solo"):
            assert problems(f'{good_text}[[unit]]\nid = "cpu"\nmines = "{at}"\n') == []
        pinned = '[cpu]\nthreads = 1\n[[unit]]\nid = "cpu"\nmines = "solo"\n'
        assert keys(problems(POOL_ONLY + pinned)) == ["unit[1].mines"]
        assert problems(POOL_ONLY + pinned.replace('"solo"', '"pool"')) == []
        (found,) = problems(f'{good_text}[[unit]]\nid = "cpu"\nmines = "pool"\n')
        assert found == "15: unit[1].mines: there is no [[pool]]: add one, or remove this line"
