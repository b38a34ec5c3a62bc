"""`jobsStatistics` over a real socket: sums by role, groups, order, pages (graphql 7.5 and checks 7 and 8)."""

from __future__ import annotations

import pytest

ALL = "totalJobs totalUsers runningJobs shortJobs totalWalltime totalNodes totalNodeHours totalCores totalAccs"


async def statistics(graphql, arguments="", fields="id totalJobs", user="root"):
    status, answer = await graphql.ask("{jobsStatistics" + (f"({arguments})" if arguments else "") + "{" + fields + "}}", user)
    assert status == 200 and "errors" not in answer, answer
    return answer["data"]["jobsStatistics"]


async def test_everything_without_groups(graphql):
    """PITFALL: nodes, cores and accelerators were always 0 here."""
    assert await statistics(graphql, fields="id name " + ALL) == [
        {
            "id": "", "name": "", "totalJobs": 6, "totalUsers": 2, "runningJobs": 5, "shortJobs": 0, "totalWalltime": 1, "totalNodes": 15,
            "totalNodeHours": 2, "totalCores": 112, "totalAccs": 1,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(("user", "count"), [("anna", 4), ("ben", 2), ("mona", 5), ("sue", 6), ("root", 6), ("bot", 6)])
async def test_sums_are_of_visible_jobs(graphql, user, count):
    (one,) = await statistics(graphql, user=user)
    assert one["totalJobs"] == count
    groups = await statistics(graphql, "groupBy: USER", user=user)
    assert sum(group["totalJobs"] for group in groups) == count


async def test_nobody_gets_nothing(graphql):
    status, answer = await graphql.ask("{jobsStatistics{totalJobs}}", "nobody")
    assert (status, answer["data"], answer["errors"][0]["message"]) == (200, None, "user has no or unknown roles")


async def test_groups_order_and_pages(graphql):
    assert await statistics(graphql, "groupBy: USER, sortBy: TOTALJOBS", "id name totalJobs") == [
        {"id": "anna", "name": "Anna", "totalJobs": 4},
        {"id": "ben", "name": "Ben", "totalJobs": 2},
    ]
    page = "groupBy: USER, sortBy: TOTALACCS, page: {itemsPerPage: %d, page: %d}"
    assert [one["id"] for one in await statistics(graphql, page % (1, 1))] == ["ben"]
    assert [one["id"] for one in await statistics(graphql, page % (1, 2))] == ["anna"]
    assert await statistics(graphql, page % (1, 99)) == await statistics(graphql, page % (0, 1)) == []
    assert len(await statistics(graphql, page % (-1, 1))) == 2
    status, answer = await graphql.ask("{jobsStatistics(groupBy: USER, page: {itemsPerPage: -2, page: 1}){id}}")
    assert answer["data"] is None and "items-per-page" in answer["errors"][0]["message"]
    for group, ids in (("PROJECT", ["p1", "p2"]), ("CLUSTER", ["alpha"]), ("SUBCLUSTER", ["gpu", "main"])):
        assert [one["id"] for one in await statistics(graphql, f"groupBy: {group}")] == ids


async def test_only_short_jobs_selected_still_gives_groups(graphql):
    """PITFALL: the answer was one element of zeros."""
    assert len(await statistics(graphql, "groupBy: USER", "id shortJobs runningJobs")) == 2


async def test_a_job_with_two_of_the_tags_counts_once(graphql):
    """PITFALL: a join counted it twice."""
    (one,) = await statistics(graphql, "filter: [{tags: [1, 2]}]")
    assert one["totalJobs"] == 1


async def test_no_matching_job_is_all_zeros(graphql):
    (one,) = await statistics(graphql, 'filter: [{user: {eq: "nobody"}}]', ALL)
    assert set(one.values()) == {0}


async def test_filters_of_restricted_metrics_are_refused(graphql):
    _, answer = await graphql.ask(
        '{jobsStatistics(filter: [{metricStats: [{metricName: "secret_max", range: {from: 1, to: 0}}]}]){totalJobs}}', "anna"
    )
    assert "not open to you" in answer["errors"][0]["message"]
