#!/bin/bash
# The guide's monitoring script: one look at the gateway by the guide's thresholds, to the
# screen, to the alert log and to the metrics log. Exit code 0 fine, 1 warning, 2 critical.
#
#   KONG_ALERTS_ADMIN  Admin API (default http://localhost:8001)
#   KONG_ALERTS_PROXY  proxy (default http://localhost:8080)
#   KONG_ALERTS_LOG    alert log (default /tmp/kong_alerts.log)
#   KONG_METRICS_LOG   metrics log (default /tmp/kong_metrics.log)
set -u
admin=${KONG_ALERTS_ADMIN:-http://localhost:8001}
proxy=${KONG_ALERTS_PROXY:-http://localhost:8080}
alerts=${KONG_ALERTS_LOG:-/tmp/kong_alerts.log}
metrics=${KONG_METRICS_LOG:-/tmp/kong_metrics.log}
worst=0

say() { # level, text
	case $1 in
	WARNING) [ $worst -lt 1 ] && worst=1 ;;
	CRITICAL) worst=2 ;;
	esac
	printf '%s [%s] %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$1" "$2" | { [ "$1" = OK ] && cat || tee -a "$alerts"; }
}

judge() { # what, value, warning, critical, unit
	if [ "$2" -gt "$4" ]; then
		say CRITICAL "$1: $2$5 (critical: >$4$5)"
	elif [ "$2" -gt "$3" ]; then
		say WARNING "$1: $2$5 (warning: >$3$5)"
	else
		say OK "$1: $2$5"
	fi
}

# milliseconds of a request, or nothing when it gets no answer
took() { curl -s -o /dev/null -m 10 -w '%{time_total}' "$1" | awk '{printf "%d", $1 * 1000}'; }

if ! status=$(curl -fs -m 10 "$admin/status"); then
	say CRITICAL "Admin API does not answer at $admin"
	exit 2
fi
if [ "$(jq -r .database.reachable <<<"$status")" = true ]; then
	say OK "database: reachable"
else
	say CRITICAL "database: not reachable"
fi
admin_ms=$(took "$admin/status")
judge "Admin API response time" "$admin_ms" 500 1000 ms
if ! curl -s -o /dev/null -m 10 "$proxy/"; then
	say CRITICAL "proxy does not answer at $proxy"
	exit 2
fi
proxy_ms=$(took "$proxy/")
judge "proxy response time" "$proxy_ms" 500 1000 ms
active=$(jq -r .server.connections_active <<<"$status")
judge "active connections" "$active" 100 200 ""

printf '%s admin_ms=%s proxy_ms=%s connections_active=%s total_requests=%s\n' "$(date '+%Y-%m-%d %H:%M:%S')" \
	"$admin_ms" "$proxy_ms" "$active" "$(jq -r .server.total_requests <<<"$status")" >>"$metrics"
exit $worst
