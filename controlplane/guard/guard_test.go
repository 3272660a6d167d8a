package guard

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

const file = `# who may
ann   viewer   token-of-ann-0123456789
bob   editor   token-of-bob-0123456789
carl  releaser token-of-carl-012345678
# printf dora-has-the-longest-token | sha256sum
dora  admin    sha256:` + "4f35e5b5f6a6d2bf6f5d6e4d3c4b0a9180000000000000000000000000000000" + `
eve   admin    token-of-eve-0123456789
`

// noted is a log in memory.
type noted struct {
	mu     sync.Mutex
	events []Event
}

func (n *noted) Note(_ context.Context, e Event) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
	return nil
}

func guarded(t *testing.T) (*Guard, *noted) {
	t.Helper()
	tokens, err := ParseTokens([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	n := &noted{}
	return New(Options{Tokens: tokens, Log: n, Secret: map[string]bool{"key-auths": true}}), n
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	g, log := guarded(t)
	s := httptest.NewServer(g.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Sekifuda-Revision", "7")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(Name(r.Context())))
	})))
	defer s.Close()
	for _, c := range []struct {
		name, method, header, value string
		code                        int
		who, noted                  string
	}{
		{"no token", "GET", "", "", 401, "", "GET /key-auths/*** 401"},
		{"wrong token", "GET", "Authorization", "Bearer token-of-ann-012345678x", 401, "", "GET /key-auths/*** 401"},
		{"the digest is no token", "GET", "Authorization", "Bearer 4f35e5b5f6a6d2bf6f5d6e4d3c4b0a9180000000000000000000000000000000", 401, "", "GET /key-auths/*** 401"},
		{"viewer reads", "GET", "Authorization", "Bearer token-of-ann-0123456789", 201, "ann", ""},
		{"viewer writes", "PATCH", "Authorization", "Bearer token-of-ann-0123456789", 403, "", "ann PATCH /key-auths/*** 403"},
		{"editor writes", "PATCH", "Kong-Admin-Token", "token-of-bob-0123456789", 201, "bob", "bob PATCH /key-auths/*** 201 7"},
		{"a browser", "GET", "Authorization", "Basic YW5uOnRva2VuLW9mLWFubi0wMTIzNDU2Nzg5", 201, "ann", ""},
		{"a browser's question", "OPTIONS", "", "", 201, "", ""},
	} {
		log.events = nil
		req, _ := http.NewRequest(c.method, s.URL+"/key-auths/s3cret", nil)
		if c.header != "" {
			req.Header.Set(c.header, c.value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var b [64]byte
		n, _ := res.Body.Read(b[:])
		res.Body.Close()
		if res.StatusCode != c.code || res.StatusCode == 201 && string(b[:n]) != c.who {
			t.Errorf("%s: %d %s, want %d %s", c.name, res.StatusCode, b[:n], c.code, c.who)
		}
		var got []string
		for _, e := range log.events {
			line := e.What + " " + e.Result
			if e.Who != "" {
				line = e.Who + " " + line
			}
			if e.Revision > 0 && e.Result == "201" {
				line += " 7"
			}
			got = append(got, line)
		}
		if strings.Join(got, ",") != c.noted {
			t.Errorf("%s: noted %q, want %q", c.name, got, c.noted)
		}
	}
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	g, log := guarded(t)
	const commit, release, revoke, list = controlv1.ConfigService_Commit_FullMethodName, controlv1.RolloutService_SwapGroups_FullMethodName,
		controlv1.AccessService_RevokeNode_FullMethodName, controlv1.ConfigService_List_FullMethodName
	for _, c := range []struct {
		token, method string
		want          codes.Code
	}{
		{"", list, codes.Unauthenticated},
		{"token-of-ann-0123456789", list, codes.OK},
		{"token-of-ann-0123456789", commit, codes.PermissionDenied},
		{"token-of-bob-0123456789", commit, codes.OK},
		{"token-of-bob-0123456789", controlv1.FleetService_ResetLimits_FullMethodName, codes.OK},
		{"token-of-bob-0123456789", release, codes.PermissionDenied},
		{"token-of-carl-012345678", release, codes.OK},
		{"token-of-carl-012345678", revoke, codes.PermissionDenied},
		{"token-of-carl-012345678", "/other.Service/Do", codes.PermissionDenied},
		{"token-of-eve-0123456789", revoke, codes.OK},
	} {
		log.events = nil
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+c.token, "sekifuda-actor", "root"))
		called := false
		_, err := g.Unary(ctx, &controlv1.RevokeNodeRequest{NodeId: "n1", Reason: "stolen"}, &grpc.UnaryServerInfo{FullMethod: c.method},
			func(ctx context.Context, _ any) (any, error) {
				called = true
				if !strings.HasPrefix(c.token, "token-of-"+Name(ctx)) || Name(ctx) == "" {
					t.Errorf("%s is called as %q", c.method, Name(ctx))
				}
				return &controlv1.CommitResponse{Revision: &controlv1.Revision{Rev: 9}}, nil
			})
		if grpcstatus.Code(err) != c.want || called != (c.want == codes.OK) {
			t.Errorf("%s with %q = %v, called %t", c.method, c.token, err, called)
		}
		if wantNote := c.want != codes.OK || c.method != list; wantNote != (len(log.events) == 1) {
			t.Errorf("%s with %q: noted %+v", c.method, c.token, log.events)
		}
		if c.method == revoke && c.want == codes.OK {
			e := log.events[0]
			if e.Who != "eve" || e.What != "AccessService.RevokeNode n1" || e.Why != "stolen" || e.Result != "OK" || e.Revision != 9 {
				t.Errorf("noted %+v", e)
			}
		}
	}
}

