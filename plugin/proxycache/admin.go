package proxycache

import (
	"encoding/json"
	"net/textproto"
	"strconv"
	"time"
)

// version is Kong's of the form of what is kept.
const version = 1

// Admin looks and purges in a store for who administers the gate.
type Admin struct {
	Store *Store
	Now   func() time.Time
}

// Cached is what is kept under a key, as Kong's Admin API shows it; nil: nothing.
func (a Admin) Cached(key string) []byte {
	e := a.Store.Lookup(key, a.Now())
	if e == nil {
		return nil
	}
	headers := map[string]any{"X-Cache-Key": key}
	add := func(name, value string) {
		name = textproto.CanonicalMIMEHeaderKey(name)
		switch have := headers[name].(type) {
		case nil:
			headers[name] = value
		case string:
			headers[name] = []any{have, value}
		case []any:
			headers[name] = append(have, value)
		}
	}
	for _, f := range e.Header {
		add(f.Name, f.Value)
	}
	if e.contentType != "" {
		add("Content-Type", e.contentType)
	}
	add("Content-Length", strconv.Itoa(len(e.Body)))
	raw, err := json.Marshal(map[string]any{
		"status": e.Status, "headers": headers, "body": e.Body, "body_len": len(e.Body),
		"timestamp": e.Stored.Unix(), "ttl": int64(e.TTL / time.Second), "version": version,
	})
	if err != nil {
		return nil // not reached: all of it can be encoded
	}
	return raw
}

// Purge forgets what is kept under a key and reports whether there was anything.
func (a Admin) Purge(key string) bool { return a.Store.Purge(key) }

// Flush forgets everything.
func (a Admin) Flush() { a.Store.Flush() }
