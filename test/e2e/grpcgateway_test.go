package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
)

// TestGRPCGateway calls a real gRPC service as REST.
func TestGRPCGateway(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	admin := p.URLs["admin"]
	put(t, admin+"/services/s", fmt.Sprintf(`{"url":%q}`, greetings(t)))
	put(t, admin+"/services/s/routes/rest", `{"paths":["/"],"protocols":["http","https"]}`)
	file, err := filepath.Abs("testdata/hello_rest.proto")
	if err != nil {
		t.Fatal(err)
	}
	if code, out := call(t, http.MethodPost, admin+"/routes/rest/plugins", fmt.Sprintf(`{"name":"grpc-gateway","config":{"proto":%q}}`, file)); code != http.StatusCreated {
		t.Fatalf("plugin: %d %s", code, out)
	}
	for _, tc := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/v1/hello/you", "", 200, `{"reply":"hello you"}`},
		{"POST", "/v1/hello", `{"greeting":"heya","more":1}`, 200, `{"reply":"hello heya"}`},
		{"GET", "/v1/count/you", "", 200, `{"reply":"hello you"}{"reply":"hello you"}{"reply":"hello you"}`},
		{"GET", "/v1/hello/nobody", "", 404, ""},
		{"GET", "/v1/none", "", 400, `failed to transcode .proto file Unknown path "/v1/none"`},
		{"POST", "/v1/hello", `{`, 400, "decode json err: unexpected end of JSON input"},
	} {
		code, got := call(t, tc.method, p.URLs["proxy"]+tc.path, tc.body)
		if code != tc.code || got != tc.want {
			t.Errorf("%s %s = %d %q, want %d %q", tc.method, tc.path, code, got, tc.code, tc.want)
		}
	}
}
