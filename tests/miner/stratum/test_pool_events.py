"""What client and shell say to each other: nothing secret in it, and names that dashboards may rely on."""

from miner.stratum.pool_events import Failed, Failure, PoolLogin


def test_a_password_is_in_no_log() -> None:
    login = PoolLogin("account", "hunter2", "hashmill/1", 0)
    assert "hunter2" not in repr(login)
    assert "account" in repr(login)


def test_the_kinds_of_failure_keep_their_names() -> None:
    assert {kind.value for kind in Failure} == {
        "dns", "refused", "unreachable", "timeout", "tls", "login", "no_work", "garbage", "unanswered", "lost", "bad_work",
        "redirect_refused",
    }  # fmt: skip
    assert Failed(Failure.TLS, "expired").kind == "tls"
