package guard

import (
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
		who, known, may := g.admit(httpToken(r), need)
		seen := &status{ResponseWriter: w, code: http.StatusOK}
		ctx, d := doing(named(r.Context(), who), g.asked(r, who))
		switch {
		case !known:
			w.Header().Set("WWW-Authenticate", `Basic realm="sekifuda", charset="UTF-8"`)
			deny(seen, http.StatusUnauthorized, "Unauthorized: a token of --admin-token-file is needed, as Authorization: Bearer")
		case !may:
			deny(seen, http.StatusForbidden, fmt.Sprintf("%s may not do this: it needs the role %s", who, need))
		default:
			next.ServeHTTP(seen, r.WithContext(ctx))
		}
		if need == Viewer && may || d.inLog() && seen.code < http.StatusBadRequest {
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
