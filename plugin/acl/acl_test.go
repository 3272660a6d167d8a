package acl

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t testing.TB, c *Config) plugin.RequestFilter {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(plugin.RequestFilter)
}

const no = "You cannot consume this service"

// TestGroups holds what was recorded of a live Kong 3.9.1 (transcript 13) and the rules of
// who is answered 401.
func TestGroups(t *testing.T) {
	t.Parallel()
	allow := &Config{Allow: []string{"admin"}}
	deny := &Config{Deny: []string{"dev"}}
	hidden := &Config{Allow: []string{"admin"}, HideGroupsHeader: proto.Bool(true)}
	bob := &plugin.Consumer{ID: "b", Username: "bob", Groups: []string{"admin", "dev"}}
	eve := &plugin.Consumer{ID: "e", Username: "eve"}
	ann := &plugin.Consumer{ID: "a", Username: "ann", Groups: []string{"admin"}}
	tests := []struct {
		name      string
		config    *Config
		consumer  *plugin.Consumer
		anonymous bool
		status    int
		message   string
		groups    string
	}{
		{"in the list", allow, bob, false, 0, "", "admin, dev"},
		{"not in the list", &Config{Allow: []string{"ops"}}, bob, false, 403, no, ""},
		{"without groups", allow, eve, false, 403, no, ""},
		{"nobody", allow, nil, true, 401, "", ""},
		{"nobody is denied too", deny, nil, true, 401, "", ""},
		{"credential without consumer", allow, nil, false, 403, no, ""},
		{"anonymous without groups", allow, eve, true, 401, "", ""},
		{"anonymous in the list", allow, ann, true, 0, "", "admin"},
		{"denied", deny, bob, false, 403, no, ""},
		{"not denied", deny, ann, false, 0, "", "admin"},
		{"not denied, without groups", deny, eve, false, 0, "", ""},
		{"anonymous not denied", deny, eve, true, 0, "", ""},
		{"hidden", hidden, ann, false, 0, "", ""},
		{"case counts", &Config{Allow: []string{"Admin"}}, ann, false, 403, no, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := plugintest.Request{Lines: []string{"X-Consumer-Groups: forged", "X-Authenticated-Groups: forged"}}.Exchange()
			x.Consumer = tt.consumer
			if !tt.anonymous {
				x.Credential = &plugin.Credential{ID: "c", Consumer: tt.consumer}
			}
			v := build(t, tt.config).OnRequest(x)
			if v.Status() != tt.status || v.Message() != tt.message {
				t.Errorf("OnRequest = %d %q, want %d %q", v.Status(), v.Message(), tt.status, tt.message)
			}
			if v.Done() {
				return
			}
			if got := x.Request.Header.Get("X-Consumer-Groups"); got != tt.groups {
				t.Errorf("upstream gets groups %q, want %q", got, tt.groups)
			}
			if x.Request.Header.Count("X-Authenticated-Groups") != 0 {
				t.Error("upstream gets the client's own groups")
			}
		})
	}
}

func TestNewWantsOneList(t *testing.T) {
	t.Parallel()
	for _, c := range []*Config{{}, {Allow: []string{"a"}, Deny: []string{"b"}}} {
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), "exactly one of") {
			t.Errorf("New(%v) = %v, want a complaint", c, err)
		}
	}
}

func TestOnRequestDoesNotAllocate(t *testing.T) {
	f := build(t, &Config{Allow: []string{"a", "dev"}})
	c := &plugin.Consumer{ID: "b", Groups: []string{"admin", "dev"}}
	r, e := plugintest.Request{}, plugintest.Engine("")
	x := r.Exchange()
	run := func() {
		r.Again(x, e)
		x.Consumer = c
		f.OnRequest(x)
	}
	run()
	base := testing.AllocsPerRun(100, func() { r.Again(x, e) })
	if n := testing.AllocsPerRun(100, run) - base; n != 0 {
		t.Errorf("OnRequest allocates %v times, want 0", n)
	}
}
