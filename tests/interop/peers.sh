#!/usr/bin/env bash
# Builds the programs that the interoperability tests and the side-by-side benchmark talk to.
#
#   tests/interop/peers.sh [DEST] [PEER...]
#
# PEER: collector (OpenTelemetry Collector 0.160.0 and telemetrygen, 2 minutes cold), alertmanager (Debian's package,
# unpacked and not installed, but for its templates in /usr/share, which takes root), victoria-metrics (20 s), prometheus
# (4 minutes), influxdb (InfluxDB 2.9.1, 5 minutes), rotel. Default: collector. DEST: default $VITALS_PEERS, else target/peers.
# A peer that is already there is not built again. Needs go >= 1.26.7 (rotel: python3.11, pip and unzip; influxdb: gcc
# and rustup; alertmanager: apt-get alone).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dest=${1:-${VITALS_PEERS:-$here/../../target/peers}}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- collector
mkdir -p "$dest"
dest=$(cd "$dest" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A Collector made of just the components that the tests name. The builder only writes the sources: its own module
# resolution also asks for modules that nothing but the components' tests need, and not every proxy has those.
# A go.mod with the direct requirements, and -mod=mod, resolves the rest.
collector() {
  local version=v0.160.0
  local core=go.opentelemetry.io/collector
  local contrib=github.com/open-telemetry/opentelemetry-collector-contrib
  cat > "$work/builder.yaml" <<YAML
dist: {name: otelcol, output_path: $work/otelcol-src}
receivers:
  - gomod: $core/receiver/otlpreceiver $version
  - gomod: $contrib/receiver/hostmetricsreceiver $version
processors:
  - gomod: $core/processor/batchprocessor $version
  - gomod: $contrib/processor/resourcedetectionprocessor $version
exporters:
  - gomod: $core/exporter/otlpexporter $version
  - gomod: $core/exporter/otlphttpexporter $version
  - gomod: $core/exporter/nopexporter $version
  - gomod: $core/exporter/debugexporter $version
  - gomod: $contrib/exporter/fileexporter $version
extensions:
  - gomod: $contrib/extension/bearertokenauthextension $version
YAML
  GOBIN="$work" go install "$core/cmd/builder@$version"
  "$work/builder" --config "$work/builder.yaml" --skip-get-modules --skip-compilation
  (
    cd "$work/otelcol-src"
    {
      printf 'module otelcol\ngo 1.25.0\nrequire (\n%s/otelcol %s\n' "$core" "$version"
      sed -n 's/.*gomod: //p' "$work/builder.yaml"
      echo ')'
    } > go.mod
    go build -mod=mod -trimpath -ldflags='-s -w' -o "$work/otelcol" .
  )
  GOBIN="$dest" go install "$contrib/cmd/telemetrygen@$version"
  # Last, and in one step: its presence says that both are there.
  install -m 0755 "$work/otelcol" "$dest/.otelcol.new"
  mv "$dest/.otelcol.new" "$dest/otelcol"
}

rotel() {
  python3 -m pip download --quiet --no-deps --dest "$work" rotel==0.0.1a15
  unzip -q "$work"/rotel-*.whl 'rotel/rotel-agent' -d "$work"
  install -m 0755 "$work/rotel/rotel-agent" "$dest/rotel-agent"
}

# Only the program: installed as a package it would be started as a service.
alertmanager() {
  (
    cd "$work"
    get() { apt-get -qq -o APT::Sandbox::User=root download prometheus-alertmanager; }
    get || { apt-get -qq update && get; }
    dpkg-deb --extract prometheus-alertmanager_*.deb alertmanager
  )
  # The program looks for its templates there and nowhere else.
  [ -e "$templates/default.tmpl" ] || install -D -m 0644 -t "$templates" "$work/alertmanager$templates"/*.tmpl
  install -m 0755 "$work/alertmanager/usr/bin/prometheus-alertmanager" "$dest/alertmanager"
}
templates=/usr/share/prometheus/alertmanager

# The server without its web page. Its query language is a library in Rust that `go build` finds through a pkg-config
# of InfluxData's own, and that names an older toolchain than the one that is installed; RUSTUP_TOOLCHAIN overrides it.
influxdb() {
  mkdir "$work/influxd"
  cat > "$work/influxd/go.mod" <<'MOD'
module influxd
go 1.25.10
require github.com/influxdata/influxdb/v2 v2.9.1
replace github.com/nats-io/nats-streaming-server v0.11.2 => github.com/influxdata/nats-streaming-server v0.11.3-0.20201112040610-c277f7560803
replace google.golang.org/protobuf v1.30.0 => google.golang.org/protobuf v1.33.0
MOD
  printf '//go:build tools\n\npackage tools\n\nimport _ "github.com/influxdata/influxdb/v2/cmd/influxd"\n' \
    > "$work/influxd/tools.go"
  GOBIN="$work" go install github.com/influxdata/pkg-config@v0.3.0
  (
    cd "$work/influxd"
    RUSTUP_TOOLCHAIN=$(rustup show active-toolchain | cut -d' ' -f1) PKG_CONFIG="$work/pkg-config" \
      go build -mod=mod -buildvcs=false -tags 'sqlite_foreign_keys,sqlite_json' -ldflags '-s -w' -o "$work/influxd/out" \
      github.com/influxdata/influxdb/v2/cmd/influxd
  )
  install -m 0755 "$work/influxd/out" "$dest/.influxd.new"
  mv "$dest/.influxd.new" "$dest/influxd"
}

for peer in "$@"; do
  case $peer in
    collector) binary=otelcol ;;
    rotel) binary=rotel-agent ;;
    influxdb) binary=influxd ;;
    alertmanager | victoria-metrics | prometheus) binary=$peer ;;
    *) echo "unknown peer: $peer (collector, alertmanager, victoria-metrics, prometheus, influxdb, rotel)" >&2; exit 2 ;;
  esac
  [ -x "$dest/$binary" ] && { [ "$peer" != alertmanager ] || [ -e "$templates/default.tmpl" ]; } && continue
  echo "building $peer into $dest" >&2
  case $peer in
    collector) collector ;;
    alertmanager) alertmanager ;;
    rotel) rotel ;;
    influxdb) influxdb ;;
    victoria-metrics)
      GOBIN="$dest" go install github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics@v1.148.8 ;;
    prometheus) GOBIN="$dest" go install github.com/prometheus/prometheus/cmd/prometheus@v0.316.0 ;;
  esac
done