// stranger is a stream with metadata.
type stranger struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stranger) Context() context.Context { return s.ctx }

func TestStreams(t *testing.T) {
	t.Parallel()
	g, log := guarded(t)
	for _, c := range []struct {
		token, method string
		want          codes.Code
		noted         int
	}{
		{"", controlv1.ConfigService_Watch_FullMethodName, codes.Unauthenticated, 1},
		{"token-of-ann-0123456789", controlv1.ConfigService_Watch_FullMethodName, codes.OK, 0},
		{"token-of-carl-012345678", controlv1.BackupService_Export_FullMethodName, codes.PermissionDenied, 1},
		{"token-of-eve-0123456789", controlv1.BackupService_Restore_FullMethodName, codes.OK, 1},
	} {
		log.events = nil
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+c.token))
		called := false
		err := g.Stream(nil, stranger{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: c.method}, func(_ any, ss grpc.ServerStream) error {
			called = Name(ss.Context()) != ""
			return nil
		})
		if grpcstatus.Code(err) != c.want || called != (c.want == codes.OK) || len(log.events) != c.noted {
			t.Errorf("%s with %q = %v, called %t, noted %+v", c.method, c.token, err, called, log.events)
		}
	}
}

func TestBadTokenFiles(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                 "no token",
		"# nothing":                        "no token",
		"ann viewer":                       "line 1: expected NAME ROLE TOKEN",
		"ann king token-of-ann-0123456789": `role "king" is none of`,
		"\nann viewer short":               "line 2: ann: a token has at least 20",
		"ann viewer sha256:12":             "64 hexadecimal digits",
		"a viewer " + strings.Repeat("x", 20) + "\na admin " + strings.Repeat("y", 20): "line 2: a is there twice",
	} {
		if _, err := ParseTokens([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseTokens(%q) = %v, want %q", text, err, want)
		}
	}
}

// TestOpen lets everybody do everything when there are no tokens, and notes it all the same.
func TestOpen(t *testing.T) {
	t.Parallel()
	n := &noted{}
	g := New(Options{Log: n})
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("sekifuda-actor", "root"))
	_, err := g.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: controlv1.AccessService_RotateCA_FullMethodName},
		func(context.Context, any) (any, error) { return nil, nil })
	if err != nil || len(n.events) != 1 || n.events[0].Who != "root" {
		t.Errorf("Unary = %v, noted %+v", err, n.events)
	}
}
