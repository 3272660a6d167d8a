#!/bin/sh
# Sets up the AI gateway of the operations guide over the Admin API, with nothing but curl:
# what gateway.yaml says in one file. It may be run again: every line is a PUT, which makes
# or replaces.
#
#   ADMIN        Admin API (default http://localhost:8001)
#   API_URL      the guide's API gateway (default http://127.0.0.1:8000)
#   OLLAMA_URL   the Ollama server (default http://127.0.0.1:11434)
#   LIMIT_POLICY local, or redis: all nodes share one count (then REDIS_HOST, REDIS_PORT)
#   ACCESS_LOG   file of the access log (default /tmp/kong_access.log)
set -eu
ADMIN=${ADMIN:-http://localhost:8001}
API_URL=${API_URL:-http://127.0.0.1:8000}
OLLAMA_URL=${OLLAMA_URL:-http://127.0.0.1:11434}
LIMIT_POLICY=${LIMIT_POLICY:-local}
ACCESS_LOG=${ACCESS_LOG:-/tmp/kong_access.log}

put() { # path, then curl's arguments
	path=$1
	shift
	curl -fsS -o /dev/null -X PUT "$ADMIN$path" "$@" || {
		echo "setup: PUT $path was refused:" >&2
		curl -sS -X PUT "$ADMIN$path" "$@" >&2
		exit 1
	}
	echo "  $path"
}

# Plugins have no name of their own: an instance name makes their lines repeatable.
plugin() { # service, plugin, then curl's arguments
	service=$1 name=$2
	shift 2
	put "/services/$service/plugins/$service-$name" -d "name=$name" "$@"
}

echo "services and routes"
put /services/api-gateway -d "url=$API_URL"
put /services/api-gateway/routes/api-gateway-route -d "paths[]=/api/v1/gateway"
put /services/ollama -d "url=$OLLAMA_URL" -d read_timeout=600000
put /services/ollama/routes/ollama-route -d "paths[]=/ollama" -d response_buffering=false

echo "the developer and the key"
put /consumers/ai-dev-user
put /consumers/ai-dev-user/key-auth/ai-dev-key-2025

echo "plugins"
plugin api-gateway key-auth -d "config.key_names[]=X-API-Key" -d "config.key_names[]=apikey"
plugin ollama key-auth -d "config.key_names[]=X-API-Key" -d "config.key_names[]=apikey"
if [ "$LIMIT_POLICY" = redis ]; then
	plugin api-gateway rate-limiting -d config.minute=100 -d config.hour=1000 -d config.policy=redis \
		-d "config.redis.host=${REDIS_HOST:-127.0.0.1}" -d "config.redis.port=${REDIS_PORT:-6379}"
else
	plugin api-gateway rate-limiting -d config.minute=100 -d config.hour=1000 -d "config.policy=$LIMIT_POLICY"
fi
plugin api-gateway cors -d "config.origins[]=*" -d "config.headers[]=Accept" -d "config.headers[]=Authorization" \
	-d "config.headers[]=Content-Type" -d "config.headers[]=X-API-Key" -d config.max_age=3600
plugin api-gateway bot-detection -d "config.allow[]=chrome" -d "config.allow[]=firefox" -d "config.allow[]=curl"
plugin api-gateway ip-restriction -d "config.allow[]=127.0.0.1" -d "config.allow[]=::1" -d "config.allow[]=10.0.0.0/8" \
	-d "config.allow[]=172.16.0.0/12" -d "config.allow[]=192.168.0.0/16"
plugin api-gateway request-size-limiting -d config.allowed_payload_size=10 -d config.size_unit=megabytes
plugin api-gateway request-transformer -d "config.add.headers[]=X-Gateway:sekifuda"
plugin api-gateway file-log -d "config.path=$ACCESS_LOG"
put /plugins/prometheus -d name=prometheus -d config.status_code_metrics=true -d config.latency_metrics=true \
	-d config.bandwidth_metrics=true

echo "done: curl -H 'X-API-Key: ai-dev-key-2025' http://localhost:8080/api/v1/gateway/"
