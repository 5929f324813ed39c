"""Rate limits: whom they tell apart, and that a request is let in by all of them or takes nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.snapshot import RateLimit
from sidecar.quota.quota import MOST, OLDEST, ROOM, Quota, Taken, Wait, Who

TEN = RateLimit(requests=10, per=10.0)


def who(model: str | None = "m", uid: str = "1", **fields: str) -> Who:
    known = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    return Who(model, known.get, lambda: uid)


def let_in(quota: Quota, asks: Who, count: int, now: float = 0.0, tokens: int = 1) -> int:
    return sum(isinstance(quota.ask(asks, tokens, now), Taken) for _ in range(count))


def test_a_limit_without_by_is_for_all() -> None:
    quota = Quota((TEN,))
    assert let_in(quota, who("a"), 6) == 6
    assert let_in(quota, who("b"), 6) == 4


def test_each_word_of_by_tells_consumers_apart() -> None:
    """By model, by key as the app sent it, by a header, by the user of the socket."""
    for by, one, other in (
        ("model", who("a"), who("b")),
        ("api_key", who(authorization="Bearer x"), who(authorization="Bearer y")),
        ("api_key", who(x_api_key="x"), who(api_key="y")),
        ("header:x-team", who(x_team="red"), who(x_team="blue")),
        ("uid", who(uid="1000"), who(uid="tcp")),
    ):
        quota = Quota((RateLimit(requests=3, by=(by,)),))
        assert (let_in(quota, one, 5), let_in(quota, other, 5)) == (3, 3), by
        assert let_in(quota, one, 5) == 0


def test_several_words_are_a_combination() -> None:
    quota = Quota((RateLimit(requests=2, by=("model", "uid")),))
    assert let_in(quota, who("a", "1"), 5) == 2
    assert let_in(quota, who("a", "2"), 5) == 2
    assert let_in(quota, who("b", "1"), 5) == 2


def test_two_values_cannot_be_mistaken_for_one() -> None:
    """`ab` and `c` are not `a` and `bc`."""
    quota = Quota((RateLimit(requests=1, by=("header:x-one", "header:x-two")),))
    assert let_in(quota, who(x_one="ab", x_two="c"), 1) == 1
    assert let_in(quota, who(x_one="a", x_two="bc"), 1) == 1


def test_a_request_that_one_limit_refuses_takes_nothing_of_the_others() -> None:
    """Or a flood of refused requests would use up what others could have had."""
    quota = Quota((RateLimit(requests=100, per=100.0), RateLimit(requests=1, per=100.0, by=("model",))))
    assert let_in(quota, who("a"), 1) == 1
    assert let_in(quota, who("a"), 50) == 0
    refused = quota.ask(who("a"), 1, 0.0)
    assert isinstance(refused, Wait)
    assert refused.seconds == 100.0
    taken = quota.ask(who("b"), 1, 0.0)
    assert isinstance(taken, Taken)
    assert taken.requests is not None
    assert taken.requests.remaining == 0.0  # the tightest: that of model b
    assert let_in(quota, who("c"), 1) == 1


def test_tokens_are_settled_when_they_are_known() -> None:
    """A short prompt with a long answer is paid for by those who come later."""
    quota = Quota((RateLimit(tokens=100, per=100.0),))
    first = quota.ask(who(), 10, 0.0)
    assert isinstance(first, Taken)
    first.settle(160, 1.0)
    first.settle(160, 1.0)
    refused = quota.ask(who(), 10, 1.0)
    assert isinstance(refused, Wait)
    assert round(refused.seconds) == 69  # 59 below zero, and 10 are wanted
    assert isinstance(quota.ask(who(), 10, 1.0 + refused.seconds), Taken)


def test_a_request_that_used_nothing_gets_everything_back() -> None:
    quota = Quota((RateLimit(tokens=100, per=100.0),))
    taken = quota.ask(who(), 100, 0.0)
    assert isinstance(taken, Taken)
    assert isinstance(quota.ask(who(), 100, 0.0), Wait)
    taken.settle(0, 0.0)
    assert isinstance(quota.ask(who(), 100, 0.0), Taken)


def test_the_app_is_told_of_the_tightest_bucket() -> None:
    quota = Quota((RateLimit(requests=10, per=10.0), RateLimit(requests=4, tokens=50, per=10.0)))
    taken = quota.ask(who(), 20, 0.0)
    assert isinstance(taken, Taken)
    assert taken.requests == (4, 3, 2.5)
    assert taken.tokens == (50, 30, 4.0)


def test_consumers_are_bounded_and_those_who_used_nothing_are_forgotten_first() -> None:
    """An app may send any header; what somebody has used up must not be forgiven by it."""
    quota = Quota((RateLimit(requests=2, per=1.0, by=("header:x-team",)),))
    for number in range(MOST):
        assert let_in(quota, who(x_team=f"old{number}"), 1, now=0.0) == 1
    assert let_in(quota, who(x_team="busy"), 3, now=10.0) == 2
    for number in range(MOST - 1):
        assert let_in(quota, who(x_team=f"new{number}"), 1, now=10.0) == 1
    assert let_in(quota, who(x_team="busy"), 1, now=10.0) == 0


def test_consumers_without_end_do_not_make_every_request_look_through_all_of_them() -> None:
    """Whoever invents a header value a request has used a little of each, so that nobody can be forgotten for free."""
    quota = Quota((RateLimit(requests=2, per=86400.0, by=("header:x-team",)),))
    for number in range(MOST):
        let_in(quota, who(x_team=f"team{number}"), 1)
    (limit,) = quota._limits
    let_in(quota, who(x_team="one more"), 1)
    assert len(limit.consumers) == MOST - ROOM + 1
    assert let_in(quota, who(x_team=f"team{MOST - 1}"), 2) == 1  # who asked lately has not been forgiven


def test_room_is_made_in_steps_also_where_all_could_be_forgotten() -> None:
    """To look through ten thousand takes ten milliseconds, in which nothing else is done."""
    quota = Quota((RateLimit(requests=2, per=1.0, by=("header:x-team",)),))
    for number in range(MOST):
        let_in(quota, who(x_team=f"old{number}"), 1, now=0.0)
    (limit,) = quota._limits
    let_in(quota, who(x_team="one more"), 1, now=10.0)
    assert len(limit.consumers) == MOST - OLDEST + 1


def test_a_limit_that_stays_keeps_its_count_whatever_comes_beside_it() -> None:
    """An operator who adds a limit does not want to forgive what was used."""
    old = Quota((TEN,))
    assert let_in(old, who(), 8) == 8
    new = Quota((RateLimit(tokens=1000, by=("model",)), TEN))
    new.take_over(old)
    assert let_in(new, who(), 8) == 2
    other = Quota((RateLimit(requests=20, per=10.0),))
    other.take_over(new)
    assert let_in(other, who(), 30) == 20


def test_no_key_is_kept_in_readable_form() -> None:
    """What is not kept cannot leak."""
    quota = Quota((RateLimit(requests=2, by=("api_key",)),))
    let_in(quota, who(authorization="Bearer sk-canary"), 1)
    (limit,) = quota._limits
    assert all(b"canary" not in name and len(name) == 16 for name in limit.consumers)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 3.0), st.integers(1, 30)), max_size=60))
def test_no_limit_is_ever_exceeded_by_what_is_let_in(asks: list[tuple[str, float, int]]) -> None:
    """By estimates; what is settled later is another matter."""
    quota, now = Quota((TEN, RateLimit(tokens=40, per=10.0, by=("model",)))), 0.0
    requests, tokens = 0, dict.fromkeys("abc", 0)
    for model, passed, amount in asks:
        now += passed
        if isinstance(quota.ask(who(model), amount, now), Taken):
            requests += 1
            tokens[model] += amount
        assert requests <= 10 + now + 1e-6
        assert all(used <= 40 + 4 * now + 1e-6 for used in tokens.values())
