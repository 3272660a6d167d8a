package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// greetings is a gRPC service of grpc-go: SayHello says hello once, Count three times, and whoever
// is called nobody is refused. Its messages have one text, as wrapperspb.StringValue has.
func greetings(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		var in wrapperspb.StringValue
		if err := stream.RecvMsg(&in); err != nil {
			return err
		}
		if in.Value == "nobody" {
			return status.Error(codes.NotFound, "nobody is here")
		}
		n := map[string]int{"/hello.HelloService/SayHello": 1, "/hello.HelloService/Count": 3}[method]
		for range n {
			if err := stream.SendMsg(wrapperspb.String("hello " + in.Value)); err != nil {
				return err
			}
		}
		return nil
	}))
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return "grpc://" + l.Addr().String()
}

// TestGRPCWeb calls a real gRPC service as browsers do. The bodies are those of Kong 3.9.1's own
// specs (spec/03-plugins/32-grpc-web).
func TestGRPCWeb(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	admin := p.URLs["admin"]
	put(t, admin+"/services/s", fmt.Sprintf(`{"url":%q}`, greetings(t)))
	put(t, admin+"/services/s/routes/plain", `{"paths":["/"],"protocols":["http","https"]}`)
	put(t, admin+"/services/s/routes/stripped", `{"paths":["/prefix"],"protocols":["http","https"]}`)
	put(t, admin+"/services/s/routes/unread", `{"paths":["/unread"],"protocols":["http","https"]}`)
	file, err := filepath.Abs("testdata/hello.proto")
	if err != nil {
		t.Fatal(err)
	}
	for route, config := range map[string]string{
		"plain":    fmt.Sprintf(`{"proto":%q}`, file),
		"stripped": fmt.Sprintf(`{"proto":%q,"pass_stripped_path":true,"allow_origin_header":"https://a.test"}`, file),
		"unread":   `{}`,
	} {
		if code, out := call(t, "POST", admin+"/routes/"+route+"/plugins", `{"name":"grpc-web","config":`+config+`}`); code != 201 {
			t.Fatalf("%s: %d %s", route, code, out)
		}
	}
	const (
		helloText = "AAAAAAYKBGhleWE="
		replyText = "AAAAAAwKCmhlbGxvIGhleWE="
		okText    = "gAAAAB5ncnBjLXN0YXR1czowDQpncnBjLW1lc3NhZ2U6DQo="
	)
	frame := func(flags byte, s string) string { return string([]byte{flags, 0, 0, 0, byte(len(s))}) + s }
	trailer := func(code int, message string) string {
		return frame(0x80, fmt.Sprintf("grpc-status:%d\r\ngrpc-message:%s\r\n", code, message))
	}
	for _, tc := range []struct{ name, path, kind, body, want string }{
		{"text", "/hello.HelloService/SayHello", "application/grpc-web-text", helloText, replyText + okText},
		{"text in pieces", "/hello.HelloService/SayHello", "application/grpc-web-text+proto", "AA==AA==AAAGCgRoZXlh", replyText + okText},
		{"binary", "/hello.HelloService/SayHello", "application/grpc-web+proto", decoded(t, helloText), decoded(t, replyText) + decoded(t, okText)},
		{"a stream", "/hello.HelloService/Count", "application/grpc-web", decoded(t, helloText), strings.Repeat(decoded(t, replyText), 3) + trailer(0, "")},
		{"framed JSON", "/hello.HelloService/SayHello", "application/grpc-web+json", frame(0, `{"greeting":"heya","more":1}`), frame(0, `{"reply":"hello heya"}`) + trailer(0, "")},
		{"JSON", "/hello.HelloService/SayHello", "application/json", `{"greeting":"heya"}`, `{"reply":"hello heya"}`},
		{"JSON below a prefix", "/prefix/hello.HelloService/SayHello", "application/json", `{"greeting":"heya"}`, `{"reply":"hello heya"}`},
		{"a refusal", "/hello.HelloService/SayHello", "application/grpc-web", frame(0, "\n\x06nobody"), trailer(5, "nobody is here")},
	} {
		for _, proxy := range []string{"proxy", "proxy TLS"} {
			code, header, out := posting(t, p.URLs[proxy]+tc.path, tc.kind, tc.body)
			if code != 200 || out != tc.want || header.Get("Content-Type") != tc.kind {
				t.Errorf("%s, %s: %d %s %q, want %q", tc.name, proxy, code, header.Get("Content-Type"), out, tc.want)
			}
		}
	}
	for _, tc := range []struct{ name, path, kind, body, want string }{
		{"no file", "/unread/x", "application/json", "{}", "transcoding requests require a .proto file defining the service"},
		{"unknown method", "/hello.HelloService/None", "application/json", "{}", `Unkown path "/hello.HelloService/None"`},
		{"no JSON", "/hello.HelloService/SayHello", "application/json", "[", "proto:"},
		{"no base64", "/hello.HelloService/SayHello", "application/grpc-web-text", "****", "body is not base64"},
		{"half a frame", "/hello.HelloService/SayHello", "application/grpc-web+json", "\x00\x00\x00\x00\x09{", "body has no whole message"},
	} {
		if code, _, out := posting(t, p.URLs["proxy"]+tc.path, tc.kind, tc.body); code != 400 || !strings.Contains(out, tc.want) {
			t.Errorf("%s: %d %s, want 400 and %q", tc.name, code, out, tc.want)
		}
	}
	req, _ := http.NewRequest(http.MethodOptions, p.URLs["proxy"]+"/prefix", nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Access-Control-Allow-Origin") != "https://a.test" || res.Header.Get("Access-Control-Allow-Methods") != "POST" {
		t.Errorf("preflight: %s %v", res.Status, res.Header)
	}
}

func decoded(t *testing.T, text string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func posting(t *testing.T, url, kind, body string) (int, http.Header, string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	res, err := c.Post(url, kind, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(out)
}
