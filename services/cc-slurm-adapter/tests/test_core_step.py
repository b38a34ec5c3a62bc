"""The pure core: examples of each rule, and random histories under which its invariants must hold."""

from __future__ import annotations

from cc_slurm_adapter.core import (
    CLOSED_FOR,
    LOST_AFTER,
    AskDetails,
    AskJobs,
    Assigned,
    BackendRunning,
    ClusterState,
    Delivered,
    Detailed,
    Device,
    HookSeen,
    JobKey,
    JobView,
    Known,
    Polled,
    Queued,
    Rejected,
    SendStart,
    SendStop,
    Tick,
    Warn,
    step,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def view(job: int = 7, start: int = 100, end: int = 0, state: str = "completed") -> JobView:
    return JobView(job, start, end, state, "alice", "proj", "work", ("n1",))


def run(*events: object, state: ClusterState | None = None, now: float = 1000.0) -> tuple[ClusterState, list[object]]:
    s, out = state or ClusterState("alpha"), []
    for e in events:
        s, actions = step(s, e, now)  # type: ignore[arg-type]
        out += actions
    return s, out


STARTED = (Polled((view(),)), Detailed(JobKey(7, 100), None, {}), Delivered(JobKey(7, 100), "start"))


def test_a_new_job_is_asked_about_then_started() -> None:
    s, out = run(Polled((view(),), 500.0))
    assert out == [AskDetails((view(),))]
    assert s.polled == 500.0
    s, out = run(Detailed(JobKey(7, 100), None, {"jobScript": "x"}), state=s)
    assert out == [SendStart(view(), None, {"jobScript": "x"})]


def test_seen_again_while_it_runs_costs_nothing() -> None:
    assert run(*STARTED, Polled((view(),)))[1][2:] == []


def test_ended_job_is_stopped_once() -> None:
    ended = view(end=160, state="failed")
    _, out = run(*STARTED, Polled((ended,)), Polled((ended,)))
    assert [a for a in out if isinstance(a, SendStop)] == [SendStop(JobKey(7, 100), "failed", 160, "work")]


def test_job_between_two_polls_gets_start_then_stop() -> None:
    _, out = run(Polled((view(end=160),)), Detailed(JobKey(7, 100), None, {}))
    assert [type(a) for a in out] == [AskDetails, SendStart, SendStop]


def test_requeued_job_is_two_attempts() -> None:
    s, out = run(*STARTED, Polled((view(start=300),)))
    assert SendStop(JobKey(7, 100), "cancelled", 300, "work", older=True) in out
    assert AskDetails((view(start=300),)) in out
    assert set(s.jobs) == {JobKey(7, 100), JobKey(7, 300)}


def test_rejected_start_sends_no_stop() -> None:
    _, out = run(Polled((view(),)), Detailed(JobKey(7, 100), None, {}), Rejected(JobKey(7, 100), "start"), Polled((view(end=160),)))
    assert not any(isinstance(a, SendStop) for a in out)


def test_missed_stop_is_asked_for_at_the_second_poll_without_the_job() -> None:
    empty = Queued(frozenset(), {})
    s, out = run(*STARTED, empty)
    assert not any(isinstance(a, AskJobs) for a in out)
    assert run(empty, state=s)[1] == [AskJobs((7,))]
    # PITFALL: a stale mark is cleared when the job is seen running again
    s2, _ = run(Queued(frozenset({7}), {}), state=s)
    assert run(empty, state=s2)[1] == []


def test_gpus_seen_while_running_are_used_after_the_end() -> None:
    seen = Assigned((Device("n1", (0, 1), ("00000000:01:00.0",)),), "none")
    fresh = Assigned((Device("n1", (0, 1)),), "none")
    _, out = run(Queued(frozenset({7}), {7: seen}), Polled((view(end=160),)), Detailed(JobKey(7, 100), fresh, {}))
    start = next(a for a in out if isinstance(a, SendStart))
    assert start.assigned == seen
    _, out = run(Queued(frozenset({7}), {7: seen}), Polled((view(end=160),)), Detailed(JobKey(7, 100), None, {}))
    assert next(a for a in out if isinstance(a, SendStart)).assigned == seen


def test_hook_event_is_tried_until_the_record_is_there() -> None:
    s, _ = run(HookSeen(7, "prolog"))
    s, out = run(Tick(10), Polled(()), Tick(10), state=s)
    assert out == [AskJobs((7,)), AskJobs((7,))]
    s, _ = run(Polled((view(),)), state=s)
    assert not s.hooks


def test_epilog_waits_for_the_end() -> None:
    s, _ = run(*STARTED, HookSeen(7, "epilog"), Polled((view(),)))
    assert s.hooks
    assert not run(Polled((view(end=160),)), state=s)[0].hooks


def test_hook_event_of_an_unknown_job_is_given_up() -> None:
    """P1: one message with an id that Slurm does not know ended the reference's daemon."""
    s, out = run(HookSeen(999, "prolog"), *[Tick(3)] * 4)
    assert not s.hooks
    assert [type(a) for a in out] == [AskJobs] * 3 + [Warn]


def test_job_running_in_the_backend_and_unknown_to_slurm_is_left_alone() -> None:
    s, out = run(BackendRunning(frozenset({JobKey(5, 50)})), Polled(()))
    assert out == [AskJobs((5,))]
    assert s.jobs[JobKey(5, 50)].runs


def test_job_that_ended_while_we_were_off_is_stopped() -> None:
    _, out = run(BackendRunning(frozenset({JobKey(5, 50)})), Polled((view(5, 50, 90),)))
    assert out[-1] == SendStop(JobKey(5, 50), "completed", 90, "work")


def test_job_lost_by_the_backend_is_started_again_but_not_too_early() -> None:
    s, _ = run(*STARTED)
    assert JobKey(7, 100) in run(BackendRunning(frozenset()), state=s, now=1000.0 + LOST_AFTER)[0].jobs
    s, out = run(BackendRunning(frozenset()), state=s, now=1001.0 + LOST_AFTER)
    assert JobKey(7, 100) not in s.jobs
    assert out[-1] == AskJobs((7,))


def test_closed_jobs_are_forgotten_after_the_overlap() -> None:
    s, _ = run(*STARTED, Polled((view(end=160),)), Delivered(JobKey(7, 100), "stop"))
    assert run(Tick(1), state=s, now=1000.0 + CLOSED_FOR)[0].jobs
    assert not run(Tick(1), state=s, now=1001.0 + CLOSED_FOR)[0].jobs


keys = st.tuples(st.integers(1, 3), st.sampled_from([100, 300])).map(lambda t: JobKey(*t))
views = st.builds(lambda k, end: view(k.id, k.start, end and k.start + end), keys, st.sampled_from([0, 0, 50]))
events = st.one_of(
    st.builds(Polled, st.lists(views, max_size=3).map(tuple), st.none() | st.floats(0, 1e6)),
    st.builds(Queued, st.frozensets(st.integers(1, 3)), st.just({})),
    st.builds(Detailed, keys, st.none(), st.just({})),
    st.builds(HookSeen, st.integers(1, 3), st.sampled_from(["prolog", "epilog"])),
    st.builds(Tick, st.integers(1, 4)),
    st.builds(BackendRunning, st.frozensets(keys)),
    st.builds(Delivered, keys, st.sampled_from(["start", "stop"])),
    st.builds(Rejected, keys, st.sampled_from(["start", "stop"])),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(events, st.floats(0, 4000)), max_size=40))
def test_invariants_hold_in_any_history(history: list[tuple[object, float]]) -> None:
    s, now = ClusterState("alpha"), 1000.0
    started: dict[JobKey, int] = {}
    stopped: dict[JobKey, int] = {}
    for event, passed in history:
        now += passed
        before = s
        s, actions = step(s, event, now)  # type: ignore[arg-type]
        for gone in before.jobs.keys() - s.jobs.keys():  # forgotten: may come again as if new
            known: Known = before.jobs[gone]
            assert known.closed or (isinstance(event, BackendRunning) and gone not in event.jobs)
            started.pop(gone, None)
            stopped.pop(gone, None)
        for a in actions:
            if isinstance(a, SendStart):
                started[a.view.key] = started.get(a.view.key, 0) + 1
                assert started[a.view.key] == 1
                assert stopped.get(a.view.key, 0) == 0
            elif isinstance(a, SendStop):
                stopped[a.key] = stopped.get(a.key, 0) + 1
                assert stopped[a.key] == 1
                assert s.jobs[a.key].start in ("due", "done")
        assert s.polled >= before.polled
