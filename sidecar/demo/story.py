"""Tells what happens, as it happens: phases of the load, a line a second, what health decides, what the GPU does.

In:      phases, answers, changes of state as the daemon's log has them, finished requests, events of the
         primary's GPU; `second` once a second.
Out:     lines by `say`; whole even when read through a pipe.
Units:   seconds since the load began, in the first column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from time import monotonic

from sidecar.demo.app import Answer
from sidecar.demo.config import FALLBACK, FIRST_PACKET, PRIMARY
from sidecar.demo.gpu import Died, Event, Gpu, Loading, Serving, Token
from sidecar.demo.schedule import LoadPhase
from sidecar.demo.tally import Tally
from sidecar.record import RequestRecord

Paint = Callable[[str, str], str]  # text, one of good bad warn dim head -> text

COLUMNS = (
    f"   time  load     ok  failed  {PRIMARY:>11}  {FALLBACK:>6}  first packet p50 / p99"
    f"  {PRIMARY}: in flight  memory  state"
)
REASONS = {
    "consecutive_failures": "too many failures in a row",
    "failure_percentage": "too many failures",
    "probation_failed": "it failed its probation",
    "probation_passed": "it passed its probation",
    "first_packet_timeout": f"no first packet within {FIRST_PACKET * 1000:.0f} ms",
    "unhealthy": "not in rotation",
    "overloaded": "at its adaptive limit",
    "connect_failure": "connection refused",
    "503": "status 503",
}


class Story:
    """One run of the demo. `begin` starts its clock; what is told before that is not part of it."""

    def __init__(
        self, say: Callable[[str], None], paint: Paint, clock: Callable[[], float] = monotonic
    ) -> None:
        self._say = say
        self._paint = paint
        self._clock = clock
        self._began: float | None = None
        self._phase = ""
        self._state = "in rotation"
        self._now = Tally()  # of this second
        self._turn = ""  # the line that is told once one service alone has answered for a whole second
        self._all = Tally()
        self._fallbacks: Counter[str] = Counter()
        self._told_reasons: set[str] = set()  # in this phase
        self._ejections = 0
        self._deaths = 0

    def begin(self) -> None:
        self._began = self._clock()

    # What happens.

    def phase(self, phase: LoadPhase) -> None:
        self._phase = phase.name
        self._told_reasons.clear()
        self._tell(f"{phase.name.upper()}: {phase.rate:.1f} requests a second{_because(phase.why)}", "head")
        self._say(self._paint(COLUMNS, "dim"))

    def answered(self, answer: Answer) -> None:
        self._now.add(answer)
        self._all.add(answer)

    def request_finished(self, record: RequestRecord) -> None:
        """Of the load or of whoever tries the addresses: what was answered elsewhere, and why."""
        last = record.attempts[-1] if record.attempts else None
        if self._began is None or last is None or last.fallback_from is None or record.failure is not None:
            return
        reason = last.reason or "unknown"
        self._fallbacks[reason] += 1
        if reason not in self._told_reasons:
            self._told_reasons.add(reason)
            self._tell(
                f"fallback: {last.service} answered for {last.fallback_from}: {_words(reason)}", "warn"
            )

    def change(self, fields: Mapping[str, object]) -> None:
        """A change of state, named and with the fields of the daemon's log."""
        if self._began is None:
            return
        service = fields.get("service")
        match fields["event"]:
            case "endpoint_ejected":
                self._ejected(fields)
            case "endpoint_probation":
                self._note(service, "on probation")
                self._tell(f"probation: {service} gets {fields['requests']} request to prove itself", "warn")
            case "endpoint_returned":
                self._note(service, "growing share")
                self._tell(
                    f"RETURNED: {service}: {_words(str(fields['reason']))}; its share grows again", "good"
                )
            case "service_unavailable":
                self._await_turn(service, FALLBACK)
                self._tell(f"{service} has nobody in rotation: requests do not wait for it any more", "warn")
            case "service_recovered":
                self._await_turn(service, PRIMARY)
                self._tell(f"{service} is available again", "good")
            case "policy_applied":
                self._tell(f"policy generation {fields['generation']} is in force", "good")
            case "policy_rejected":
                self._tell("a policy was rejected; the one before goes on", "bad")

    def gpu(self, event: Event) -> None:
        """What the primary's GPU does."""
        match event:
            case Died():
                self._deaths += 1
                self._tell(
                    f"DEAD: {PRIMARY} is out of memory; {len(event.lost)} requests lost with it", "bad"
                )
            case Loading():
                self._tell(f"{PRIMARY} listens again and loads its weights: 503 until then", "warn")
            case Serving():
                self._tell(f"{PRIMARY} can serve again", "good")
            case Token():
                pass

    def second(self, gpu: Gpu) -> None:
        """The line of the second that ends now."""
        tally, self._now = self._now, Tally()
        failed = f"{tally.failed:6}"
        times = f"{_time(tally.quantile(0.5)):>8} / {_time(tally.quantile(0.99)):<9}"
        self._say(
            f"{self._elapsed():6.0f}s  {self._phase:6} {tally.whole:4}  "
            f"{self._paint(failed, 'bad') if tally.failed else failed}  "
            f"{_share(tally.share(PRIMARY)):>11}  {_share(tally.share(FALLBACK)):>6}  {times:22}"
            f"  {gpu.in_flight:>{len(PRIMARY) + 11}}  {gpu.memory:6.0%}  {self._state_of(gpu)}"
        )
        for problem, count in tally.problems.items():
            self._tell(f"FAILED: {_times(count)}: {problem}", "bad")
        if self._turn and tally.share(self._turn) == 1.0:
            if self._turn == FALLBACK:
                self._tell(f"FALLBACK: {FALLBACK} answers everything, {PRIMARY} gets its rest", "good")
            else:
                self._note(PRIMARY, "in rotation")
                self._tell(f"RECOVERED: {PRIMARY} answers everything again", "good")
            self._turn = ""

    def summary(self, gpu: Gpu) -> None:
        """The last lines."""
        tally = self._all
        shares = ", ".join(f"{name} {count}" for name, count in tally.by_service.most_common())
        reasons = ", ".join(f"{_words(reason)} {count}" for reason, count in self._fallbacks.most_common())
        failed = f"{tally.failed} failed"
        self._say("")
        self._say(self._paint(f"Summary of {self._elapsed():.0f} s", "head"))
        self._say(
            f"  requests      {tally.whole + tally.failed}: {tally.whole} answered whole, "
            f"{self._paint(failed, 'bad' if tally.failed else 'good')}"
        )
        self._say(f"  answered by   {shares or 'nobody'}")
        self._say(f"  first packet  p50 {_time(tally.quantile(0.5))}, p99 {_time(tally.quantile(0.99))}")
        self._say(f"  fallbacks     {self._fallbacks.total()}{_because(reasons)}")
        self._say(
            f"  {PRIMARY}   ejected {_times(self._ejections)}, died {_times(self._deaths)}; at most "
            f"{gpu.most_in_flight} requests in flight ({gpu.spec.limit} kill it)"
        )

    # How it is told.

    def _ejected(self, fields: Mapping[str, object]) -> None:
        self._ejections += 1
        until = fields["until"]
        end = "until it is restored"
        if until is not None:
            length = datetime.fromisoformat(str(until)) - datetime.fromisoformat(str(fields["time"]))
            clock = datetime.fromisoformat(str(until)).astimezone().strftime("%H:%M:%S")
            end = f"for {length.total_seconds():.1f} s, until {clock}"
        self._note(fields["service"], "ejected")
        self._tell(
            f"EJECTED: {fields['service']} ({fields['endpoint']}) {end}: {_words(str(fields['reason']))}; "
            f"{fields['failure_percentage']:g} % of {fields['requests']} requests failed, "
            f"k={fields['ejection_multiplier']}",
            "bad",
        )

    def _note(self, service: object, state: str) -> None:
        if service == PRIMARY:
            self._state = state

    def _await_turn(self, service: object, turn: str) -> None:
        if service == PRIMARY:
            self._turn = turn

    def _state_of(self, gpu: Gpu) -> str:
        style = "good" if self._state == "in rotation" else "bad" if self._state == "ejected" else "warn"
        dead = "" if gpu.phase.value == "serving" else f", {gpu.phase.value}"
        return self._paint(f"{self._state}{dead}", style)

    def _tell(self, what: str, style: str) -> None:
        if self._began is not None:
            self._say(f"{self._elapsed():6.1f}s  {self._paint(what, style)}")

    def _elapsed(self) -> float:
        assert self._began is not None, "the story has not begun"
        return self._clock() - self._began


def _words(reason: str) -> str:
    return REASONS.get(reason, reason)


def _because(why: str) -> str:
    return f": {why}" if why else ""


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def _times(count: int) -> str:
    return "never" if count == 0 else "once" if count == 1 else f"{count} times"
