"""What may go wrong in the backend, without a word about HTTP. Whose fault it is comes from `ccdaemon.errors`.

    InputError
    ├── NotFound     the thing is not there, or not visible to the caller: the two look alike
    ├── Conflict     the request is well formed, but the state of things refuses it
    │   ├── Duplicate        the job is known already (for adapters as good as accepted)
    │   └── AlreadyStopped   the job has ended
    └── Denied       (cc_backend.access) the caller may not do this

`api.answers` is the one table from these to status codes; GraphQL and commands have theirs.
"""

from __future__ import annotations

from ccdaemon.errors import InputError


class NotFound(InputError):
    """There is no such thing, or it is none of the caller's business."""


class Conflict(InputError):
    """The state of things refuses the request."""


class Duplicate(Conflict):
    """A job with this id, cluster and a start time close by exists (row `db_id`)."""

    def __init__(self, db_id: int, job_id: int) -> None:
        super().__init__(f"a job with that jobId, cluster and startTime already exists: dbid: {db_id}, jobid: {job_id}")
        self.db_id = db_id


class AlreadyStopped(Conflict):
    """A stop for a job that is not running any more."""

    def __init__(self, db_id: int, state: str) -> None:
        super().__init__(f"job has already been stopped (state is: {state})")
        self.db_id = db_id
        self.state = state
