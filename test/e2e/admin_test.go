package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sekifuda/sekifuda/test/stack"
)

// tally counts the statuses of n writers that work at once, each with a connection of its own.
func tally(t *testing.T, n int, write func(i int, do func(method, path, body string) int)) map[int]int {
	t.Helper()
	var mu sync.Mutex
	counts := map[int]int{}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			write(i, func(method, url, body string) int {
				code, _, err := stack.Try(method, url, body)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				counts[code]++
				return code
			})
		})
	}
	wg.Wait()
	return counts
}

// TestStorms has many writers at the same few entities: each gets the answer that it would get
// alone, and none a 500.
func TestStorms(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, p *stack.Process) {
		admin := p.URLs["admin"]
		const writers, names = 12, 10
		got := tally(t, writers, func(_ int, do func(string, string, string) int) {
			for k := range names {
				do(http.MethodPost, admin+"/services", fmt.Sprintf(`{"name":"same%d","host":"h"}`, k))
			}
		})
		if got[201] != names || got[409] != (writers-1)*names {
			t.Errorf("POST of the same names: %v", got)
		}
		for _, method := range []string{http.MethodPut, http.MethodPatch} {
			got = tally(t, writers, func(i int, do func(string, string, string) int) {
				for k := range names {
					do(method, fmt.Sprintf("%s/services/storm%d", admin, k%3), fmt.Sprintf(`{"host":"h%d"}`, i))
				}
			})
			if got[200] != writers*names {
				t.Errorf("%s of the same names: %v", method, got)
			}
		}
		got = tally(t, 6, func(i int, do func(string, string, string) int) {
			for range 3 {
				do(http.MethodPost, admin+"/config", fmt.Sprintf(`{"_format_version":"3.0","services":[{"name":"n%d","host":"h"},{"name":"both","host":"h%d"}]}`, i, i))
			}
		})
		if got[201] != 18 {
			t.Errorf("POST /config: %v", got)
		}
		var list struct{ Data []any }
		_, out := call(t, http.MethodGet, admin+"/services", "")
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Data) != 2 {
			t.Errorf("after the last load there are %d services, want the 2 of one file", len(list.Data))
		}
	})
}

// TestCertificatesByName puts certificates by their server names.
func TestCertificatesByName(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	admin := p.URLs["admin"]
	cert, key := selfSigned(t, "api.example")
	for _, step := range []struct {
		method, path string
		snis         any // nil: not said
		code         int
		want         string
	}{
		{"PUT", "/certificates/n1.test", []string{"n2.test"}, 200, `["n1.test","n2.test"]`},
		{"PUT", "/certificates/n1.test", []string{"n1.test", "n3.test"}, 200, `["n1.test","n3.test"]`},
		{"GET", "/certificates/n2.test", nil, 404, ""},
		{"PATCH", "/certificates/n3.test", nil, 200, `["n1.test","n3.test"]`},
		{"PATCH", "/certificates/none.test", nil, 404, ""},
		{"DELETE", "/certificates/none.test", nil, 404, ""},
		{"PUT", "/certificates/n1.test", nil, 200, `[]`},
		{"GET", "/certificates/n1.test", nil, 404, ""},
	} {
		body := map[string]any{"cert": cert, "key": key}
		if step.snis != nil {
			body["snis"] = step.snis
		}
		raw, _ := json.Marshal(body)
		code, out := call(t, step.method, admin+step.path, string(raw))
		if code != step.code || step.want != "" && !strings.Contains(out, `"snis":`+step.want) || code == 404 && out != `{"message":"SNI not found"}` {
			t.Errorf("%s %s %v: %d %s, want %d %s", step.method, step.path, step.snis, code, out, step.code, step.want)
		}
	}
}

// TestAdminMarks has --headers take the marks of the Admin API away too.
func TestAdminMarks(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir(), "--headers", "off")
	res, err := http.Get(p.URLs["admin"] + "/services")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if h := res.Header; h.Get("Server") != "" || h.Get("X-Kong-Admin-Latency") != "" {
		t.Errorf("with headers = off: %v", h)
	}
}

