import msgspec

from miner.web.status import ControllerStatus, NotReady, Ready, StatusDocument, WorkStatus


def test_a_status_survives_json(status: StatusDocument) -> None:
    assert msgspec.json.decode(msgspec.json.encode(status), type=StatusDocument) == status


def test_the_document_has_every_part_that_dashboards_read(status: StatusDocument) -> None:
    document = msgspec.to_builtins(status)
    assert set(document) == {
        "version",
        "kernel",
        "network",
        "now",
        "uptime_s",
        "nodes",
        "work",
        "units",
        "stratum",
        "pools",
        "blocks",
        "market",
        "controller",
        "alerts",
    }
    assert document["nodes"][1] == {"name": "spare", "up": False, "error": "refused"}
    assert document["units"][0]["last_decision"]["reason"] == "unprofitable"


def test_a_daemon_that_just_started_knows_little_and_says_so() -> None:
    status = StatusDocument(
        version="0.1.0",
        kernel="portable",
        network="main",
        now=1.0,
        uptime_s=0.0,
        nodes=(),
        work=WorkStatus(serving=False),
        controller=ControllerStatus(enabled=False, dry_run=True),
    )
    document = msgspec.to_builtins(status)
    assert document["work"]["height"] is None
    assert document["blocks"]["found"] == 0
    assert document["market"] == {
        "hashprice_usd_per_ph_day": None,
        "btc_usd": None,
        "power_usd_per_kwh": None,
        "ages_s": {},
    }


def test_readiness_is_one_of_two_things() -> None:
    assert Ready() == Ready()
    assert NotReady("no node is up").reason == "no node is up"
