package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
)

func load(t testing.TB, file string, into any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

type jsonRoute struct {
	ID            string              `json:"id"`
	Name          string              `json:"name"`
	Protocols     []string            `json:"protocols"`
	Methods       []string            `json:"methods"`
	Hosts         []string            `json:"hosts"`
	Paths         []string            `json:"paths"`
	Headers       map[string][]string `json:"headers"`
	SNIs          []string            `json:"snis"`
	RegexPriority int64               `json:"regex_priority"`
}

func (j jsonRoute) route() *Route {
	return &Route{ID: j.ID, Protocols: j.Protocols, Methods: j.Methods, Hosts: j.Hosts, Paths: j.Paths,
		Headers: j.Headers, SNIs: j.SNIs, RegexPriority: j.RegexPriority}
}

func TestPriorityAsExecuted(t *testing.T) {
	t.Parallel()
	var file struct {
		Vectors []struct {
			Name     string    `json:"name"`
			Executed string    `json:"priority_executed"`
			Route    jsonRoute `json:"route"`
		} `json:"vectors"`
	}
	load(t, "priorities.json", &file)
	var http, stream int
	for _, v := range file.Vectors {
		r := v.Route.route()
		if !answersHTTP(r.Protocols) {
			stream++ // these have sources and destinations, and no place in this router
			continue
		}
		http++
		if got := strconv.FormatUint(priority(r, r.Paths), 10); got != v.Executed {
			t.Errorf("priority(%s) = %s, want %s", v.Name, got, v.Executed)
		}
		if err := Check(r); err != nil {
			t.Errorf("Check(%s) = %v", v.Name, err)
		}
	}
	if http != 22 || stream != 3 {
		t.Errorf("%d HTTP and %d stream vectors, want 22 and 3", http, stream)
	}
}

func TestPriorityQuirks(t *testing.T) {
	t.Parallel()
	regex := func(n int64) uint64 {
		return priority(&Route{Paths: []string{"~/a"}, RegexPriority: n}, []string{"~/a"})
	}
	for _, n := range []int64{-1, 4096, 4097} {
		if regex(n) < 1<<63 {
			t.Errorf("regex_priority %d = %#x, want the top bit set", n, regex(n))
		}
	}
	if regex(8192) != regex(0) {
		t.Errorf("regex_priority 8192 = %#x, want that of 0, %#x", regex(8192), regex(0))
	}
}

func TestSplitIDs(t *testing.T) {
	t.Parallel()
	// Made with another implementation of version 5 UUIDs.
	got := split(&Route{ID: "11111111-1111-4111-8111-000000001001", Paths: []string{"/ab", "~/x", "/cd", "/abc", "~/y"}})
	want := []subroute{
		{"84fab1d9-75ce-5862-895f-85e1cc0da56a", []string{"/ab", "/cd"}},
		{"75add33c-56d2-51ff-a932-d561f2b5e0fb", []string{"~/x", "~/y"}},
		{"6bf684fe-35c6-55d2-9f81-6e740f3f3893", []string{"/abc"}},
	}
	if len(got) != len(want) {
		t.Fatalf("split = %v, want %v", got, want)
	}
	for i := range want {
		if got[i].rank != want[i].rank || !slices.Equal(got[i].paths, want[i].paths) {
			t.Errorf("split[%d] = %v, want %v", i, got[i], want[i])
		}
	}
}

func TestRecordedRequests(t *testing.T) {
	t.Parallel()
	var file struct {
		Routes   []jsonRoute `json:"routes"`
		Requests []struct {
			Name    string            `json:"name"`
			Method  string            `json:"method"`
			Path    string            `json:"path"`
			Headers map[string]string `json:"headers"`
			Status  int               `json:"status"`
			Route   string            `json:"route"`
		} `json:"requests"`
	}
	load(t, "recorded.json", &file)
	var changes []Change[string]
	for _, r := range file.Routes {
		changes = append(changes, Change[string]{ID: r.ID, Route: r.route(), Value: r.Name})
	}
	r, err := (*Router[string])(nil).Apply(changes)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, q := range file.Requests {
		want := q.Route
		switch {
		case q.Status == 400:
			continue // Kong's parser refuses the request before its router sees it
		case q.Name == "route 21 /x H.TEST":
			want = "r5" // our difference: hosts do not regard case
		}
		req := &Request{Method: q.Method, Host: "gw.test", Port: 8080, Path: NormalizePath(q.Path), Header: &plugin.Header{}}
		for n, v := range q.Headers {
			if n == "Host" {
				req.Host, _, _ = strings.Cut(v, ":")
				if _, p, ok := strings.Cut(v, ":"); ok {
					n, _ := strconv.Atoi(p)
					req.Port = uint16(n)
				}
				continue
			}
			req.Header.Append(n, v)
		}
		var m Match[string]
		r.Match(req, &m)
		checked++
		if m.Value != want {
			t.Errorf("%s: Match(%s %s%s) = %q, want %q", q.Name, q.Method, req.Host, req.Path, m.Value, want)
		}
	}
	if checked != 34 {
		t.Errorf("%d requests were checked, want 34", checked)
	}
}

// TestIncrementalEqualsReference makes random edits, in batches, and after each compares the
// router with the reference, and with a router built at once.
func TestIncrementalEqualsReference(t *testing.T) {
	t.Parallel()
	for seed := range 40 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewSource(int64(seed)))
			var r *Router[string]
			ref := reference{map[string]*Route{}}
			for range 25 {
				changes := randomEdits(rng, ref)
				next, err := r.Apply(changes)
				if err != nil {
					t.Fatal(err)
				}
				r = next
				var all []Change[string]
				for id, route := range ref.routes {
					all = append(all, Change[string]{id, route, id})
				}
				full, err := (*Router[string])(nil).Apply(all)
				if err != nil {
					t.Fatal(err)
				}
				if r.Len() != len(ref.routes) || full.Len() != r.Len() {
					t.Fatalf("Len = %d and %d, want %d", r.Len(), full.Len(), len(ref.routes))
				}
				rules := ref.rules()
				for range 60 {
					q := randomRequest(rng)
					checkMatch(t, "incremental", r, rules, q)
					checkMatch(t, "full", full, rules, q)
				}
			}
			var none []Change[string]
			for id := range ref.routes {
				none = append(none, Change[string]{ID: id})
			}
			r, err := r.Apply(none)
			if err != nil {
				t.Fatal(err)
			}
			if r.any != nil || r.exact.Len()+r.suffix.Len()+r.prefix.Len()+r.routes.Len() != 0 {
				t.Error("a router whose routes are all removed keeps something")
			}
		})
	}
}

