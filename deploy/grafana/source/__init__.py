"""Grafana's dashboards as typed values; `make docs` writes their JSON, and a metric that does not exist is refused."""

from deploy.grafana.source.board import Dashboard
from deploy.grafana.source.decisions import DECISIONS
from deploy.grafana.source.energy import ENERGY
from deploy.grafana.source.overview import OVERVIEW
from deploy.grafana.source.surrogates import SURROGATES
from deploy.grafana.source.workload import WORKLOAD

DASHBOARDS: tuple[Dashboard, ...] = (OVERVIEW, ENERGY, WORKLOAD, DECISIONS, SURROGATES)

__all__ = ["DASHBOARDS", "Dashboard"]
