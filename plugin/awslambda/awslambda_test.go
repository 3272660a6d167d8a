package awslambda

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

// cloud is Lambda, STS and the services that tell keys, in one.
type cloud struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []*http.Request
	bodies []string
	// answer is what the function says.
	status int
	header http.Header
	body   string
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{status: 200, header: http.Header{}, body: `{}`}
	c.Server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.Close)
	return c
}

func (c *cloud) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // the test sees what is missing
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked, c.bodies = append(c.asked, r), append(c.bodies, string(body))
	const told = `{"AccessKeyId":"ID-%s","SecretAccessKey":"s","Token":"tok","Expiration":"2030-01-01T00:00:00Z"}`
	switch path := r.URL.Path; {
	case path == "/":
		action := strings.TrimPrefix(strings.SplitN(string(body), "&", 2)[0], "Action=")
		fmt.Fprintf(w, `<%[1]sResponse><%[1]sResult><Credentials><AccessKeyId>ID-%[1]s</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>tok</SessionToken><Expiration>2030-01-01T00:00:00Z</Expiration></Credentials></%[1]sResult></%[1]sResponse>`, action)
	case path == "/latest/api/token":
		_, _ = io.WriteString(w, "imds-token")
	case path == "/latest/meta-data/iam/security-credentials/":
		_, _ = io.WriteString(w, "role-1\n")
	case path == "/latest/meta-data/iam/security-credentials/role-1":
		fmt.Fprintf(w, told, "machine"+r.Header.Get("X-Aws-Ec2-Metadata-Token"))
	case path == "/container":
		fmt.Fprintf(w, told, "container")
	default:
		for name, values := range c.header {
			w.Header()[name] = values
		}
		w.WriteHeader(c.status)
		_, _ = io.WriteString(w, c.body)
	}
}

// last is the last request, and its body.
func (c *cloud) last() (*http.Request, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[len(c.asked)-1], c.bodies[len(c.bodies)-1]
}

func build(t *testing.T, c *cloud, config string) *filter {
	t.Helper()
	host, port, _ := strings.Cut(strings.TrimPrefix(c.URL, "http://"), ":")
	cfg := &Config{}
	text := `{"host":"` + host + `","port":"` + port + `","disable_https":true,"function_name":"arn:aws:f","aws_region":"us-east-1","keepalive":60000,` +
		`"aws_sts_endpoint_url":"` + c.URL + `"` + config + `}`
	if err := protojson.Unmarshal([]byte(text), cfg); err != nil {
		t.Fatal(err)
	}
	f, err := New(cfg, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	fl := f.(*filter)
	fl.purse.env, fl.purse.machine = func(string) string { return "" }, c.URL
	return fl
}

const own = `,"aws_key":"KEY","aws_secret":"SECRET"`

func TestCall(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.header = http.Header{"Content-Type": {"application/json"}, "X-Amzn-Requestid": {"r"}, "Connection": {"close"}}
	c.body = `{"a":[],"b":[1,{}]}`
	f := build(t, c, own+`,"qualifier":"v 1","log_type":"None","invocation_type":"Event"`)
	x := plugintest.Request{Target: "/?k=v&k=w&flag"}.Exchange()
	v := f.OnRequest(x)
	kind, body, raw := v.Raw()
	if v.Status() != 200 || !raw || kind != "application/json" || body != `{"a":{},"b":[1,{}]}` {
		t.Errorf("answer = %d %q %s", v.Status(), kind, body)
	}
	if x.Early.Get("X-Amzn-Requestid") != "r" || x.Early.Count("Connection") != 0 || x.Early.Count("Content-Length") != 0 {
		t.Errorf("headers = %v", x.Early.Fields())
	}
	r, sent := c.last()
	if r.URL.EscapedPath() != "/2015-03-31/functions/arn%3Aaws%3Af/invocations" || r.URL.RawQuery != "Qualifier=v+1" ||
		r.Header.Get("X-Amz-Invocation-Type") != "Event" || r.Header.Get("X-Amz-Log-Type") != "None" ||
		!strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=KEY/") {
		t.Errorf("call = %s %v", r.URL, r.Header)
	}
	if sent != `{"flag":true,"k":["v","w"]}` {
		t.Errorf("payload = %s", sent)
	}
}

