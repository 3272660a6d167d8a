package guard

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// HTTP stands before a handler of the Admin API or the console. A token comes as a bearer's,
// as the password of a browser's basic authentication, or in Kong-Admin-Token.
func (g *Guard) HTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		need := Editor
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			need = Viewer
		}
		if r.Method == http.MethodOptions { // a browser asks without a token what it may ask
			next.ServeHTTP(w, r)
			return
		}
		who, err := g.admit(r.Context(), proof{httpToken(r), verified(r.TLS)}, need)
		seen := &status{ResponseWriter: w, code: http.StatusOK}
		ctx, d := doing(known(r.Context(), who), g.asked(r, who.name))
		var no *refusal
		switch {
		case errors.As(err, &no):
			text := no.text
			if no.kind == unknown {
				text = "Unauthorized: " + text
				w.Header().Set("WWW-Authenticate", `Basic realm="sekifuda", charset="UTF-8"`)
			}
			deny(seen, answers[no.kind], text)
		default:
			next.ServeHTTP(seen, r.WithContext(ctx))
		}
		if need == Viewer && (no == nil || no.kind == unreachable) || d.inLog() && seen.code < http.StatusBadRequest {
			return // what was only looked at is not noted, and what was done is
		}
		e := d.asked()
		e.Result = strconv.Itoa(seen.code)
		e.Revision, _ = strconv.ParseUint(w.Header().Get("Sekifuda-Revision"), 10, 64) // 0 when it made none
		g.note(r.Context(), e)
	})
}

// asked is what a request asks for, without what became of it.
func (g *Guard) asked(r *http.Request, who string) Event {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return Event{Who: who, From: host, What: r.Method + " " + g.path(r.URL.Path), Why: r.Header.Get("Sekifuda-Reason")}
}

var answers = map[refusalKind]int{unknown: http.StatusUnauthorized, forbidden: http.StatusForbidden, unreachable: http.StatusServiceUnavailable}

// verified is the certificate by which a client proved itself; nil when it did not.
func verified(s *tls.ConnectionState) *x509.Certificate {
	if s == nil || len(s.VerifiedChains) == 0 {
		return nil
	}
	return s.PeerCertificates[0]
}

func httpToken(r *http.Request) string {
	if t := r.Header.Get("Kong-Admin-Token"); t != "" {
		return t
	}
	if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return t
	}
	_, password, _ := r.BasicAuth()
	return password
}

func deny(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprintf(w, "{\"message\":%q}", message)
}

// path is a path without the secrets that some entities are found by.
func (g *Guard) path(path string) string {
	parts := strings.Split(path, "/")
	for i := 1; i < len(parts); i++ {
		if g.Secret[parts[i-1]] && parts[i] != "" && uuid.Validate(parts[i]) != nil {
			parts[i] = "***"
		}
	}
	return strings.Join(parts, "/")
}

// status remembers the code of an answer.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
