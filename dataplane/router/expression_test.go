package router

import (
	"fmt"
	"math/rand"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/model/atc"
	"github.com/sekifuda/sekifuda/plugin"
)

func expressionRoute(n int, expression string) *Route {
	return &Route{ID: id(n), Protocols: []string{"http", "https"}, Expression: expression}
}

func routerOf(t testing.TB, routes ...*Route) *Router[string] {
	t.Helper()
	var changes []Change[string]
	for _, r := range routes {
		changes = append(changes, Change[string]{r.ID, r, r.ID})
	}
	return mustApply(t, nil, changes...)
}

// ask is a request from its parts: "GET a.com/p/q?x=1", with header lines.
func ask(line string, header ...string) *Request {
	method, rest, _ := strings.Cut(line, " ")
	host, path, _ := strings.Cut(rest, "/")
	path, query, _ := strings.Cut(path, "?")
	q := &Request{Method: method, Host: host, Port: 80, Path: "/" + path, Query: query, Header: &plugin.Header{},
		Source: netip.MustParseAddrPort("10.1.2.3:4567"), Destination: netip.MustParseAddr("10.0.0.1")}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		q.Header.Append(name, value)
	}
	return q
}

func TestExpressionFields(t *testing.T) {
	t.Parallel()
	secure := ask("GET a.com/")
	secure.TLS, secure.SNI = true, "sni.a.com"
	for _, c := range []struct {
		expression string
		yes, no    *Request
	}{
		{`http.method == "GET"`, ask("GET a.com/"), ask("POST a.com/")},
		{`http.host == "a.com"`, ask("GET a.com/"), ask("GET b.com/")},
		{`http.host == "a.com"`, ask("GET a.com/"), ask("GET A.com/")},
		{`lower(http.host) == "a.com"`, ask("GET A.Com/"), ask("GET b.com/")},
		{`http.host =^ ".a.com"`, ask("GET x.y.a.com/"), ask("GET a.com/")},
		{`http.host =^ "a.com"`, ask("GET xa.com/"), ask("GET a.org/")},
		{`http.host ^= "a."`, ask("GET a.org/"), ask("GET b.a.org/")},
		{`http.host != "a.com"`, ask("GET b.com/"), ask("GET /")},
		{`http.path == "/a"`, ask("GET a.com/a"), ask("GET a.com/a/")},
		{`http.path ^= "/a"`, ask("GET a.com/ab"), ask("GET a.com/b")},
		{`http.path contains "/b/"`, ask("GET a.com/a/b/c"), ask("GET a.com/b")},
		{`lower(http.path) ^= "/a"`, ask("GET a.com/A"), ask("GET a.com/b")},
		{`http.path ~ r#"^/a/\d+$"#`, ask("GET a.com/a/12"), ask("GET a.com/a/x")},
		{`http.path ~ "b"`, ask("GET a.com/abc"), ask("GET a.com/a")},
		{`http.path.segments.0 == "a"`, ask("GET a.com/a/b"), ask("GET a.com/b/a")},
		{`http.path.segments.1_2 == "b/c"`, ask("GET a.com/a/b/c/d"), ask("GET a.com/a/b")},
		{`http.path.segments.0_1 == "a/b"`, ask("GET a.com/a/b/"), ask("GET a.com/a")},
		{`http.path.segments.1 != "x"`, ask("GET a.com/a/b"), ask("GET a.com/a")},
		{`http.path.segments.len == 2`, ask("GET a.com/a/b/"), ask("GET a.com/")},
		{`http.path.segments.len < 1`, ask("GET a.com/"), ask("GET a.com/a")},
		{`http.headers.x_v == "1"`, ask("GET a/", "X-V: 1"), ask("GET a/")},
		{`http.headers.x_v == "1"`, ask("GET a/", "X_v: 1", "X-V: 1"), ask("GET a/", "X-V: 1", "X-V: 2")},
		{`any(http.headers.x_v) == "1"`, ask("GET a/", "X-V: 2", "X-V: 1"), ask("GET a/", "X-V: 2")},
		{`any(lower(http.headers.x_v)) ~ "^a+$"`, ask("GET a/", "X-V: b", "X-V: AA"), ask("GET a/", "X-V: b")},
		{`http.headers.x_v != "1"`, ask("GET a/", "X-V: 2"), ask("GET a/")},
		{`http.queries.q == "a b"`, ask("GET a/?q=a+b"), ask("GET a/?Q=a+b")},
		{`http.queries.q == "é"`, ask("GET a/?%71=%c3%A9&r"), ask("GET a/?q=%c3")},
		{`http.queries.q == ""`, ask("GET a/?q"), ask("GET a/?r")},
		{`any(lower(http.queries.q)) == "x"`, ask("GET a/?q=1&q=%58"), ask("GET a/?q=1")},
		{`http.queries.q == "1"`, ask("GET a/?q=1&q=1"), ask("GET a/?q=1&q=2")},
		{`tls.sni == "sni.a.com"`, secure, ask("GET a.com/")},
		{`net.protocol == "https"`, secure, ask("GET a.com/")},
		{`net.protocol == "http"`, ask("GET a.com/"), secure},
		{`net.port == 80`, ask("GET a.com/"), nil},
		{`net.dst.port > 80 || net.dst.port < 80 || !(net.dst.port >= 80 && net.dst.port <= 80 && net.dst.port != 81)`, nil, ask("GET a.com/")},
		{`net.src.port == 4567`, ask("GET a.com/"), nil},
		{`net.src.ip in 10.1.0.0/16`, ask("GET a.com/"), nil},
		{`net.src.ip not in 10.1.0.0/16`, nil, ask("GET a.com/")},
		{`net.src.ip == 10.1.2.3 && net.dst.ip != 10.1.2.3`, ask("GET a.com/"), nil},
		{`!(http.path ^= "/a") && http.host == "a.com"`, ask("GET a.com/b"), ask("GET a.com/a")},
		// || binds tighter: a.com alone is not enough.
		{`http.host == "a.com" && http.path == "/x" || http.path == "/y"`, ask("GET a.com/y"), ask("GET b.com/y")},
		{`http.host == "a.com" || http.host == "b.com" || http.path ^= "/z"`, ask("GET c.com/z"), ask("GET c.com/y")},
	} {
		r := routerOf(t, expressionRoute(1, c.expression))
		var m Match[string]
		if c.yes != nil && !r.Match(c.yes, &m) {
			t.Errorf("%s does not match %s %s%s?%s", c.expression, c.yes.Method, c.yes.Host, c.yes.Path, c.yes.Query)
		}
		if c.no != nil && r.Match(c.no, &m) {
			t.Errorf("%s matches %s %s%s?%s", c.expression, c.no.Method, c.no.Host, c.no.Path, c.no.Query)
		}
	}
}