func TestPayloads(t *testing.T) {
	t.Parallel()
	form := []string{"Content-Type: application/x-www-form-urlencoded"}
	for _, tt := range []struct {
		name, config string
		q            plugintest.Request
		want         string
	}{
		{"legacy with a form", "", plugintest.Request{Method: "POST", Target: "/?a=1&b=2", Body: "b=3", Lines: form}, `{"a":"1","b":"3"}`},
		{"legacy with JSON", "", plugintest.Request{Method: "POST", Target: "/?a=1", Body: `{"n":1.5}`, Lines: []string{"Content-Type: application/json"}}, `{"a":"1","n":1.5}`},
		{"method and path", `,"forward_request_method":true,"forward_request_uri":true`, plugintest.Request{Method: "PUT", Target: "/p/q?a=1"}, `{"request_method":"PUT","request_uri":"/p/q?a=1","request_uri_args":{"a":"1"}}`},
		{"headers", `,"forward_request_headers":true`, plugintest.Request{Lines: []string{"X-A: 1", "X-A: 2"}}, `{"request_headers":{"host":"gw.test","x-a":["1","2"]}}`},
		{"form body", `,"forward_request_body":true`, plugintest.Request{Method: "POST", Body: "a=1", Lines: form}, `{"request_body":"a=1","request_body_args":{"a":"1"}}`},
		{"unknown body", `,"forward_request_body":true`, plugintest.Request{Method: "POST", Body: "abc"}, `{"request_body":"YWJj","request_body_args":{},"request_body_base64":true}`},
		{"unknown body, plain", `,"forward_request_body":true,"base64_encode_body":false`, plugintest.Request{Method: "POST", Body: "abc"}, `{"request_body":"abc","request_body_args":{}}`},
		{"text body", `,"forward_request_body":true`, plugintest.Request{Method: "POST", Body: "abc", Lines: []string{"Content-Type: text/plain"}}, `{"request_body":"abc","request_body_args":{}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			if v := build(t, c, own+tt.config).OnRequest(tt.q.Exchange()); v.Status() != 200 {
				t.Fatalf("OnRequest = %d", v.Status())
			}
			if _, sent := c.last(); sent != tt.want {
				t.Errorf("payload = %s, want %s", sent, tt.want)
			}
		})
	}
}

func TestGatewayPayload(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	f := build(t, c, own+`,"awsgateway_compatible":true`)
	x := plugintest.Request{
		Method: "POST", Target: "/strip/more?a=1&a=2", Body: "text", Host: "a.test:8443", Lines: []string{"User-Agent: curl", "X-A: 1", "X-A: 2"},
	}.Exchange()
	x.Route = &plugin.Route{JSON: []byte(`{"paths":["/strip","/"]}`)}
	x.Captures = plugin.Captures{Names: []string{"version", ""}, Values: []string{"123", "x"}}
	x.Times.Start = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
	if v := f.OnRequest(x); v.Status() != 200 {
		t.Fatalf("OnRequest = %d", v.Status())
	}
	_, sent := c.last()
	const want = `{"body":"dGV4dA==","headers":{"host":"a.test:8443","user-agent":"curl","x-a":"1"},"httpMethod":"POST","isBase64Encoded":true,` +
		`"multiValueHeaders":{"host":["a.test:8443"],"user-agent":["curl"],"x-a":["1","2"]},"multiValueQueryStringParameters":{"a":["1","2"]},` +
		`"path":"/strip/more","pathParameters":{"version":"123"},"queryStringParameters":{"a":"1"},` +
		`"requestContext":{"domainName":"a.test","domainPrefix":"a","httpMethod":"POST","identity":{"sourceIp":"192.0.2.1","userAgent":"curl"},` +
		`"path":"/strip/more","protocol":"HTTP/1.1","requestId":"00000000000000000000000000000001","requestTime":"03/Feb/2024:04:05:06 +0000",` +
		`"requestTimeEpoch":1706933106000,"resourcePath":"/strip/more"},"resource":"/strip","version":"1.0"}`
	if sent != want {
		t.Errorf("payload =\n%s\nwant\n%s", sent, want)
	}
}

func TestProxyIntegration(t *testing.T) {
	t.Parallel()
	const bad = "could not JSON decode Lambda function response: "
	for _, tt := range []struct {
		name, says string
		status     int
		body       string
		header     string // "Name: value"
	}{
		{"all", `{"statusCode":201,"headers":{"x-a":"b","Content-Type":"text/x"},"body":"hi","isBase64Encoded":false}`, 201, "hi", "X-A: b"},
		{"status as a text", `{"statusCode":"201","body":""}`, 201, "", ""},
		{"packed", `{"statusCode":200,"body":"aGk=","isBase64Encoded":true}`, 200, "hi", ""},
		{"many", `{"statusCode":200,"headers":{"age":"3"},"multiValueHeaders":{"Age":["4"],"n":[5]}}`, 200, "", "Age: 4"},
		{"no JSON", `{`, 502, bad + "unexpected end of JSON input", ""},
		{"no status", `{"body":"x"}`, 502, bad + "statusCode validation failed", ""},
		{"a status that is none", `{"statusCode":"abc"}`, 502, bad + "statusCode validation failed", ""},
		{"headers", `{"statusCode":200,"headers":"x"}`, 502, bad + "headers must be a table", ""},
		{"body", `{"statusCode":200,"body":{}}`, 502, bad + "body must be a string", ""},
		{"packing", `{"statusCode":200,"isBase64Encoded":"x"}`, 502, bad + "isBase64Encoded must be a boolean", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			c.body = tt.says
			x := plugintest.Request{}.Exchange()
			v := build(t, c, own+`,"is_proxy_integration":true`).OnRequest(x)
			_, body, _ := v.Raw()
			if tt.status == 502 {
				told, _ := json.Marshal(map[string]string{"message": "Bad Gateway", "error": tt.body})
				tt.body = string(told)
			}
			if v.Status() != tt.status || body != tt.body {
				t.Errorf("answer = %d %s, want %d %s", v.Status(), body, tt.status, tt.body)
			}
			if name, value, ok := strings.Cut(tt.header, ": "); ok && (x.Early.Get(name) != value || x.Early.Count(name) != 1) {
				t.Errorf("headers = %v, want %s", x.Early.Fields(), tt.header)
			}
		})
	}
}

func TestFunctionFails(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.header.Set("X-Amz-Function-Error", "Unhandled")
	if v := build(t, c, own+`,"unhandled_status":412`).OnRequest(plugintest.Request{}.Exchange()); v.Status() != 412 {
		t.Errorf("unhandled: %d", v.Status())
	}
	if v := build(t, c, own).OnRequest(plugintest.Request{}.Exchange()); v.Status() != 200 {
		t.Errorf("unhandled without a status: %d", v.Status())
	}
	c.status, c.body = 403, `{"Message":"no"}`
	v := build(t, c, own).OnRequest(plugintest.Request{}.Exchange())
	if _, _, raw := v.Raw(); v.Status() != 500 || raw {
		t.Errorf("refused: %d", v.Status())
	}
	c.Close()
	if v := build(t, c, own).OnRequest(plugintest.Request{}.Exchange()); v.Status() != 500 {
		t.Errorf("away: %d", v.Status())
	}
	for _, config := range []string{`,"function_name":""`, `,"aws_region":""`} {
		f := build(t, c, own)
		if f.region = ""; config[2] == 'f' {
			f.region, f.FunctionName = "us-east-1", nil
		}
		if v := f.OnRequest(plugintest.Request{}.Exchange()); v.Status() != 500 {
			t.Errorf("without a name or a region: %d", v.Status())
		}
	}
}

func TestEmptyArrays(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.header.Set("Content-Type", "application/json")
	c.body = `{"b":[],"a":[[]]}`
	for mode, want := range map[string]string{"legacy": `{"a":[{}],"b":{}}`, "correct": c.body} {
		_, got, _ := build(t, c, own+`,"empty_arrays_mode":"`+mode+`"`).OnRequest(plugintest.Request{}.Exchange()).Raw()
		if got != want {
			t.Errorf("%s: %s, want %s", mode, got, want)
		}
	}
}

// TestKeys: where keys come from, in order, and that they are asked for once.
func TestKeys(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("jwt\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCloud(t)
	for _, tt := range []struct {
		name, config string
		env          map[string]string
		want         string
	}{
		{"config", own, map[string]string{"AWS_ACCESS_KEY_ID": "ENV"}, "KEY"},
		{"environment", "", map[string]string{"AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "s"}, "ENV"},
		{"token file", "", map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "arn"}, "ID-AssumeRoleWithWebIdentity"},
		{"container", "", map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": c.URL + "/container"}, "ID-container"},
		{"machine", "", nil, "ID-machine"},
		{"machine, second version", `,"aws_imds_protocol_version":"v2"`, nil, "ID-machineimds-token"},
		{"role", own + `,"aws_assume_role_arn":"arn:role"`, nil, "ID-AssumeRole"},
	} {
		f := build(t, c, tt.config)
		f.purse.env = func(name string) string { return tt.env[name] }
		k, err := f.purse.keys(t.Context())
		if err != nil || k.id != tt.want {
			t.Errorf("%s: %+v, %v, want %s", tt.name, k, err, tt.want)
			continue
		}
		before := len(c.asked)
		if again, err := f.purse.keys(t.Context()); err != nil || again != k || len(c.asked) != before {
			t.Errorf("%s: they are asked for again", tt.name)
		}
		if k.expires.IsZero() {
			continue
		}
		f.purse.now = func() time.Time { return k.expires }
		if _, err := f.purse.keys(t.Context()); err != nil || len(c.asked) == before {
			t.Errorf("%s: keys that have ended are used", tt.name)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	name := "f"
	bad := "http://"
	for want, c := range map[string]*Config{
		`config.proxy_url: could not parse url "http://"`: {FunctionName: &name, ProxyUrl: &bad},
	} {
		if _, err := New(c, plugintest.NewHost()); err == nil || err.Error() != want {
			t.Errorf("New = %v, want %s", err, want)
		}
	}
}
