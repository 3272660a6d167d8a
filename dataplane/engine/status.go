package engine

import (
	"net/http"
	"strconv"
)

// defaultMessages are Kong 3.9.1's texts where an answer gives none.
var defaultMessages = map[int]string{
	400: "Bad request",
	401: "Unauthorized",
	402: "Payment required",
	403: "Forbidden",
	404: "Not found",
	405: "Method not allowed",
	406: "Not acceptable",
	407: "Proxy authentication required",
	408: "Request timeout",
	409: "Conflict",
	410: "Gone",
	411: "Length required",
	412: "Precondition failed",
	413: "Payload too large",
	414: "URI too long",
	415: "Unsupported media type",
	416: "Range not satisfiable",
	417: "Expectation failed",
	418: "I'm a teapot",
	421: "Misdirected request",
	422: "Unprocessable entity",
	423: "Locked",
	424: "Failed dependency",
	425: "Too early",
	426: "Upgrade required",
	428: "Precondition required",
	429: "Too many requests",
	431: "Request header fields too large",
	451: "Unavailable for legal reasons",
	494: "Request header or cookie too large",
	500: "An unexpected error occurred",
	501: "Not implemented",
	502: "An invalid response was received from the upstream server",
	503: "The upstream server is currently unavailable",
	504: "The upstream server is timing out",
	505: "HTTP version not supported",
	506: "Variant also negotiates",
	507: "Insufficient storage",
	508: "Loop detected",
	510: "Not extended",
	511: "Network authentication required",
}

func defaultMessage(status int) string {
	if m := defaultMessages[status]; m != "" {
		return m
	}
	return "The upstream server responded with " + strconv.Itoa(status)
}

// reasonPhrase is nginx's phrase for a status; it has none for some.
func reasonPhrase(status int) string {
	switch status {
	case 302:
		return "Moved Temporarily"
	case 405:
		return "Not Allowed"
	case 408:
		return "Request Time-out"
	case 413:
		return "Request Entity Too Large"
	case 414:
		return "Request-URI Too Large"
	case 416:
		return "Requested Range Not Satisfiable"
	case 426:
		return ""
	case 503:
		return "Service Temporarily Unavailable"
	case 504:
		return "Gateway Time-out"
	}
	return http.StatusText(status)
}

// pageTitle is what nginx's built-in page calls a status.
func pageTitle(status int) string {
	if status == 302 {
		return "Found"
	}
	return reasonPhrase(status)
}

// grpcStatus maps a status of HTTP to one of gRPC, as Kong does.
func grpcStatus(status int) int {
	switch status {
	case 401:
		return 16
	case 403:
		return 7
	case 404:
		return 5
	case 409:
		return 6
	case 429:
		return 8
	case 499:
		return 1
	case 501:
		return 12
	case 503:
		return 14
	case 504:
		return 4
	}
	if status >= 500 {
		return 13
	}
	return 3
}