func randomEdits(rng *rand.Rand, ref reference) []Change[string] {
	var changes []Change[string]
	for range 1 + rng.Intn(4) {
		id := id(rng.Intn(40))
		switch old := ref.routes[id]; {
		case rng.Intn(4) == 0:
			delete(ref.routes, id)
			changes = append(changes, Change[string]{ID: id})
		case old != nil && rng.Intn(4) == 0:
			changes = append(changes, Change[string]{id, old, "another value"}, Change[string]{id, old, id})
		default:
			ref.routes[id] = randomRoute(rng, id)
			changes = append(changes, Change[string]{id, ref.routes[id], id})
		}
	}
	return changes
}

func checkMatch(t *testing.T, what string, r *Router[string], ref refRules, q *Request) {
	t.Helper()
	wantID, wantPrefix, wantGroups := ref.match(q)
	var m Match[string]
	ok := r.Match(q, &m)
	if ok != (wantID != "") || m.Value != wantID || m.Prefix != wantPrefix || !slices.Equal(m.CaptureValues, wantGroups) {
		t.Fatalf("%s: Match(%+v) = %q %q %q, want %q %q %q\nof %+v", what, *q, m.Value, m.Prefix, m.CaptureValues,
			wantID, wantPrefix, wantGroups, ref)
	}
}

