package graph

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/dataplane/router"
	"github.com/sekifuda/sekifuda/plugin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// world is a set of entities that is edited at random, and always of sound references where
// the store sees to them.
type world struct {
	rng  *rand.Rand
	have map[string]Change // by kind/id
}

func (w *world) pick(kind string, n int) string { return kind[:1] + fmt.Sprint(w.rng.Intn(n)) }

func (w *world) maybe(kind string, n int) string {
	if w.rng.Intn(2) == 0 {
		return ""
	}
	return w.pick(kind, n)
}

// change makes a random entity of a random kind.
func (w *world) change() Change {
	switch w.rng.Intn(10) {
	case 0, 1:
		return w.route()
	case 2:
		return w.service()
	case 3:
		id := w.pick("upstreams", 4)
		return put("upstreams", id, &entityv1.Upstream{Id: &id, Name: proto.String("host" + fmt.Sprint(w.rng.Intn(3)))})
	case 4:
		id := w.pick("targets", 6)
		return put("targets", id, &entityv1.Target{Id: &id, Upstream: proto.String(w.pick("upstreams", 4)),
			Target: proto.String(fmt.Sprintf("10.0.0.%d:80", w.rng.Intn(9))), CreatedAt: proto.Float64(float64(w.rng.Intn(3)))})
	case 5:
		return consumer(w.pick("consumers", 4), "user"+fmt.Sprint(w.rng.Intn(4)))
	case 6:
		return key(w.pick("keys", 8), w.pick("consumers", 4), "key"+fmt.Sprint(w.rng.Intn(8)))
	case 7:
		id := w.pick("acls", 5)
		return put("acls", id, &entityv1.Acl{Id: &id, Consumer: proto.String(w.pick("consumers", 4)), Group: proto.String("g" + fmt.Sprint(w.rng.Intn(3)))})
	}
	id := w.pick("plugins", 20)
	m := pluginEntity(id, []string{"auth", "shape", "log"}[w.rng.Intn(3)],
		w.maybe("routes", 6), w.maybe("services", 3), w.maybe("consumers", 4), "text"+fmt.Sprint(w.rng.Intn(9)))
	m.Enabled = proto.Bool(w.rng.Intn(5) > 0)
	return put("plugins", id, m)
}

func (w *world) route() Change {
	id := w.pick("routes", 6)
	m := &entityv1.Route{Id: &id, Paths: []string{"/" + fmt.Sprint(w.rng.Intn(3)), "/"}, Hosts: []string{"a.com"}[:w.rng.Intn(2)]}
	if s := w.maybe("services", 3); s != "" {
		m.Service = &s
	}
	if w.rng.Intn(8) == 0 {
		m.Protocols = []string{"tcp"}
	}
	return put("routes", id, m)
}

func (w *world) service() Change {
	id := w.pick("services", 3)
	return put("services", id, &entityv1.Service{Id: &id, Host: proto.String("host" + fmt.Sprint(w.rng.Intn(3))),
		Enabled: proto.Bool(w.rng.Intn(4) > 0), Path: proto.String("/" + fmt.Sprint(w.rng.Intn(2)))})
}

func (w *world) all() []Change {
	out := make([]Change, 0, len(w.have))
	for _, k := range sorted(w.have) {
		out = append(out, w.have[k])
	}
	w.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// TestIncrementalEqualsFull applies random batches of edits. A full build of the same
// entities must accept or refuse what the incremental one does, for the same reasons, and
// serve the same; a refused batch must leave no trace.
func TestIncrementalEqualsFull(t *testing.T) {
	t.Parallel()
	for seed := range 60 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := &world{rng: rand.New(rand.NewSource(int64(seed))), have: map[string]Change{}}
			c := compiler(t)
			var g *Graph
			accepted, refused := 0, 0
			for range 120 {
				next := &world{rng: w.rng, have: map[string]Change{}}
				for k, v := range w.have {
					next.have[k] = v
				}
				batch := next.edits()
				inc, errInc := c.Apply(g, batch, 1)
				full, errFull := c.Apply(nil, next.all(), 1)
				if (errInc == nil) != (errFull == nil) {
					t.Fatalf("incremental %v, full %v", errInc, errFull)
				}
				if errInc != nil {
					refused++
					checkRefusals(t, errInc, errFull)
					continue
				}
				accepted++
				if a, b := inc.dump(), full.dump(); a != b {
					t.Fatalf("incremental and full differ after %d batches:\n%s", accepted, difference(a, b))
				}
				checkSameRequests(t, w.rng, inc, full)
				g, w.have = inc, next.have
			}
			if accepted < 20 || refused < 5 {
				t.Errorf("%d batches accepted, %d refused: the test tests little", accepted, refused)
			}
			var none []Change
			for _, ch := range w.all() {
				none = append(none, gone(ch.Kind, ch.ID))
			}
			g = mustApply(t, c, g, none...)
			if got, want := g.dump(), mustApply(t, c, nil).dump(); got != want {
				t.Errorf("a graph of which all is removed keeps something:\n%s", difference(got, want))
			}
		})
	}
}

// edits changes the world and says how.
func (w *world) edits() []Change {
	var batch []Change
	for range 1 + w.rng.Intn(3) {
		if w.rng.Intn(4) == 0 && len(w.have) > 0 {
			k := sorted(w.have)[w.rng.Intn(len(w.have))]
			old := w.have[k]
			delete(w.have, k)
			batch = append(batch, gone(old.Kind, old.ID))
			continue
		}
		ch := w.change()
		w.have[ch.Kind+"/"+ch.ID] = ch
		batch = append(batch, ch)
	}
	return batch
}

// checkRefusals compares what is refused. Who of two holders of one value is named depends
// on the order; that there is a conflict about it does not.
func checkRefusals(t *testing.T, a, b error) {
	t.Helper()
	texts := func(err error) string {
		var r *Refusal
		if !errors.As(err, &r) || len(r.Violations) == 0 {
			t.Fatalf("Apply = %v, want a *Refusal with violations", err)
		}
		seen := map[string]bool{}
		for _, v := range r.Violations {
			if strings.Contains(v.Reason, "already taken") {
				seen["conflict of "+strings.SplitN(v.Object, "/", 2)[0]+" "+v.Field] = true
			} else {
				seen[fmt.Sprint(v)] = true
			}
		}
		return strings.Join(sorted(seen), "\n")
	}
	if x, y := texts(a), texts(b); x != y {
		t.Fatalf("incremental refuses\n%s\nfull refuses\n%s", x, y)
	}
}

func checkSameRequests(t *testing.T, rng *rand.Rand, a, b *Graph) {
	t.Helper()
	for range 10 {
		q := &router.Request{Host: []string{"a.com", "b.com"}[rng.Intn(2)], Path: "/" + fmt.Sprint(rng.Intn(4)), Header: &plugin.Header{}}
		var x, y router.Match[*Endpoint]
		if a.Match(q, &x) != b.Match(q, &y) || (x.Value != nil && x.Value.Route.ID != y.Value.Route.ID) {
			t.Fatalf("Match(%+v) = %+v and %+v", q, x.Value, y.Value)
		}
	}
}

func difference(a, b string) string {
	var out []string
	in := func(list []string, s string) bool {
		return strings.Contains("\n"+strings.Join(list, "\n")+"\n", "\n"+s+"\n")
	}
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for _, s := range x {
		if !in(y, s) {
			out = append(out, "- "+s)
		}
	}
	for _, s := range y {
		if !in(x, s) {
			out = append(out, "+ "+s)
		}
	}
	return strings.Join(out, "\n")
}