func TestExpressionOrder(t *testing.T) {
	t.Parallel()
	low, high, equal := expressionRoute(1, `http.path ^= "/"`), expressionRoute(2, `http.path ^= "/a"`), expressionRoute(3, `http.path ^= "/a"`)
	high.Priority, equal.Priority = 7, 7
	plain := &Route{ID: id(4), Hosts: []string{"a.com"}, Paths: []string{"/a/b"}, Methods: []string{"GET"}, Headers: map[string][]string{"x": {"1"}}}
	r := routerOf(t, low, high, equal, plain)
	var m Match[string]
	for _, c := range []struct{ line, want string }{
		{"GET a.com/a/b", equal.ID}, // the larger id of two; an expression goes before all else
		{"GET a.com/b", low.ID},
	} {
		if r.Match(ask(c.line, "x: 1"), &m); m.Value != c.want {
			t.Errorf("Match(%s) = %s, want %s", c.line, m.Value, c.want)
		}
	}
}

func TestExpressionMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expression, line, prefix string
		names, values            []string
	}{
		{`http.path ^= "/a"`, "GET a.com/a/b", "/a", nil, nil},
		{`http.path == "/a/b"`, "GET a.com/a/b", "/a/b", nil, nil},
		{`http.path contains "b"`, "GET a.com/a/b", "", nil, nil},
		{`http.path ~ r#"^/(?<x>\w)/(b)(c)?"#`, "GET a.com/a/b/d", "/a/b", []string{"x", "", ""}, []string{"a", "b", ""}},
		{`http.path ^= "/" && http.headers.x ~ "^(.)"`, "GET a.com/q", "/", []string{""}, []string{"h"}},
	} {
		r := routerOf(t, expressionRoute(1, c.expression))
		var m Match[string]
		if !r.Match(ask(c.line, "x: hello"), &m) {
			t.Fatalf("%s does not match %s", c.expression, c.line)
		}
		if m.Prefix != c.prefix || !slices.Equal(m.CaptureNames, c.names) || !slices.Equal(m.CaptureValues, c.values) {
			t.Errorf("%s: prefix %q, captures %q %q; want %q, %q %q", c.expression, m.Prefix, m.CaptureNames, m.CaptureValues, c.prefix, c.names, c.values)
		}
	}
}