func TestSwapOfValues(t *testing.T) {
	t.Parallel()
	changes := mixedRoutes(400)
	for i := range 400 {
		r := &Route{ID: id(1000 + i), Paths: []string{fmt.Sprintf(`~/(\w+)/item%d/(\d+)$`, i), "/b", "/cc"}, Hosts: []string{"q.com:80", "q.com:81", "*.q.com"}}
		changes = append(changes, Change[int]{r.ID, r, i})
	}
	r := mustApply(t, nil, changes...)
	swapped := make([]Change[int], len(changes))
	for i, c := range changes {
		swapped[i] = Change[int]{c.ID, c.Route, -1 - i}
	}
	next := mustApply(t, r, swapped...)
	values := func(r *Router[int]) map[string]int {
		out := map[string]int{}
		for id, c := range r.routes.All() {
			c.each(func(h hostKey, key string, x cand[int]) {
				n := r.any
				switch h.kind {
				case exactHost:
					n, _ = r.exact.Get(h.name)
				case suffixHost:
					n, _ = r.suffix.Get(h.name)
				}
				if !n.holds(key, x) {
					t.Errorf("the place of %+v at %v %s is lost", c.route, h, key)
				}
				out[id] = x.rule.value
			})
		}
		return out
	}
	was, is := values(r), values(next)
	for i, c := range changes {
		if was[c.ID] != c.Value || is[c.ID] != -1-i {
			t.Errorf("values of %s = %d and %d, want %d and %d", c.ID, was[c.ID], is[c.ID], c.Value, -1-i)
		}
	}
}

// holds reports whether x itself stands at key.
func (n *node[T]) holds(key string, x cand[T]) bool {
	if n == nil || !strings.HasPrefix(key, n.text) {
		return false
	}
	if key = key[len(n.text):]; key != "" {
		i, ok := n.kid(key[0])
		return ok && n.kids[i].holds(key, x)
	}
	list := slices.Clone(n.plain)
	if n.regex != nil {
		list = append(list, n.regex.always...)
		for _, b := range n.regex.byGram.All() {
			list = append(list, b...)
		}
	}
	return slices.ContainsFunc(list, func(c cand[T]) bool { return c.rule == x.rule && c.port == x.port && c.order == x.order })
}

// TestManyRegexes has enough regexes at one node for the table of grams, and edits them.
func TestManyRegexes(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewSource(3))
	ref := reference{map[string]*Route{}}
	var r *Router[string]
	for round := range 60 {
		var changes []Change[string]
		for range 20 {
			n := rng.Intn(600)
			if rng.Intn(3) == 0 {
				delete(ref.routes, id(n))
				changes = append(changes, Change[string]{ID: id(n)})
				continue
			}
			shape := []string{`~/(\w+)/item%d/x$`, `~/(?i)[a-z]+/Thing%d`, `~/.*%d`, `~/(a|b)/%d/foo/(\d+)`}[n%4]
			ref.routes[id(n)] = &Route{ID: id(n), Paths: []string{fmt.Sprintf(shape, n)}}
			changes = append(changes, Change[string]{id(n), ref.routes[id(n)], id(n)})
		}
		next, err := r.Apply(changes)
		if err != nil {
			t.Fatal(err)
		}
		r = next
		if round%10 != 9 {
			continue
		}
		rules := ref.rules()
		for range 200 {
			n := rng.Intn(600)
			q := &Request{Path: fmt.Sprintf([]string{"/u/item%d/x", "/u/THING%d", "/none/%d", "/b/%d/foo/12"}[n%4], n)}
			checkMatch(t, "many", r, rules, q)
		}
	}
	if r.any.kids != nil || r.any.regex.byGram.Len() < 50 {
		t.Errorf("the regexes do not stand together: the test does not test what it should")
	}
}

// TestRegexesToldApartByFoldedText has regexes whose only telling text begins before the node
// at which they stand, or holds a letter that has a third case ("K" and the Kelvin sign).
func TestRegexesToldApartByFoldedText(t *testing.T) {
	t.Parallel()
	ref := reference{map[string]*Route{}}
	var changes []Change[string]
	for i := range 52 {
		letter := string(rune('a' + i/2))
		r := &Route{ID: id(i), Paths: []string{[]string{"~/x(?i)y", "~/w(?i)ook"}[i%2] + letter}}
		ref.routes[r.ID] = r
		changes = append(changes, Change[string]{r.ID, r, r.ID})
	}
	r := mustApply(t, nil, changes...)
	rules := ref.rules()
	for i := range 26 {
		letter := string(rune('A' + i))
		for _, path := range []string{"/xY", "/xy", "/wook", "/wOOK", "/woo\u212a"} {
			q := &Request{Path: path + letter}
			if id, _, _ := rules.match(q); id == "" {
				t.Fatalf("nothing is meant to match %q", q.Path)
			}
			checkMatch(t, "folded", r, rules, q)
		}
	}
}

