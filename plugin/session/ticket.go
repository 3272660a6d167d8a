package session

import (
	"crypto/rand"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

const (
	// records are of this kind where sessions are kept at the gates.
	recordKind = "sessions"
	// touchEvery is how exact the idle time is: a cookie is not made anew more often.
	touchEvery = time.Minute
)

// ticket is a session. Times are Unix seconds.
type ticket struct {
	ID         string `json:"id"`
	Audience   string `json:"aud"`
	Subject    string `json:"sub"`
	Consumer   string `json:"consumer"`
	Credential string `json:"credential"`
	Created    int64  `json:"created"`
	Rolled     int64  `json:"rolled"`
	Touched    int64  `json:"touched"`
	// Kept is that the session is in the records, and the cookie holds its id alone.
	Kept bool `json:"kept,omitempty"`
	// Remembered is that it came with the longer cookie.
	Remembered bool `json:"remembered,omitempty"`
}

// of reports whether the session is that of who was let in.
func (t *ticket) of(x *plugin.Exchange) bool {
	return t != nil && t.Credential == x.Credential.ID && t.Consumer == x.Consumer.ID
}

// find returns the session that the request's cookies name, and that is still good; nil when
// there is none. One that is only remembered is made a session again.
func (f *filter) find(x *plugin.Exchange) *ticket {
	now := f.now().Unix()
	for _, c := range []*cookie{&f.session, f.remember} {
		if c == nil {
			continue
		}
		for value := range c.values(&x.Request.Header) {
			t := f.open(x, value)
			if t == nil || t.Audience != f.audience || t.Remembered != c.persistent || !f.good(c, t, now) {
				continue
			}
			return t
		}
	}
	return nil
}

func (f *filter) good(c *cookie, t *ticket, now int64) bool {
	over := func(since int64, limit time.Duration) bool {
		return limit > 0 && now-since >= int64(limit/time.Second)
	}
	return !over(t.Created, c.absolute) && !over(t.Rolled, c.rolling) && (c.persistent || !over(t.Touched, f.idling))
}

// open reads the session of a cookie's value, from the records where it is kept there.
func (f *filter) open(x *plugin.Exchange, value string) *ticket {
	t := f.seal.open(value)
	if t == nil || t.Kept != (f.records != nil) {
		return nil
	}
	if !t.Kept {
		return t
	}
	raw, err := f.records.Get(x.Context(), recordKind, t.ID)
	if err != nil {
		f.log.Warn("read session", "plugin", "session", "error", err)
	}
	if raw == nil {
		return nil
	}
	kept := f.seal.open(string(raw))
	if kept == nil || kept.ID != t.ID {
		return nil
	}
	kept.Touched = t.Touched // only the cookie is made anew with every use
	return kept
}

// refresh makes the session's cookie anew when it is old enough: a new session when three
// quarters of its time have passed, and when it was only remembered; else the time of its use.
func (f *filter) refresh(x *plugin.Exchange, v *visit) {
	t, now := v.current, f.now().Unix()
	rolling := int64(f.session.rolling / time.Second)
	switch {
	case t.Remembered, rolling > 0 && (now-t.Rolled)*4 >= rolling*3:
		old := *t
		t.ID, t.Rolled, t.Touched, t.Remembered = newID(), now, now, false
		if old.Remembered {
			t.Created = now
		}
		if f.save(x, v, t) {
			f.retire(x, &old)
		}
	case f.idling > 0 && now-t.Touched >= int64(touchEvery/time.Second):
		t.Touched = now
		v.cookies = append(v.cookies, f.session.line(f.seal.close(f.shown(t)), f.now()))
	}
}

// begin makes a session of who was let in.
func (f *filter) begin(x *plugin.Exchange, v *visit) {
	now := f.now().Unix()
	t := &ticket{
		ID: newID(), Audience: f.audience, Subject: subject(x.Consumer), Consumer: x.Consumer.ID, Credential: x.Credential.ID,
		Created: now, Rolled: now, Touched: now, Kept: f.records != nil,
	}
	old := v.current
	if f.save(x, v, t) && old != nil {
		f.retire(x, old)
	}
	v.current = t
}

func subject(c *plugin.Consumer) string {
	for _, s := range []string{c.Username, c.CustomID} {
		if s != "" {
			return s
		}
	}
	return c.ID
}

// save keeps the session and sends its cookies. A session that cannot be kept is not begun.
func (f *filter) save(x *plugin.Exchange, v *visit, t *ticket) bool {
	all := []*ticket{t}
	if f.remember != nil {
		r := *t
		r.Remembered, r.ID = true, newID()
		all = append(all, &r)
	}
	var lines []string
	for i, t := range all {
		c := [2]*cookie{&f.session, f.remember}[i]
		if t.Kept {
			if err := f.records.Put(x.Context(), recordKind, t.ID, []byte(f.seal.close(t)), f.left(c, t)); err != nil {
				f.log.Error("keep session", "plugin", "session", "error", err)
				return false
			}
		}
		lines = append(lines, c.line(f.seal.close(f.shown(t)), f.now()))
	}
	v.cookies = append(v.cookies, lines...)
	return true
}

// shown is what the cookie holds of a session.
func (f *filter) shown(t *ticket) *ticket {
	if !t.Kept {
		return t
	}
	return &ticket{ID: t.ID, Kept: true, Touched: t.Touched}
}

// left is for how long a session is good if it is not renewed; 0: for ever.
func (f *filter) left(c *cookie, t *ticket) time.Duration {
	now := f.now().Unix()
	var all []time.Duration
	for _, end := range []struct {
		since int64
		limit time.Duration
	}{{t.Rolled, c.rolling}, {t.Created, c.absolute}} {
		if end.limit > 0 {
			all = append(all, max(time.Second, end.limit-time.Duration(now-end.since)*time.Second))
		}
	}
	if len(all) == 0 {
		return 0
	}
	return slices.Min(all)
}

// retire lets a session that another replaces be good for a moment longer: requests that are
// under way have its cookie. One in a cookie ends by its own times.
func (f *filter) retire(x *plugin.Exchange, t *ticket) {
	if !t.Kept {
		return
	}
	var err error
	if f.stale > 0 && !t.Remembered {
		err = f.records.Put(x.Context(), recordKind, t.ID, []byte(f.seal.close(t)), f.stale)
	} else {
		_, err = f.records.Take(x.Context(), recordKind, t.ID)
	}
	if err != nil {
		f.log.Warn("retire session", "plugin", "session", "error", err)
	}
}

// end forgets the sessions of a client's cookies and takes the cookies back.
func (f *filter) end(x *plugin.Exchange, v *visit) {
	for _, c := range []*cookie{&f.session, f.remember} {
		if c == nil {
			continue
		}
		for value := range c.values(&x.Request.Header) {
			f.forget(x, f.seal.open(value))
		}
		v.cookies = append(v.cookies, c.gone())
	}
}

func (f *filter) forget(x *plugin.Exchange, t *ticket) {
	if t == nil || !t.Kept || f.records == nil {
		return
	}
	if _, err := f.records.Take(x.Context(), recordKind, t.ID); err != nil {
		f.log.Warn("forget session", "plugin", "session", "error", err)
	}
}

// header is what is told of a session under a name of response_headers or request_headers.
func (f *filter) header(t *ticket, what string) (name, value string) {
	now := f.now().Unix()
	timeout := int64(-1)
	left := func(since int64, limit time.Duration) int64 {
		if limit <= 0 {
			return 0 // there is none
		}
		n := max(0, int64(limit/time.Second)-(now-since))
		if timeout < 0 || n < timeout {
			timeout = n
		}
		return n
	}
	idling, rolling, absolute := left(t.Touched, f.idling), left(t.Rolled, f.session.rolling), left(t.Created, f.session.absolute)
	switch what {
	case "id":
		return "Session-Id", t.ID
	case "audience":
		return "Session-Audience", t.Audience
	case "subject":
		return "Session-Subject", t.Subject
	case "idling-timeout":
		return "Session-Idling-Timeout", strconv.FormatInt(idling, 10)
	case "rolling-timeout":
		return "Session-Rolling-Timeout", strconv.FormatInt(rolling, 10)
	case "absolute-timeout":
		return "Session-Absolute-Timeout", strconv.FormatInt(absolute, 10)
	}
	return "Session-Timeout", strconv.FormatInt(max(timeout, 0), 10)
}

func newID() string { return rand.Text() }

func (t *ticket) encode() []byte {
	raw, err := json.Marshal(t)
	if err != nil {
		return nil // not reached: texts and numbers encode
	}
	return raw
}
