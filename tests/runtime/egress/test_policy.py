"""What may be reached. Addresses of every special-purpose registry stand here once more, each with its reason."""

import pytest

from runtime.egress.hosts import Address, NotAHost, read_address, read_target
from runtime.egress.policy import Policy, Rule, classify, read_exceptions, read_lists, read_pattern, read_policy

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "169.253.255.255",
    "192.0.1.0",
    "192.31.196.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001:82f::200e",
    "64:ff9b::8.8.8.8",
    "::ffff:8.8.8.8",
]
REFUSED = {
    Rule.LOOPBACK: [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "64:ff9b::127.0.0.1",
    ],
    Rule.PRIVATE: [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "fc00::1",
        "fd12:3456::1",
        "fec0::1",
        "::ffff:10.0.0.1",
        "64:ff9b::c0a8:101",
    ],
    Rule.LINK_LOCAL: ["169.254.0.1", "fe80::1", "::ffff:169.254.1.1"],
    Rule.METADATA: [
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
    ],
    Rule.MULTICAST: ["224.0.0.1", "239.255.255.250", "ff02::1", "ff05::2"],
    Rule.RESERVED: [
        "192.0.0.8",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::",
        "3fff::1",
        "3ffe::1",
        "5f00::1",
        "4000::1",
    ],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_reached(address: str) -> None:
    assert classify(read_address(address)) is None


@pytest.mark.parametrize(("rule", "address"), [(rule, one) for rule, found in REFUSED.items() for one in found])
def test_what_is_not_public_is_refused_with_its_reason(rule: Rule, address: str) -> None:
    assert classify(read_address(address)) is rule


def judge(policy: Policy, where: str, *addresses: str, resolved: tuple[Address, ...] = ()) -> Rule | None:
    target = read_target(where, 443)
    if (refusal := policy.judge_name(target)) is not None:
        return refusal.rule
    found = [read_address(one) for one in addresses] or ([target.host.address] if target.host.address else [])
    refusal = policy.judge(target, found)
    return refusal.rule if refusal else None


def test_one_address_that_is_not_public_spoils_a_name() -> None:
    assert judge(Policy(), "a.example", "8.8.8.8") is None
    assert judge(Policy(), "a.example", "8.8.8.8", "10.0.0.1") is Rule.PRIVATE


@pytest.mark.parametrize(
    "where", ["localhost", "x.localhost:8080", "LOCALHOST.:80", "2130706433", "[::ffff:7f00:1]:80"]
)
def test_this_machine_is_refused_before_anything_is_resolved(where: str) -> None:
    refusal = Policy().judge_name(read_target(where, 80))
    assert refusal is not None
    assert refusal.rule is Rule.LOOPBACK


def test_the_owner_closes_public_hosts_but_for_what_is_opened() -> None:
    policy = read_policy(["93.184.216.34:8443"], ["93.184.216.0/24", "*.own.example"])
    assert judge(policy, "93.184.216.35") is Rule.CLOSED
    assert judge(policy, "a.example", "93.184.216.34") is Rule.CLOSED
    assert judge(policy, "db.own.example", "8.8.8.8") is Rule.CLOSED
    assert judge(policy, "93.184.216.34:8443") is None
    assert judge(policy, "a.example", "8.8.8.8") is None
    refusal = policy.judge_name(read_target("db.own.example", 443))
    assert refusal is not None
    assert "STAGEDOOR_RUNTIME_DENIED_HOSTS" in refusal.hint


def test_the_owner_opens_private_hosts_by_exactly_their_name() -> None:
    policy = Policy(read_exceptions(["127.0.0.1:8100", "intranet.example"]))
    assert judge(policy, "127.0.0.1:8100") is None
    assert judge(policy, "2130706433:8100") is None, "the same address"
    assert judge(policy, "127.0.0.1:8101") is Rule.LOOPBACK
    assert judge(policy, "localhost:8100") is Rule.LOOPBACK
    assert judge(policy, "other.example:8100", "127.0.0.1") is Rule.LOOPBACK
    assert judge(policy, "intranet.example:99", "10.0.0.1") is None
    assert judge(policy, "sub.intranet.example", "10.0.0.1") is Rule.PRIVATE
    assert judge(policy, "a.example", "8.8.8.8") is None, "an exception narrows nothing"


@pytest.mark.parametrize("entry", ["*.example", "10.0.0.0/8", "", "*", "http://a", "a:0", "a b"])
def test_exceptions_that_are_too_wide_or_none(entry: str) -> None:
    with pytest.raises(NotAHost):
        read_exceptions([entry])


def test_denied_goes_before_allowed() -> None:
    policy = Policy().narrow(read_lists(["*.example.org", "example.org"], ["bad.example.org", "example.org:8443"]))
    assert judge(policy, "www.example.org", "8.8.8.8") is None
    assert judge(policy, "example.org", "8.8.8.8") is None
    assert judge(policy, "example.org:8443", "8.8.8.8") is Rule.DENIED
    assert judge(policy, "bad.example.org", "8.8.8.8") is Rule.DENIED
    assert judge(policy, "notexample.org", "8.8.8.8") is Rule.NOT_ALLOWED
    assert judge(policy, "example.org.evil.test", "8.8.8.8") is Rule.NOT_ALLOWED


def test_a_tenant_can_open_nothing_private() -> None:
    policy = Policy().narrow(read_lists(["127.0.0.1", "intranet.example", "10.0.0.0/8"]))
    assert judge(policy, "127.0.0.1:80") is Rule.LOOPBACK
    assert judge(policy, "intranet.example", "10.0.0.1") is Rule.PRIVATE


def test_lists_count_for_what_the_owner_has_opened_too() -> None:
    excepted = Policy(read_exceptions(["shop.test"]))
    assert judge(excepted.narrow(read_lists(deny=["shop.test"])), "shop.test", "127.0.0.1") is Rule.DENIED
    assert judge(excepted.narrow(read_lists(["a.example"])), "shop.test", "127.0.0.1") is Rule.NOT_ALLOWED


def test_each_pair_of_lists_narrows() -> None:
    policy = Policy().narrow(read_lists(["*.example"])).narrow(read_lists(["a.example", "b.test"]))
    assert judge(policy, "a.example", "8.8.8.8") is None
    assert judge(policy, "b.test", "8.8.8.8") is Rule.NOT_ALLOWED
    assert judge(policy, "c.example", "8.8.8.8") is Rule.NOT_ALLOWED


def test_networks_are_matched_by_what_a_name_resolves_to() -> None:
    denying = Policy().narrow(read_lists(deny=["8.8.8.0/24", "2606:4700::/32"]))
    assert judge(denying, "dns.example", "8.8.8.8") is Rule.DENIED
    assert judge(denying, "dns.example", "1.1.1.1", "2606:4700::1") is Rule.DENIED
    assert judge(denying, "[::ffff:8.8.8.8]:53") is Rule.DENIED
    assert judge(denying, "dns.example", "1.1.1.1") is None
    allowing = Policy().narrow(read_lists(["8.8.8.0/24"]))
    assert judge(allowing, "dns.example", "8.8.8.8") is None
    assert judge(allowing, "8.8.8.9") is None
    assert judge(allowing, "dns.example", "8.8.8.8", "1.1.1.1") is Rule.NOT_ALLOWED


def test_what_is_denied_by_name_is_not_even_resolved() -> None:
    policy = Policy().narrow(read_lists(deny=["*.bad.example"]))
    refusal = policy.judge_name(read_target("x.bad.example", 443))
    assert refusal is not None
    assert refusal.message == "x.bad.example:443 may not be reached: a list of denied hosts names it."
    assert "/api/admin/egress" in refusal.hint


@pytest.mark.parametrize(
    "entry", ["", "*", "*.", "*.1.2.3.4", "a/b", "10.0.0.1/8", "10.0.0.0/33", "a:b", "ftp://x", "a,b"]
)
def test_entries_that_are_none(entry: str) -> None:
    with pytest.raises(NotAHost, match="is no entry: write host"):
        read_pattern(entry)


def test_an_entry_may_be_written_as_people_write_hosts() -> None:
    assert read_pattern(" Bücher.Example. ").name == "xn--bcher-kva.example"
    assert read_pattern("busineß.com").name == "xn--busine-gta.com"
    assert read_pattern("*.EXAMPLE.org:8443").port == 8443
    assert read_pattern("[2001:db8::7]:443").name == "2001:db8::7"


def test_every_rule_has_words_and_a_way_out() -> None:
    from runtime.egress.policy import Refusal  # noqa: PLC0415

    for rule in Rule:
        refusal = Refusal("h.example", 1, rule)
        assert refusal.message.startswith("h.example:1 may not be reached: ")
        assert refusal.hint.endswith(".")