func TestApplyKeepsTheOldRouter(t *testing.T) {
	t.Parallel()
	a, err := (*Router[int])(nil).Apply([]Change[int]{{"1", &Route{ID: "1", Paths: []string{"/a"}}, 1}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.Apply([]Change[int]{{ID: "1"}, {"2", &Route{ID: "2", Paths: []string{"/ab"}}, 2}})
	if err != nil {
		t.Fatal(err)
	}
	var m Match[int]
	if !a.Match(&Request{Path: "/ab"}, &m) || m.Value != 1 || m.Prefix != "/a" {
		t.Errorf("the old router's Match = %+v, want 1 by /a", m)
	}
	if !b.Match(&Request{Path: "/ab"}, &m) || m.Value != 2 || m.Prefix != "/ab" {
		t.Errorf("the new router's Match = %+v, want 2 by /ab", m)
	}
}

func TestApplyRefusesWhatCannotBeCompiled(t *testing.T) {
	t.Parallel()
	good, err := (*Router[int])(nil).Apply([]Change[int]{{"1", &Route{ID: "1"}, 1}})
	if err != nil {
		t.Fatal(err)
	}
	for want, r := range map[string]*Route{
		`compile route 9: paths "~/(": invalid regex: missing closing )`:                                    {Paths: []string{"/a", "~/("}},
		`compile route 9: paths "~/)|(": invalid regex: unexpected )`:                                       {Paths: []string{"~/)|("}},
		`compile route 9: paths "~/(?=a)": invalid regex: invalid or unsupported Perl syntax`:               {Paths: []string{"~/(?=a)"}},
		`compile route 9: hosts "a.*.com": invalid wildcard: must be placed at leftmost or rightmost label`: {Hosts: []string{"a.*.com"}},
		`compile route 9: hosts "*": invalid wildcard: must be placed at leftmost or rightmost label`:       {Hosts: []string{"*"}},
		`compile route 9: hosts "a.com:99999": invalid port number`:                                         {Hosts: []string{"a.com:99999"}},
		`compile route 9: snis "": must not be empty`:                                                       {SNIs: []string{""}},
		`compile route 9: headers "X-A: ~*[": invalid regex: missing closing ]`:                             {Headers: map[string][]string{"X-A": {"~*["}}},
	} {
		r.ID = "9"
		next, err := good.Apply([]Change[int]{{ID: "1"}, {"9", r, 9}})
		var e *RouteError
		if next != nil || !errors.As(err, &e) || err.Error() != want || e.ID != "9" {
			t.Errorf("Apply(%+v) = %v, want %s", r, err, want)
		}
	}
	if !good.Match(&Request{}, &Match[int]{}) {
		t.Error("a refused Apply changed the router")
	}
}

func TestStreamRoutesAreLeftOut(t *testing.T) {
	t.Parallel()
	r, err := (*Router[int])(nil).Apply([]Change[int]{{"1", &Route{ID: "1", Protocols: []string{"tls"}, SNIs: []string{"a.com"}}, 1}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Match(&Request{Path: "/", TLS: true, SNI: "a.com"}, &Match[int]{}) {
		t.Error("a route for tls matched an HTTP request")
	}
}

func TestNormalizePath(t *testing.T) {
	t.Parallel()
	var recorded [][2]string
	load(t, "normalize.json", &recorded)
	if len(recorded) != 16 {
		t.Errorf("%d recorded paths, want 16", len(recorded))
	}
	ours := [][2]string{
		{"*", "*"}, {".", ""}, {"..", ""}, {"./a", "a"}, {"a/../b", "/b"}, {"/..", "/"}, {"/.", "/"}, {"//", "/"},
		{"/a/./", "/a/"}, {"/a/b/..", "/a/"}, {"/...", "/..."}, {"/a/..b", "/a/..b"}, {"/%2e%2E/x", "/x"},
		{"/%zz%", "/%zz%"}, {"/%%341", "/%%341"}, {"/%4%31", "/%4%31"}, {"/%20%3f%5B", "/ %3F%5B"}, {"/a%00", "/a\x00"},
	}
	for _, v := range append(recorded, ours...) {
		if got := NormalizePath(v[0]); got != v[1] {
			t.Errorf("NormalizePath(%q) = %q, want %q", v[0], got, v[1])
		}
	}
}

func FuzzNormalizePath(f *testing.F) {
	for _, s := range []string{"", "/", "/a/../b", "/%2e%2e/%2F", "//a//", "/%%341", "/%4%31", "./../x", "/a/.%2e/%c3%a9", "%", "/.a/..b/..."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		once := NormalizePath(path)
		if twice := NormalizePath(once); twice != once {
			t.Errorf("NormalizePath(%q) = %q, and of that %q", path, once, twice)
		}
		if strings.HasPrefix(path, "/") && !strings.HasPrefix(once, "/") {
			t.Errorf("NormalizePath(%q) = %q, which begins with no slash", path, once)
		}
		for _, bad := range []string{"//", "/./", "/../"} {
			if strings.Contains(once, bad) {
				t.Errorf("NormalizePath(%q) = %q, which has %q", path, once, bad)
			}
		}
	})
}

// FuzzMatch gives arbitrary routes and requests to the router and to the reference.
func FuzzMatch(f *testing.F) {
	f.Add("a.com", "/a", "GET", "~/a/(b|c)", "*.com", "x.a.com", "/a/b", "x-v", "1", int64(1), uint8(255))
	f.Add("a.*:80", "/a/b", "POST", "~/(?i)K(\\d*)", "b.com", "a.org", "/k12", "X_V", "~*^1", int64(-1), uint8(7))
	f.Add("", "", "", "~(", "*", "", "", "", "", int64(0), uint8(0))
	f.Fuzz(func(t *testing.T, host, plain, method, regex, host2, qhost, qpath, hname, hvalue string, rp int64, use uint8) {
		a := &Route{ID: id(1), RegexPriority: rp}
		b := &Route{ID: id(2), Paths: []string{regex, "/"}, Hosts: []string{host2, "z.com"}}
		c := &Route{ID: id(3), Paths: []string{plain, "/ab", "/cd"}, Methods: []string{method}}
		if use&1 != 0 {
			a.Hosts = []string{host}
		}
		if use&2 != 0 {
			a.Paths = []string{plain, regex}
		}
		if use&4 != 0 {
			a.Headers = map[string][]string{hname: {hvalue}}
		}
		if use&8 != 0 {
			b.Hosts = nil
		}
		ref := reference{map[string]*Route{}}
		var r *Router[string]
		for _, route := range []*Route{a, b, c} {
			if Check(route) != nil || !ascii(route) {
				continue
			}
			next, err := r.Apply([]Change[string]{{route.ID, route, route.ID}})
			if err != nil {
				t.Fatalf("Check passes %+v, Apply says %v", route, err)
			}
			r = next
			ref.routes[route.ID] = route
		}
		q := &Request{Method: method, Host: qhost, Port: 80, Path: qpath, Header: &plugin.Header{}}
		q.Header.Append(hname, strings.TrimPrefix(hvalue, "~*^"))
		if qhost == strings.ToLower(qhost) && hasOnlyASCII(qhost+hname+hvalue) {
			checkMatch(t, "fuzz", r, ref.rules(), q)
		} else {
			r.Match(q, &Match[string]{}) // must not panic
		}
	})
}

// ascii reports whether the reference, whose tests of names are Unicode's, can judge r. Ports
// are left to the other tests: the reference reads them less strictly.
func ascii(r *Route) bool {
	text := strings.Join(r.Hosts, "")
	for n, v := range r.Headers {
		text += n + strings.Join(v, "")
	}
	return hasOnlyASCII(text) && !strings.Contains(text, ":")
}

func hasOnlyASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
