"""What a row of a job list is sent."""


async def test_a_row_with_many_lines_is_its_band(graphql):
    _, answer = await graphql.ask(
        """{jobsMetrics(ids:[1], metrics:["flops_any","power"], scopes:[hwthread], points: 30){metrics{name scope metric{timestep
        series{id statistics{avg} data} statisticsSeries{min median mean max}}}}}"""
    )
    assert "errors" not in answer
    threads, sockets = (m["metric"] for m in answer["data"]["jobsMetrics"][0]["metrics"])
    assert [(one["id"], one["statistics"]["avg"], one["data"]) for one in threads["series"]] == [(str(t), t, []) for t in range(8)]
    band = threads["statisticsSeries"]
    assert (threads["timestep"], band["mean"], len(band["min"])) == (20, [], 30)
    assert [band[row][7] for row in ("min", "median", "max")] == [0, 3.5, 7]
    assert sockets["statisticsSeries"] is None and [len(one["data"]) for one in sockets["series"]] == [30, 30]  # two lines stay lines
