package responsetransformer

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t testing.TB, c *Config) plugin.ResponseFilter {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(plugin.ResponseFilter)
}

// answer sends an upstream's answer through the filter.
func answer(f plugin.ResponseFilter, body string, lines ...string) (*plugin.Exchange, string) {
	x := plugintest.Request{}.Exchange()
	plugintest.Answer(x, f, plugin.Next, 200, lines...)
	out := []byte(body)
	for _, edit := range x.Response.Rewrites() {
		out = edit(out)
	}
	return x, string(out)
}

func heads(h *plugin.Header) []string {
	var out []string
	for _, f := range h.Fields() {
		out = append(out, strings.ToLower(f.Name)+": "+f.Value)
	}
	slices.Sort(out)
	return out
}

const set = `{"p1":"v1","p2":"v2","n":1}`

// TestRecorded holds the configurations and answers of transcript 18 of a live Kong 3.9.1.
func TestRecorded(t *testing.T) {
	t.Parallel()
	rs1 := &Config{Add: &Config_Add{
		Headers: []string{"x-a:1", "x-a:2", "x-b:b:c"}, Json: []string{"p3:v3", "n3:5"}, JsonTypes: []string{"string", "number"},
	}}
	rs2 := &Config{Remove: &Config_Remove{Headers: []string{"x-upstream", "x-rm"}, Json: []string{"p1"}}}
	rs3 := &Config{Rename: &Config_Rename{Headers: []string{"x-upstream:x-down"}, Json: []string{"p1:pp"}}}
	rs4 := &Config{Replace: &Config_Replace{Headers: []string{"x-upstream:r", "x-none:z"}, Json: []string{"p1:r", "zz:r"}}}
	rs5 := &Config{Append: &Config_Append{Headers: []string{"x-upstream:app"}, Json: []string{"p1:app", "arr:x"}}}
	const isJSON, isText, length = "content-type: application/json", "content-type: text/plain", "content-length: 27"
	tests := []struct {
		name   string
		config *Config
		lines  []string
		body   string
		want   []string
		out    string
	}{
		{"rs1 echo", rs1, []string{isJSON, "content-length: 14", "x-upstream: echo"}, `{"status":200}`,
			[]string{isJSON, "x-a: 2", "x-b: b:c", "x-upstream: echo"}, `{"status":200,"n3":5,"p3":"v3"}`},
		{"rs1 gzip", rs1, []string{isText, "content-length: 3", "content-encoding: gzip"}, "\x1f\x8b\x08",
			[]string{"content-encoding: gzip", "content-length: 3", isText, "x-a: 2", "x-b: b:c"}, "\x1f\x8b\x08"},
		{"rs1 chunked", rs1, []string{isText}, "hello world", []string{isText, "x-a: 2", "x-b: b:c"}, "hello world"},
		{"rs2 echo", rs2, []string{isJSON, "x-upstream: echo"}, `{"status":200}`, []string{isJSON}, `{"status":200}`},
		{"rs2 text", rs2, []string{isText, length, "x-a: orig"}, set, []string{length, isText, "x-a: orig"}, set},
		{"rs2 json", rs2, []string{isJSON, length, "x-rm: 1"}, set, []string{isJSON}, `{"p2":"v2","n":1}`},
		{"rs3 echo", rs3, []string{isJSON, "x-upstream: echo"}, `{"status":200}`, []string{isJSON, "x-down: echo"}, `{"status":200}`},
		{"rs3 json", rs3, []string{isJSON, "x-a: orig"}, set, []string{isJSON, "x-a: orig"}, `{"pp":"v1","p2":"v2","n":1}`},
		{"rs4 json", rs4, []string{isJSON, length, "x-rm: 1", "x-upstream: u"}, set,
			[]string{isJSON, "x-rm: 1", "x-upstream: r"}, `{"p1":"r","p2":"v2","n":1}`},
		{"rs4 chunked", rs4, []string{isText}, "hello world", []string{isText}, "hello world"},
		{"rs5 json", rs5, []string{isJSON, "x-upstream: u"}, set,
			[]string{isJSON, "x-upstream: app", "x-upstream: u"}, `{"p1":["v1","app"],"p2":"v2","arr":["x"],"n":1}`},
		{"rs5 text", rs5, []string{isText, length}, set, []string{length, isText, "x-upstream: app"}, set},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x, out := answer(build(t, tt.config), tt.body, tt.lines...)
			if got := heads(&x.Response.Header); !slices.Equal(got, tt.want) {
				t.Errorf("head = %q, want %q", got, tt.want)
			}
			if out != tt.out && !sameJSON(out, tt.out) {
				t.Errorf("body = %s, want %s", out, tt.out)
			}
		})
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config *Config
		lines  []string
		want   []string
	}{
		{"remove names all lines and no value", &Config{Remove: &Config_Remove{Headers: []string{"X-A:v", "x-b"}}},
			[]string{"x-a: 1", "X-A: 2", "x-c: 3"}, []string{"x-c: 3"}},
		{"what is removed is not added", &Config{Remove: &Config_Remove{Headers: []string{"x-a"}}, Add: &Config_Add{Headers: []string{"x-a:2"}}},
			[]string{"x-a: 1"}, nil},
		{"add leaves what is there", &Config{Add: &Config_Add{Headers: []string{"x-a:2", "x-b:3", "x-c:", "x-d"}}},
			[]string{"x-a: 1"}, []string{"x-a: 1", "x-b: 3"}},
		{"rename keeps all values", &Config{Rename: &Config_Rename{Headers: []string{"x-a:x-b", "x-none:x-c"}}},
			[]string{"x-a: 1", "x-b: 0", "x-a: 2"}, []string{"x-b: 1", "x-b: 2"}},
		{"rename of what is removed", &Config{Remove: &Config_Remove{Headers: []string{"x-a"}}, Rename: &Config_Rename{Headers: []string{"x-a:x-b"}}},
			[]string{"x-a: 1"}, nil},
		{"replace makes one of many", &Config{Replace: &Config_Replace{Headers: []string{"x-a:n", "x-b:"}}},
			[]string{"x-a: 1", "x-a: 2", "x-b: 3"}, []string{"x-a: n", "x-b: 3"}},
		{"colons", &Config{Add: &Config_Add{Headers: []string{"x-a::v", "x-b:http://c"}}}, nil, []string{"x-a: v", "x-b: http://c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x, _ := answer(build(t, tt.config), "", tt.lines...)
			if got := heads(&x.Response.Header); !slices.Equal(got, tt.want) {
				t.Errorf("head = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	add := func(lines, types string) *Config {
		return &Config{Add: &Config_Add{Json: split(lines), JsonTypes: split(types)}}
	}
	replace := func(lines, types string) *Config {
		return &Config{Replace: &Config_Replace{Json: split(lines), JsonTypes: split(types)}}
	}
	appends := func(lines, types string) *Config {
		return &Config{Append: &Config_Append{Json: split(lines), JsonTypes: split(types)}}
	}
	tests := []struct {
		name   string
		config *Config
		body   string
		want   string
	}{
		{"types by position", add("a:1 b:true c:x d:0x10 e:7", "number boolean boolean number"), `{}`, `{"a":1,"b":true,"c":false,"d":16,"e":"7"}`},
		{"no number, no member", add("a:x b:nan c:0xzz", "number number number"), `{}`, `{}`},
		{"add takes false for absent", add("a:1 b:1 c:1", ""), `{"a":false,"b":null,"c":0}`, `{"a":"1","b":null,"c":0}`},
		{"replace takes false for absent", replace("a:1 b:1 c:1", ""), `{"a":false,"b":null,"c":0}`, `{"a":false,"b":"1","c":"1"}`},
		{"append to each kind", appends("s:x l:x e:x n:x t:x z:x new:x", ""), `{"s":"a","l":[1],"e":[ ],"n":1,"t":true,"z":null}`,
			`{"s":["a","x"],"l":[1,"x"],"e":["x"],"n":["x"],"t":["x"],"z":["x"],"new":["x"]}`},
		{"append to an object", appends("o:x", ""), `{"o":{"1":true}}`, `{"o":{"1":true,"2":"x"}}`},
		{"append typed", appends("l:2", "number"), `{"l":[1]}`, `{"l":[1,2]}`},
		{"digits are kept", add("a:1", ""), `{"big":12345678901234567890,"f":1.10,"e":1E2}`, `{"big":12345678901234567890,"f":1.10,"e":1E2,"a":"1"}`},
		{"order of kinds", &Config{
			Remove: &Config_Remove{Json: []string{"a"}}, Rename: &Config_Rename{Json: []string{"b:a"}},
			Replace: &Config_Replace{Json: []string{"a:r"}}, Add: &Config_Add{Json: []string{"b:n"}}, Append: &Config_Append{Json: []string{"b:m"}},
		}, `{"a":1,"b":2}`, `{"a":"r","b":["n","m"]}`},
		{"the last of two members counts", &Config{Remove: &Config_Remove{Json: []string{"x"}}}, `{"a":1,"a":2}`, `{"a":2}`},
		{"quotes and slashes", add(`a:"q"/<é>`, ""), `{}`, `{"a":"\"q\"/<é>"}`},
		{"a list stays", add("a:1", ""), `[1, 2]`, `[1, 2]`},
		{"a text stays", add("a:1", ""), `"x"`, `"x"`},
		{"broken stays", add("a:1", ""), `{"a":`, `{"a":`},
		{"more than one value stays", add("a:1", ""), `{} {}`, `{} {}`},
		{"nothing stays", add("a:1", ""), ``, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x, got := answer(build(t, tt.config), tt.body, "Content-Type: Application/JSON; charset=utf-8", "Content-Length: 3")
			if got != tt.want {
				t.Errorf("body = %s, want %s", got, tt.want)
			}
			if _, ok := x.Response.Header.Lookup("Content-Length"); ok {
				t.Error("the old length is told")
			}
		})
	}
}

func split(s string) []string { return strings.Fields(s) }

func TestWhatIsNotJSONIsLeftAlone(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{Add: &Config_Add{Json: []string{"a:1"}}})
	for contentType, edited := range map[string]bool{
		"application/json": true, "text/html, application/json;q=1": true, "application/json ; x": true,
		"application/problem+json": false, "text/plain": false, "": false, "application/jsonp": false,
	} {
		x, _ := answer(f, "", "Content-Type: "+contentType)
		if got := len(x.Response.Rewrites()) > 0; got != edited {
			t.Errorf("body of type %q is edited: %v, want %v", contentType, got, edited)
		}
	}
}

func TestHeadersDoNotAllocate(t *testing.T) {
	f := build(t, &Config{
		Remove: &Config_Remove{Headers: []string{"x-rm"}}, Rename: &Config_Rename{Headers: []string{"x-o:x-n"}},
		Add: &Config_Add{Headers: []string{"x-a:1"}}, Append: &Config_Append{Headers: []string{"x-b:1"}},
	})
	x := plugintest.Request{}.Exchange()
	run := func() {
		x.Response.Header.Reset()
		x.Response.Header.Append("X-Rm", "1")
		x.Response.Header.Append("X-O", "1")
		f.OnResponse(x)
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("OnResponse allocates %v times, want 0", n)
	}
}

// FuzzBody has any body and any line: JSON stays JSON, the rest stays as it is.
func FuzzBody(f *testing.F) {
	f.Add(set, "p1:x", "string")
	f.Add(`{"a":{"1":2},"b":[],"c":"\u2028"}`, "a:x", "number")
	f.Add(`[1`, ":", "boolean")
	f.Fuzz(func(t *testing.T, body, line, kind string) {
		one, kinds := []string{line}, []string{kind}
		g := build(t, &Config{
			Rename: &Config_Rename{Json: one}, Replace: &Config_Replace{Json: one, JsonTypes: kinds},
			Add: &Config_Add{Json: one, JsonTypes: kinds}, Append: &Config_Append{Json: one, JsonTypes: kinds},
		})
		_, got := answer(g, body, "Content-Type: application/json")
		if !json.Valid([]byte(body)) {
			if json.Valid([]byte(got)) && got != body {
				t.Errorf("%q became %q", body, got)
			}
			return
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%q became %q, which is no JSON", body, got)
		}
	})
}
