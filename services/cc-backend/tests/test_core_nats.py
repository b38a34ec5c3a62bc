"""Job events over NATS: the same decisions as REST, in order, nothing ends the subscription."""

from __future__ import annotations

import asyncio
import json

import pytest
from cc_backend.api import nats
from cc_backend.api.nats import JobEvents
from cc_backend.jobs.service import JobService
from ccdaemon.executors import Pool
from ccdaemon.ledger import Ledger
from ccdaemon.log import make_log

T = 1_760_000_000


def line(function, event, name="job", extra=""):
    text = json.dumps(event) if not isinstance(event, str) else event
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name},function={function}{extra} event="{escaped}" {T}000000000\n'.encode()


STOP = {"jobId": 4711, "cluster": "alpha", "jobState": "completed", "stopTime": T + 900}


@pytest.fixture
async def events(backend):
    log = make_log("test")
    pool = Pool("archive", 1)
    service = JobService(backend.database, backend.core.catalogue, backend.core.archive, pool, log)
    events = JobEvents(service, Ledger("job_events"), log)
    yield events
    await events.stop(1)
    pool.close(1)


async def jobs(backend):
    return [(j["jobId"], j["jobState"]) for j in (await backend.call("GET", "/api/jobs/"))[1]["jobs"]]


async def test_start_and_stop_in_one_message(backend, events, start_body):
    await events.handle("cc.job.event", line("start_job", start_body(), extra=",hostname=x,type=node,type-id=0") + line("stop_job", STOP))
    assert await jobs(backend) == [(4711, "completed")]
    assert (events._ledger.held(), dict(events._ledger.reasons())) == (0, {})


async def test_rest_and_nats_are_silent_duplicates(backend, events, start_body):
    await backend.call("POST", "/api/jobs/start_job/", json=start_body())
    await events.handle("s", line("start_job", start_body()))
    assert await jobs(backend) == [(4711, "running")]
    await events.handle("s", line("stop_job", STOP) + line("stop_job", STOP))
    assert dict(events._ledger.reasons()) == {"duplicate": 2}


async def test_tags_are_attached(backend, events, start_body):
    """Pitfall: they always fail for lack of a user."""
    await events.handle("s", line("start_job", start_body(tags=[{"type": "t", "name": "n", "scope": "admin"}])))
    job = (await backend.call("GET", "/api/jobs/", roles=("admin", "api")))[1]["jobs"][0]
    assert [t["name"] for t in job["tags"]] == ["n"]


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (b"", {}),
        (b"rubbish\n", {"malformed": 1}),
        (b'job,function=start_job event="{}"\n', {"malformed": 1}),  # no time
        (line("start_job", "{"), {"refused": 1}),
        (line("start_job", {}), {"refused": 1}),
        (line("nonsense", {}), {"refused": 1}),
        (line("start_job", {}, name="other"), {"no job event": 1}),
        (f"job,function=start_job event=5 {T}000000000\n".encode(), {"no job event": 1}),
        (line("stop_job", {"stopTime": 5}), {"refused": 1}),
    ],
)
async def test_bad_lines_cost_only_themselves(backend, events, start_body, data, reasons):
    await events.handle("s", data)
    assert dict(events._ledger.reasons()) == reasons
    await events.handle("s", data + line("start_job", start_body()))
    assert await jobs(backend) == [(4711, "running")]


async def test_a_stop_waits_for_its_start(backend, events, start_body, monkeypatch):
    """Pitfall: a stop that is handled before its start is lost."""
    monkeypatch.setattr(nats, "STOP_RETRIES", (0.05, 0.05, 0.05))
    await events.handle("s", line("stop_job", STOP))
    assert events._ledger.held() == 1
    await events.handle("s", line("start_job", start_body()))
    for _ in range(100):
        if await jobs(backend) == [(4711, "completed")]:
            break
        await asyncio.sleep(0.01)
    assert await jobs(backend) == [(4711, "completed")]
    await events.handle("s", line("stop_job", {**STOP, "jobId": 9}))
    await asyncio.gather(*events._waiting)
    assert dict(events._ledger.reasons()) == {"unknown job": 1}
    assert events._ledger.held() == 0