// TestProtocolsOfExpressions: what has only "http" does not answer HTTPS; what has only
// "https" is found on a plain connection, to be told so.
func TestProtocolsOfExpressions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		protocols     []string
		plain, secure bool
	}{
		{[]string{"http"}, true, false}, {[]string{"https"}, true, true}, {[]string{"http", "https"}, true, true},
		{[]string{"grpc"}, true, false}, {[]string{"grpcs"}, true, true},
	} {
		for _, r := range []*Route{{Expression: `http.path ^= "/"`}, {Paths: []string{"/"}, Strict: true}} {
			r.ID, r.Protocols = id(1), c.protocols
			router := routerOf(t, r)
			var m Match[string]
			plain, secure := ask("GET a.com/"), ask("GET a.com/")
			secure.TLS = true
			if router.Match(plain, &m) != c.plain || router.Match(secure, &m) != c.secure {
				t.Errorf("%v (expression %q): plain %v, secure %v; want %v, %v", c.protocols, r.Expression, !c.plain, !c.secure, c.plain, c.secure)
			}
		}
	}
}

func TestExpressionRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`http.path`, `http.path == 1`, `http.path ~ "("`} {
		err := Check(expressionRoute(1, text))
		var re *RouteError
		if re, _ = err.(*RouteError); re == nil || re.Field != "expression" {
			t.Errorf("Check(%s) = %v", text, err)
		}
	}
	stream := expressionRoute(1, `http.path == "/"`)
	stream.Protocols = []string{"tcp"}
	if Check(stream) == nil {
		t.Error("a stream route with a path is accepted")
	}
}

// refExpression is the meaning of an expression said as simply as can be: fields are lists of
// texts, decoded beforehand.
func refExpression(e *atc.Expression, fields map[string][]string) bool {
	switch e.Logic {
	case atc.And:
		return refExpression(e.Left, fields) && refExpression(e.Right, fields)
	case atc.Or:
		return refExpression(e.Left, fields) || refExpression(e.Right, fields)
	case atc.Not:
		return !refExpression(e.Left, fields)
	}
	p, values := e.Predicate, fields[e.Predicate.Field]
	held := 0
	for _, v := range values {
		if p.Lower {
			v = strings.ToLower(v)
		}
		ok := false
		switch p.Operator {
		case atc.Equals:
			ok = v == p.Value.Text
		case atc.NotEquals:
			ok = v != p.Value.Text
		case atc.Prefix:
			ok = strings.HasPrefix(v, p.Value.Text)
		case atc.Postfix:
			ok = strings.HasSuffix(v, p.Value.Text)
		case atc.Contains:
			ok = strings.Contains(v, p.Value.Text)
		case atc.Regex:
			ok = p.Value.Regexp.MatchString(v)
		}
		if ok {
			held++
		}
	}
	return p.Any && held > 0 || !p.Any && held > 0 && held == len(values)
}

var (
	somePredicates = []string{
		`http.host == "a.com"`, `lower(http.host) == "a.com"`, `http.host =^ ".a.com"`, `http.host ^= "a."`, `http.host =^ "com"`,
		`http.path == "/a"`, `http.path ^= "/a"`, `http.path ^= "/a/b"`, `lower(http.path) ^= "/a"`, `http.path ~ "^/a/(b|c)"`,
		`http.path ~ "^/(?i)A"`, `http.path =^ "x"`, `http.path ~ "^"`, `http.method == "GET"`, `http.method != "GET"`,
		`any(http.queries.q) == "x"`, `http.queries.q != "x"`, `any(lower(http.queries.q)) contains "x"`,
		`any(http.headers.x_v) == "1"`, `lower(http.headers.x_v) ^= "t"`,
	}
	someQueries = []string{"", "q=x", "q=y&q=x", "q=%58", "Q=x", "r=1&q=a+x", "q"}
)

