import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.stratum.pool_address import SCHEMES, PoolAddress, parse_pool_url


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("stratum+tcp://pool.example:3333", PoolAddress("pool.example", 3333)),
        ("stratum+tls://pool.example:443", PoolAddress("pool.example", 443, tls=True)),
        ("stratum+ssl://pool.example:443", PoolAddress("pool.example", 443, tls=True)),
        ("stratum://pool.example:3333", PoolAddress("pool.example", 3333)),
        ("tcp://pool.example:3333", PoolAddress("pool.example", 3333)),
        ("  Stratum+TCP://Pool.Example:3333/ ", PoolAddress("pool.example", 3333)),
        ("stratum+tcp://192.0.2.7:3333", PoolAddress("192.0.2.7", 3333)),
        ("stratum+tcp://[2001:DB8::0:7]:3333", PoolAddress("2001:db8::7", 3333)),
        ("stratum+tcp://localhost:1", PoolAddress("localhost", 1)),
        ("stratum+tcp://my_pool.lan:65535", PoolAddress("my_pool.lan", 65535)),
        ("stratum+tcp://münchen.example:3333", PoolAddress("xn--mnchen-3ya.example", 3333)),
        ("stratum+tcp://pool.example.:3333", PoolAddress("pool.example.", 3333)),
    ],
)
def test_the_urls_that_pools_publish_are_read(text: str, address: PoolAddress) -> None:
    assert parse_pool_url(text) == address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no scheme"),
        ("pool.example:3333", "no scheme"),
        ("http://pool.example:3333", "http is no way to speak to a pool"),
        ("stratum2+tcp://pool.example:3333/9auqWEzQ", "Stratum V2 is not spoken"),
        ("stratum+tcp://pool.example", "names no port"),
        ("stratum+tcp://pool.example:", "names no port"),
        ("stratum+tcp://pool.example:0", "is no port"),
        ("stratum+tcp://pool.example:65536", "is no port"),
        ("stratum+tcp://pool.example:http", "is no port"),
        ("stratum+tcp://pool.example:٣٣", "is no port"),
        ("stratum+tcp://:3333", "no host"),
        ("stratum+tcp://pool.example:3333/path", "host and port alone|is no port"),
        ("stratum+tcp://300.1.2.3:3333", "no IPv4 address"),
        ("stratum+tcp://[::g]:3333", "no IPv6 address"),
        ("stratum+tcp://2001:db8::7:3333", "brackets"),
        ("stratum+tcp://-pool.example:3333", "no host name"),
        ("stratum+tcp://pool..example:3333", "no host name"),
        ("stratum+tcp://po ol.example:3333", "no host name"),
        ("stratum+tcp://" + "a." * 130 + "example:3333", "no host name"),
    ],
)
def test_what_is_no_address_of_a_pool_is_refused_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_pool_url(text)


@pytest.mark.parametrize("scheme", ["stratum+tcp://", ""])
def test_a_password_in_the_url_is_refused_and_not_repeated(scheme: str) -> None:
    with pytest.raises(ValueError, match=r"of their own|`password`") as refused:
        parse_pool_url(f"{scheme}user:hunter2@pool.example:3333")
    assert "hunter2" not in str(refused.value)


@given(
    st.from_regex(r"[a-z0-9]{1,9}(\.[a-z][a-z0-9]{0,9}){1,2}", fullmatch=True),
    st.integers(1, 65535),
    st.sampled_from(["tcp", "tls"]),
)
def test_the_url_of_an_address_leads_back_to_it(host: str, port: int, kind: str) -> None:
    address = PoolAddress(host, port, kind == "tls")
    assert parse_pool_url(address.url) == address


@given(st.text())
def test_any_text_gives_an_address_or_a_value_error(text: str) -> None:
    for scheme in ("", *(f"{each}://" for each in SCHEMES)):
        try:
            address = parse_pool_url(scheme + text)
        except ValueError:
            continue
        assert parse_pool_url(address.url) == address


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert PoolAddress("2001:db8::7", 3333).place == "[2001:db8::7]:3333"
