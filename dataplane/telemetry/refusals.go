package telemetry

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

const (
	// maxRefusals is how many answers of the gate's own are remembered: what a person asks about
	// was minutes ago at most.
	maxRefusals = 4096
	// maxReasons bounds the reasons that are counted apart. They are words of the code; those of a
	// configuration are few.
	maxReasons = 256
	// maxPart bounds what is remembered of one part of a request.
	maxPart = 256
)

// Refusal is why the gate answered a request itself.
type Refusal struct {
	RequestID string    `json:"request_id"`
	At        time.Time `json:"at"`
	Status    int       `json:"status"`
	Reason    string    `json:"reason"`
	Plugin    string    `json:"plugin,omitempty"`
	PluginID  string    `json:"plugin_id,omitempty"`
	Route     string    `json:"route,omitempty"`
	Service   string    `json:"service,omitempty"`
	Consumer  string    `json:"consumer,omitempty"`
	Client    string    `json:"client"`
	Method    string    `json:"method"`
	Host      string    `json:"host"`
	Path      string    `json:"path"`
	Revision  uint64    `json:"revision"`
	Detail    string    `json:"detail,omitempty"`
}

// Refusals remembers what the gate answered itself, and counts it by reason. It is safe for
// concurrent use.
type Refusals struct {
	reasons atomic.Pointer[map[string]*atomic.Uint64] // never changed in place

	mu   sync.Mutex // guards what follows
	ring []slot
	next int
}

// slot is one refusal in memory of its own, which the next one there uses again.
type slot struct {
	at       int64
	status   int
	revision uint64
	text     []byte
	ends     [parts]uint16
}

// The parts of a slot's text.
const (
	partID = iota
	partReason
	partPlugin
	partPluginID
	partRoute
	partService
	partConsumer
	partClient
	partMethod
	partHost
	partPath
	partDetail
	parts
)

// NewRefusals returns an empty memory.
func NewRefusals() *Refusals {
	r := &Refusals{ring: make([]slot, maxRefusals)}
	r.reasons.Store(&map[string]*atomic.Uint64{})
	return r
}

// Note remembers an exchange that the gate answered itself. Once its memory is used it allocates
// nothing.
func (r *Refusals) Note(x *plugin.Exchange) {
	r.count(x.Reason)
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.ring[r.next]
	r.next = (r.next + 1) % len(r.ring)
	s.at, s.status, s.revision = x.Times.Start.UnixNano(), x.Response.Status, x.Revision
	s.text = s.text[:0]
	s.add(partID, x.ID)
	s.add(partReason, x.Reason)
	s.add(partPlugin, x.Decided.Plugin)
	s.add(partPluginID, x.Decided.ID)
	route, service, consumer := "", "", ""
	if x.Route != nil {
		route = x.Route.Label()
	}
	if x.Service != nil {
		service = x.Service.Label()
	}
	if x.Consumer != nil {
		consumer = x.Consumer.Username
	}
	s.add(partRoute, route)
	s.add(partService, service)
	s.add(partConsumer, consumer)
	s.text = x.Client.Unmap().AppendTo(s.text)
	s.ends[partClient] = uint16(len(s.text))
	s.add(partMethod, x.Request.Method)
	s.add(partHost, x.Request.Host)
	s.add(partPath, x.Request.Path)
	s.add(partDetail, x.Decided.Detail)
}

func (s *slot) add(part int, text string) {
	s.text = append(s.text, text[:min(len(text), maxPart)]...)
	s.ends[part] = uint16(len(s.text))
}

func (s *slot) part(i int) string {
	from := uint16(0)
	if i > 0 {
		from = s.ends[i-1]
	}
	return string(s.text[from:s.ends[i]])
}

func (s *slot) refusal() Refusal {
	return Refusal{
		RequestID: s.part(partID), At: time.Unix(0, s.at).UTC(), Status: s.status, Reason: s.part(partReason),
		Plugin: s.part(partPlugin), PluginID: s.part(partPluginID), Route: s.part(partRoute), Service: s.part(partService),
		Consumer: s.part(partConsumer), Client: s.part(partClient), Method: s.part(partMethod), Host: s.part(partHost),
		Path: s.part(partPath), Revision: s.revision, Detail: s.part(partDetail),
	}
}

// Find returns the refusal of a request.
func (r *Refusals) Find(id string) (Refusal, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.ring {
		if s := &r.ring[i]; s.at != 0 && s.part(partID) == id {
			return s.refusal(), true
		}
	}
	return Refusal{}, false
}

// Newest returns up to n refusals, newest first.
func (r *Refusals) Newest(n int) []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []Refusal{}
	for i := range len(r.ring) {
		s := &r.ring[(r.next-1-i+2*len(r.ring))%len(r.ring)]
		if s.at == 0 || len(all) == n {
			break
		}
		all = append(all, s.refusal())
	}
	return all
}

// count adds one to a reason; one too many counts as "other".
func (r *Refusals) count(reason string) {
	if n := (*r.reasons.Load())[reason]; n != nil {
		n.Add(1)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := *r.reasons.Load()
	if len(known) >= maxReasons {
		reason = "other"
	}
	if n := known[reason]; n != nil {
		n.Add(1)
		return
	}
	more, n := maps.Clone(known), &atomic.Uint64{}
	n.Add(1)
	more[strings.Clone(reason)] = n
	r.reasons.Store(&more)
}

// append writes the counts by reason.
func (r *Refusals) append(b []byte) []byte {
	known := *r.reasons.Load()
	if len(known) == 0 {
		return b
	}
	const name = "sekifuda_refused_total"
	b = head(b, name, "counter", "Requests that the gate answered itself, by reason.")
	for _, reason := range slices.Sorted(maps.Keys(known)) {
		b = line(b, name, `reason="`+escape(reason)+`"`, known[reason].Load())
	}
	return b
}

// maxShown bounds one answer of ServeHTTP.
const maxShown = 1000

// ServeHTTP answers the refusal of ?id=, or the newest ?n=.
func (r *Refusals) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if id := q.FormValue("id"); id != "" {
		f, ok := r.Find(strings.ToLower(id))
		if !ok {
			reply(w, http.StatusNotFound, map[string]string{"message": "this node refused no such request, or so long ago that it has forgotten it"})
			return
		}
		reply(w, http.StatusOK, f)
		return
	}
	n, err := strconv.Atoi(q.FormValue("n"))
	if err != nil || n < 1 {
		n = 20
	}
	reply(w, http.StatusOK, map[string]any{"data": r.Newest(min(n, maxShown))})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}