func randomExpression(rng *rand.Rand, depth int) string {
	if depth == 0 || rng.Intn(4) == 0 {
		return pick(rng, somePredicates)
	}
	a, b := randomExpression(rng, depth-1), randomExpression(rng, depth-1)
	switch rng.Intn(5) {
	case 0:
		return "!(" + a + ")"
	case 1, 2:
		return "(" + a + " || " + b + ")"
	}
	return "(" + a + " && " + b + ")"
}

// TestExpressionsAgreeWithReference holds the tables and the order against trying every
// expression in turn.
func TestExpressionsAgreeWithReference(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewSource(1))
	for range 200 {
		routes := make([]*Route, 1+rng.Intn(12))
		for i := range routes {
			routes[i] = expressionRoute(i, randomExpression(rng, 3))
			routes[i].Priority = uint64(rng.Intn(3))
		}
		r := routerOf(t, routes...)
		for range 50 {
			q := randomRequest(rng)
			q.Query = pick(rng, someQueries)
			want := refBest(routes, q)
			var m Match[string]
			r.Match(q, &m)
			if m.Value != want {
				t.Fatalf("Match(%+v) = %q, want %q of\n%s", q, m.Value, want, listed(routes))
			}
		}
	}
}

func listed(routes []*Route) string {
	var b strings.Builder
	for _, r := range routes {
		fmt.Fprintf(&b, "%s %d %s\n", r.ID, r.Priority, r.Expression)
	}
	return b.String()
}

func refBest(routes []*Route, q *Request) string {
	fields := map[string][]string{"http.path": {q.Path}, "http.method": {q.Method}}
	if q.Host != "" {
		fields["http.host"] = []string{q.Host}
	}
	for _, f := range q.Header.Fields() {
		name := "http.headers." + strings.ReplaceAll(strings.ToLower(f.Name), "-", "_")
		fields[name] = append(fields[name], f.Value)
	}
	query, _ := url.ParseQuery(q.Query)
	fields["http.queries.q"] = query["q"]
	var best *Route
	for _, r := range routes {
		e, err := atc.Compile(r.Expression, atc.HTTPFields)
		if err != nil {
			panic(err)
		}
		if refExpression(e, fields) && (best == nil || r.Priority > best.Priority || r.Priority == best.Priority && r.ID > best.ID) {
			best = r
		}
	}
	if best == nil {
		return ""
	}
	return best.ID
}

// TestExpressionsDoNotAllocate pins what a request costs: nothing, whatever is asked of it.
func TestExpressionsDoNotAllocate(t *testing.T) {
	r := routerOf(t, expressionRoute(1, `any(lower(http.queries.q)) == "a b" && lower(http.headers.x) == "y" && http.path.segments.0_1 == "a/b" && net.src.ip in 10.0.0.0/8 && http.path ^= "/a"`))
	q := ask("GET a.com/a/b/c?q=A%20B", "X: Y")
	q.Scratch = make([]byte, 0, 64)
	var m Match[string]
	if !r.Match(q, &m) {
		t.Fatal("no match")
	}
	if n := testing.AllocsPerRun(100, func() { r.Match(q, &m) }); n != 0 {
		t.Errorf("a match allocates %v times", n)
	}
	miss := ask("GET a.com/a/b/c?q=A%20C", "X: Y")
	miss.Scratch = make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { r.Match(miss, &m) }); n != 0 {
		t.Errorf("a miss allocates %v times", n)
	}
}

func BenchmarkMatchExpressions(b *testing.B) {
	for _, n := range []int{100, 10000} {
		changes := make([]Change[int], n)
		for i := range changes {
			r := expressionRoute(i, fmt.Sprintf(`http.host == "h%d.example.com" && http.path ^= "/api/v%d" && any(http.headers.x_ver) == "1"`, i/10, i%10))
			changes[i] = Change[int]{r.ID, r, i}
		}
		r := mustApply(b, nil, changes...)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			q := ask("GET h3.example.com/api/v7/x", "User-Agent: b", "X-Ver: 1")
			var m Match[int]
			b.ReportAllocs()
			for b.Loop() {
				if !r.Match(q, &m) {
					b.Fatal("no match")
				}
			}
		})
	}
}