// TestPutByNameWithID puts entities by name whose bodies bring an id: a new one gets it, one
// that exists keeps its own, and the id of another is nobody's to take.
func TestPutByNameWithID(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, p *stack.Process) {
		const first, second = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
		for _, step := range []struct {
			name, id string
			code     int
			want     string
		}{
			{"a", first, 200, `"id":"` + first + `"`},
			{"a", second, 200, `"id":"` + first + `"`},
			{"b", first, 400, `"name":"primary key violation"`},
			{"a", "x", 400, `schema violation (id: expected a valid UUID)`},
			{"b", second, 200, `"id":"` + second + `"`},
		} {
			code, out := call(t, http.MethodPut, p.URLs["admin"]+"/services/"+step.name, `{"host":"h","id":"`+step.id+`"}`)
			if code != step.code || !strings.Contains(out, step.want) {
				t.Errorf("%s with %s: %d %s, want %d %s", step.name, step.id, code, out, step.code, step.want)
			}
		}
	})
}

// TestOwnerIsMadeInOneRevision makes a service by the route that is to have it.
func TestOwnerIsMadeInOneRevision(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	admin := p.URLs["admin"]
	put(t, admin+"/routes/r", `{"paths":["/"]}`)
	before := revision(t, admin)
	if code, out := call(t, http.MethodPut, admin+"/routes/r/service", `{"host":1}`); code != 400 {
		t.Errorf("%d %s", code, out)
	}
	put(t, admin+"/routes/r/service", `{"name":"made","host":"h"}`)
	if got := revision(t, admin); got != before+1 {
		t.Errorf("revision %d, want %d", got, before+1)
	}
	if code, out := call(t, http.MethodGet, admin+"/routes/r/service", ""); code != 200 || !strings.Contains(out, `"made"`) {
		t.Errorf("%d %s", code, out)
	}
}

// TestOddRequests sends what no tool means, and gets Kong's answer or a better one.
func TestOddRequests(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	admin := p.URLs["admin"]
	nest := func(open, shut string, n int) string { return strings.Repeat(open, n) + "1" + strings.Repeat(shut, n) }
	for _, c := range []struct {
		name, method, path, body string
		code                     int
		says                     string
	}{
		{"deep array", "POST", "/services", `{"host":` + nest("[", "]", 20000) + "}", 400, ""},
		{"deep object", "POST", "/services", `{"host":` + nest(`{"a":`, "}", 9000) + "}", 400, ""},
		{"deep file", "POST", "/config", `{"_format_version":"3.0","services":` + nest("[", "]", 9000) + "}", 400, ""},
		{"10 MB", "POST", "/services", `{"host":"` + strings.Repeat("a", 10<<20) + `"}`, 413, ""},
		{"a tag of megabytes", "POST", "/services", `{"host":"h","tags":["` + strings.Repeat("a", 9<<20) + `"]}`, 413, ""},
		{"too many arguments", "GET", "/services?" + strings.Repeat("a=1&", 1001), "", 400, "Too many arguments"},
		{"no UTF-8 in a tag", "GET", "/tags/%FF", "", 400, "invalid utf-8"},
		{"no UTF-8 in a filter", "GET", "/services?tags=%FF", "", 400, "invalid option (tags: invalid filter syntax)"},
		{"no such CA certificate", "POST", "/services", `{"host":"h","protocol":"https","ca_certificates":["0ae7f81d-d306-48a2-8892-5917162fe4eb"]}`, 400, "does not reference an existing 'ca_certificates' entity"},
		{"no such CA certificate in a file", "POST", "/config", `{"_format_version":"3.0","services":[{"host":"h","protocol":"https","ca_certificates":["0ae7f81d-d306-48a2-8892-5917162fe4eb"]}]}`, 400, "no such entry in 'ca_certificates'"},
		{"no vault", "GET", "/schemas/vaults/none", "", 404, "No vault named 'none'"},
		{"a vault", "GET", "/schemas/vaults/env", "", 200, `"prefix"`},
		{"a vault without name", "POST", "/schemas/vaults/validate", `{}`, 400, "schema violation (name: required field missing)"},
	} {
		code, out := call(t, c.method, admin+c.path, c.body)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%s: %d %.300s, want %d %s", c.name, code, out, c.code, c.says)
		}
	}
	put(t, admin+"/services/a", `{"host":"h","tags":["a b"]}`)
	put(t, admin+"/services/b", `{"host":"h","tags":["a b"]}`)
	if _, out := call(t, http.MethodGet, admin+"/services?tags=a%20b&size=1", ""); !strings.Contains(out, `&tags=a%20b&size=1"`) {
		t.Errorf("next of a filter with a space: %s", out)
	}
}

