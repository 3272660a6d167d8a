package main

import "strings"

// reasons say what the gate's reasons mean and what a person can do.
var reasons = map[string][2]string{
	"blocked":                {"somebody blocked it ahead of the configuration, for a while", "seki block list shows what is blocked; seki unblock ends it before its time"},
	"no-route":               {"no route matches the host, path, method and headers", "compare them with seki get routes; a route's paths are prefixes, its hosts are exact"},
	"no-service":             {"the route that matches has no service", "give the route a service, or let a plugin answer it"},
	"wrong-protocol":         {"the route is not for this protocol", "use HTTPS or gRPC as the route's protocols say, or add the protocol to the route"},
	"malformed-request":      {"the request breaks HTTP's grammar", "look at what the client sends: a raw capture shows it"},
	"malformed-body":         {"the body breaks HTTP's grammar", "look at what the client sends: its chunks or its length are wrong"},
	"body-too-large":         {"the body is larger than allowed", "send less, or raise request-size-limiting's allowed_payload_size or --client-max-body-bytes"},
	"client-too-slow":        {"the client did not send in time", "raise --client-body-timeout if clients are slow with reason"},
	"client-gone":            {"the client closed before it was answered", "raise the client's own timeout, or find out why the upstream is slow"},
	"panicked":               {"the gate or a plugin has a defect that ended this request", "look at the log of the node for \"panicked\": it has the stack"},
	"no-healthy-target":      {"no target of the upstream is healthy", "look at /upstreams/NAME/health and at the targets themselves"},
	"name-resolution-failed": {"the service's host name is not known", "check the service's host and the node's DNS"},
	"upstream-timeout":       {"the upstream did not answer in time", "look at the upstream, or raise the service's timeouts"},
	"upstream-failed":        {"the upstream closed, or its answer breaks HTTP's grammar", "look at the upstream's log at that moment"},

	"no-key":                     {"no API key is in the request", "send it in one of key-auth's key_names (apikey by default), as a header or a query parameter"},
	"unknown-key":                {"no consumer has this API key", "compare it with /consumers/NAME/key-auth; it may have been deleted or have expired"},
	"two-keys":                   {"the request has more than one API key", "send it once"},
	"no-credentials":             {"no credentials are in the request", "send an Authorization header"},
	"unknown-name":               {"no credential has this user name", "compare it with the consumer's credentials"},
	"wrong-password":             {"the password is not the one that is stored", "set it again if it is lost: it cannot be read back"},
	"no-token":                   {"no token is in the request", "send it as jwt's uri_param_names, cookie_names or header_names say"},
	"bad-token":                  {"the token cannot be read", "it must be a JWT of three parts"},
	"two-tokens":                 {"the request has more than one token", "send it once"},
	"wrong-signature":            {"the signature does not match", "check the secret or key on both sides, and for hmac-auth what was signed"},
	"wrong-algorithm":            {"the algorithm is not the credential's", "sign with the algorithm that the credential names"},
	"wrong-time":                 {"the token has expired or is not valid yet", "get a new one; compare clocks"},
	"wrong-date":                 {"the request's date is too far from now", "compare clocks; hmac-auth's clock_skew says how far"},
	"anonymous-consumer-missing": {"config.anonymous names a consumer that does not exist", "create it, or correct the plugin"},
	"no-consumer":                {"acl knows nobody to look up groups for", "put an authentication plugin before it"},
	"no-groups":                  {"the consumer is in no group", "add it to a group that the plugin allows"},
	"not-in-group":               {"the consumer's groups are not allowed here", "compare /consumers/NAME/acls with the plugin's allow and deny"},
	"ip-not-allowed":             {"the client's address is not in the allowed ranges", "add it to ip-restriction's allow; behind a proxy set --trusted-ips so that the client's own address counts"},
	"ip-denied":                  {"the client's address is in a denied range", "take it out of ip-restriction's deny"},
	"robot":                      {"the user agent matches a bot", "add it to bot-detection's allow if it is wanted"},
	"two-agents":                 {"the request has more than one User-Agent", "send it once"},
	"no-length":                  {"the request does not say how long its body is", "send Content-Length, or switch require_content_length off"},
	"limit-spent":                {"what may be spent in this period is spent", "wait, or raise the limit of response-ratelimiting"},
	"more-than-limit":            {"the request may use more than a whole limit of ai-token-limiting", "set a smaller max_tokens, shorten the prompt, or raise the limit"},
	"too-many-at-once":           {"as many requests are under way as concurrency-limiting allows", "send fewer at once, or give it a queue or a higher limit; seki limits shows what runs"},
	"waited-too-long":            {"the request waited for others to end, and none did in time", "send fewer at once, or raise queue_timeout or the limit of concurrency-limiting"},
	"limits-unreachable":         {"the store of the counters is away and the plugin admits nothing meanwhile", "bring Redis back, or set fault_tolerant or outage"},
}

// meaning says what a reason means and what can be done.
func meaning(reason string) (why, fix string) {
	if period, ok := strings.CutPrefix(reason, "over-"); ok {
		if resource, period, ok := strings.Cut(period, "-"); ok {
			return "what may be used in this " + period + " of AI tokens (" + resource + ") is used, or reserved by requests under way",
				"wait for the time in Retry-After, set a smaller max_tokens, or raise config." + resource + "." + period + " of the plugin"
		}
		return "the requests allowed in this " + period + " are used up",
			"wait for the time in Retry-After, or raise config." + period + " of the plugin"
	}
	if m, ok := reasons[reason]; ok {
		return m[0], m[1]
	}
	return "the plugin's own reason", "its README says what it refuses"
}
