# shellcheck shell=bash
# The services that have a chart of their own.
service_charts() { find charts -mindepth 2 -maxdepth 2 -name Chart.yaml ! -path 'charts/rapport*' -printf '%h\n' | cut -d/ -f2 | sort; }