// TestSpecs asks what Kong 3.9.1's own specs and the tests of its Go client ask.
func TestSpecs(t *testing.T) {
	t.Parallel()
	const id = "592e1c2b-6678-45aa-80f9-78cfb29f5e31"
	p := run(t, t.TempDir(), "--node-id", id)
	admin := p.URLs["admin"]
	put(t, admin+"/upstreams/u", `{}`)
	for _, c := range []struct {
		name, method, path, body string
		code                     int
		says                     string
	}{
		{"what is listened on", "GET", "/", "", 200, `"proxy_listeners":[{"backlog=%d+":false,`},
		{"no stream listeners", "GET", "/", "", 200, `"stream_listeners":[]`},
		{"the id that was given", "GET", "/", "", 200, `"node_id":"` + id + `"`},
		{"memory of the second kind", "GET", "/status", "", 200, `"kong_db_cache":{"allocated_slabs":"`},
		{"the schema of workspaces", "GET", "/schemas/workspaces", "", 200, `"not_one_of":`},
		{"the schema of tags", "GET", "/schemas/tags", "", 200, `"entity_checks":[]`},
		{"the schema of nodes", "GET", "/schemas/clustering_data_planes", "", 200, `"sync_status"`},
		{"no schema", "GET", "/schemas/none", "", 404, "No entity named 'none'"},
		{"no target", "POST", "/upstreams/u/targets", `{"target":"some invalid host name","weight":-1}`, 400,
			`"fields":{"target":"Invalid target; not a valid hostname or ip address"}`},
		{"no target, judged alone", "POST", "/schemas/targets/validate", `{"target":"some invalid host name","upstream":{"id":"` + id + `"}}`, 400,
			"Invalid target ('some invalid host name'); not a valid hostname or ip address"},
		{"a metric without a kind", "POST", "/schemas/plugins/validate", `{"name":"statsd","config":{"metrics":[{"name":"request_count","sample_rate":1}]}}`, 400,
			`"stat_type":"field required for entity check"`},
		{"a metric without a kind, to Datadog", "POST", "/schemas/plugins/validate", `{"name":"datadog","config":{"metrics":[{"name":"request_count","sample_rate":1}]}}`, 400,
			`"stat_type":"field required for entity check"`},
		{"a tag twice", "POST", "/schemas/plugins/validate", `{"name":"zipkin","config":{"static_tags":[{"name":"foo","value":"a"},{"name":"foo","value":"b"}]}}`, 400,
			`"static_tags":"repeated tags are not allowed: foo"`},
		{"a target", "POST", "/upstreams/u/targets", `{"target":"a.test"}`, 201, `"target":"a.test:8000"`},
	} {
		code, out := call(t, c.method, admin+c.path, c.body)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%s: %d %.900s, want %d %s", c.name, code, out, c.code, c.says)
		}
	}
	for path, want := range map[string]string{
		"/status": `"database":{"reachable":true}`, "/status?scale=-1": `{"message":"scale must be equal or greater than 0"}`, "/none": `{"message":"Not found"}`,
	} {
		if _, out := call(t, http.MethodGet, p.URLs["status"]+path, ""); !strings.Contains(out, want) {
			t.Errorf("the status listener's %s: %s, want %s", path, out, want)
		}
	}
	if _, out := call(t, http.MethodGet, admin+"/status", ""); strings.Contains(out, "configuration_hash") {
		t.Errorf("/status of a gateway with a database: %s, want no configuration_hash", out)
	}
}

// TestExpiredTakeNoPlace has pages full, although some of their keys have expired.
func TestExpiredTakeNoPlace(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, p *stack.Process) {
		admin := p.URLs["admin"]
		put(t, admin+"/consumers/c", `{}`)
		id := func(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }
		for n := range 6 {
			ttl := ""
			if n < 3 {
				ttl = `,"ttl":1`
			}
			put(t, admin+"/consumers/c/key-auth/"+id(n), fmt.Sprintf(`{"key":"k%d"%s}`, n, ttl))
		}
		stack.Eventually(t, func() error {
			if code, out := call(t, http.MethodGet, admin+"/key-auths/"+id(2), ""); code != http.StatusNotFound {
				return fmt.Errorf("a key of one second: %d %s", code, out)
			}
			return nil
		})
		for _, path := range []string{"/key-auths?size=2", "/consumers/c/key-auth?size=2"} {
			code, out := call(t, http.MethodGet, admin+path, "")
			var page struct {
				Data   []struct{ ID string }
				Offset string
			}
			if err := json.Unmarshal([]byte(out), &page); err != nil || code != http.StatusOK {
				t.Fatalf("%s: %d %s (%v)", path, code, out, err)
			}
			if len(page.Data) != 2 || page.Data[0].ID != id(3) || page.Data[1].ID != id(4) || page.Offset == "" {
				t.Errorf("%s: %s, want the fourth and the fifth key and an offset", path, out)
			}
		}
	})
}
