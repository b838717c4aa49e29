#!/bin/sh
# Builds the OpenTelemetry Collector that tests send to, once: it is kept in
# the user's cache. The builder is pinned, and what it makes has only the parts
# that are needed: OTLP in, OTLP over HTTP out.
set -eu
version=0.155.0
dir=${XDG_CACHE_HOME:-$HOME/.cache}/bailiff/peers
out=$dir/otelcol-$version
[ ! -x "$out" ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/builder.yaml" <<YAML
dist:
  name: otelcol
  description: OpenTelemetry Collector for tests
  output_path: $work/out
  version: $version
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v$version
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/otlphttpexporter v$version
YAML
mkdir -p "$dir"
echo "peers.sh: building the OpenTelemetry Collector $version (once, about a minute)"
cd "$work"
go run "go.opentelemetry.io/collector/cmd/builder@v$version" --config=builder.yaml >"$work/log" 2>&1 || {
	cat "$work/log" >&2
	exit 1
}
mv "$work/out/otelcol" "$out.$$"
mv "$out.$$" "$out"
