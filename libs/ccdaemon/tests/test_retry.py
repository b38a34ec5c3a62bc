from ccdaemon.retry import Backoff


def test_doubles_to_the_bound_with_scatter():
    slow = Backoff(1, 10, scatter=lambda: 1.0)
    assert [slow.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    slow.reset()
    assert (slow.next(), slow.next(retry_after=30), slow.tries) == (1, 30, 2)
    assert Backoff(1, 10, scatter=lambda: 0.0).next() == 0.5
    assert len({Backoff(1).next() for _ in range(5)}) == 5
