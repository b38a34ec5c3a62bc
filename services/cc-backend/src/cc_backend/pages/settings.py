"""The flat settings map of web-ui 6.3: defaults and the `ui` section, overlaid by what the user stored. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ccschema.clusters import Cluster, SubCluster

from cc_backend.config import Ui, UiLists

LISTS: Final = {
    "metricConfig_jobListMetrics": ("job_list_metrics", ["cpu_load", "flops_any", "mem_bw", "mem_used"]),
    "metricConfig_jobViewPlotMetrics": ("job_view_plot_metrics", ["cpu_load", "flops_any", "mem_bw", "mem_used"]),
    "metricConfig_jobViewTableMetrics": ("job_view_table_metrics", ["flops_any", "mem_bw", "mem_used"]),
}
ACCELERATED: Final = ("cpu_load", "acc_utilization", "acc_mem_used", "acc_power", "flops_any", "mem_bw", "mem_used")
"""Job list metrics of subclusters with accelerators, where neither site nor user chose any."""
JOB_LIST: Final = "metricConfig_jobListMetrics"


def site_settings(ui: Ui, clusters: Sequence[Cluster], short_job: int) -> dict[str, object]:
    """What every user starts with. short_job: seconds."""
    flat: dict[str, object] = {
        "jobList_usePaging": ui.job_list.use_paging,
        "jobList_showFootprint": ui.job_list.show_footprint,
        "nodeList_usePaging": ui.node_list.use_paging,
        "jobView_showPolarPlot": ui.job_view.show_polar_plot,
        "jobView_showFootprint": ui.job_view.show_footprint,
        "jobView_showRoofline": ui.job_view.show_roofline,
        "jobView_showStatTable": ui.job_view.show_stat_table,
        "plotConfiguration_colorBackground": ui.plot_configuration.color_background,
        "plotConfiguration_plotsPerRow": ui.plot_configuration.plots_per_row,
        "plotConfiguration_lineWidth": ui.plot_configuration.line_width,
        "jobList_hideShortRunningJobs": short_job,
    }
    if ui.plot_configuration.color_scheme:  # absent: the palette of the design, which knows the theme
        flat["plotConfiguration_colorScheme"] = ui.plot_configuration.color_scheme
    flat |= dict(_lists(ui, clusters))
    return flat


def _lists(ui: Ui, clusters: Sequence[Cluster]) -> Iterator[tuple[str, list[str]]]:
    chosen: list[tuple[str, UiLists]] = [("", ui.metric_config)]
    for cluster in ui.metric_config.clusters:
        chosen.append((f":{cluster.name}", cluster))
        chosen += [(f":{cluster.name}:{sub.name}", sub) for sub in cluster.sub_clusters]
    for key, (attribute, default) in LISTS.items():
        for place, lists in chosen:
            names = getattr(lists, attribute)
            if names is not None or place == "":
                yield f"{key}{place}", list(default if names is None else names)
    if all(lists.job_list_metrics is None for _, lists in chosen):
        for cluster_config in clusters:
            for sub in cluster_config.sub_clusters:
                if names := accelerated(sub):
                    yield f"{JOB_LIST}:{cluster_config.name}:{sub.name}", names


def accelerated(sub: SubCluster) -> list[str]:
    """Job list metrics of a subcluster with accelerators; empty without any."""
    held = {metric.name for metric in sub.metric_config}
    return [name for name in ACCELERATED if name in held] if sub.topology.accelerators else []


def merged(site: Mapping[str, object], stored: Mapping[str, object]) -> dict[str, object]:
    """The user's rows over the site's. Who chose a list for all clusters does not get ours for accelerators; the short-job limit is the site's."""
    over = dict(site)
    for key in LISTS:
        if key in stored:
            for place in [place for place in over if place.startswith(f"{key}:") and place not in stored]:
                del over[place]
    return over | {key: value for key, value in stored.items() if key != "jobList_hideShortRunningJobs"}
