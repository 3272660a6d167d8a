package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Cores: the proxy alone on one, everything else on the other.
const (
	proxyCore = "1"
	otherCore = "0"
)

// candidate is one proxy under test.
type candidate struct {
	name   string
	url    string
	secure string // url over TLS; "": none
	pid    int
	// headers go with every request.
	headers []string
}

type bench struct {
	dir     string
	before  string // another binary of the gateway, to compare with; "": none
	profile string // folder for CPU profiles of the gateway; "": none
	running []*exec.Cmd
}

func (b *bench) stop() {
	for _, c := range b.running {
		_ = c.Process.Signal(syscall.SIGTERM)
	}
	for _, c := range b.running {
		_ = c.Wait()
	}
}

// spawn starts a pinned process.
func (b *bench) spawn(core string, env []string, name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command("taskset", append([]string{"-c", core, name}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	log, err := os.Create(filepath.Join(b.dir, fmt.Sprintf("%d.log", len(b.running))))
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	b.running = append(b.running, cmd)
	return cmd, nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// start starts the upstream and every candidate.
func (b *bench) start(only string) ([]*candidate, error) {
	up, err := b.upstream()
	if err != nil {
		return nil, err
	}
	type maker struct {
		name string
		make func(up string) (*candidate, error)
	}
	seki := filepath.Join(b.dir, "seki")
	makers := []maker{{"nginx", b.nginx}, {"seki", b.seki(seki)}, {"seki, the guide's chain", b.sekiChain(seki)},
		{"nginx, a chain like it", b.nginxChain}}
	if b.before != "" {
		makers = append(makers, maker{"before", b.seki(b.before)}, maker{"before, the guide's chain", b.sekiChain(b.before)})
	}
	makers = append(makers, maker{"net/http ReverseProxy", b.reverseProxy}, maker{"nginx again (control)", b.nginx})
	var list []*candidate
	for _, m := range makers {
		if only != "" && m.name != "nginx" && !strings.Contains(","+only+",", ","+m.name+",") {
			continue
		}
		c, err := m.make(up)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		c.name = m.name
		if err := waitFor(c); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// waitFor waits until a candidate proxies, and checks that it does.
func waitFor(c *candidate) error {
	var last error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		req, err := http.NewRequest(http.MethodGet, c.url, nil)
		if err != nil {
			return err
		}
		for _, h := range c.headers {
			k, v, _ := strings.Cut(h, ": ")
			req.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			last = err
			continue
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil && res.StatusCode == http.StatusOK && len(body) == 1024 {
			return nil
		}
		last = fmt.Errorf("%s, %d bytes: %.100s", res.Status, len(body), body)
	}
	return fmt.Errorf("%s does not proxy: %w", c.name, last)
}

const nginxCommon = `daemon off;
master_process off;
worker_processes 1;
pid %[1]s/nginx%[2]s.pid;
error_log %[1]s/nginx%[2]s.err;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path %[1]s/tmp%[2]s; proxy_temp_path %[1]s/tmp%[2]s; fastcgi_temp_path %[1]s/tmp%[2]s;
	uwsgi_temp_path %[1]s/tmp%[2]s; scgi_temp_path %[1]s/tmp%[2]s;
	keepalive_requests 1000000000;
%[3]s
}
`

func (b *bench) runNginx(core, addr, body string) (*exec.Cmd, error) {
	_, id, _ := strings.Cut(addr, ":")
	conf := filepath.Join(b.dir, "nginx"+id+".conf")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(nginxCommon, b.dir, id, body)), 0o600); err != nil {
		return nil, err
	}
	return b.spawn(core, nil, "nginx", "-c", conf, "-p", b.dir)
}

// upstream answers every request with 1,024 bytes, and /mb with a megabyte.
func (b *bench) upstream() (string, error) {
	addr, err := freeAddr()
	if err != nil {
		return "", err
	}
	file := filepath.Join(b.dir, "mb")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		return "", err
	}
	_, err = b.runNginx(otherCore, addr, fmt.Sprintf(`	server { listen %s; location / { return 200 "%s"; } location = /mb { alias %s; } }`,
		addr, strings.Repeat("x", 1024), file))
	return addr, err
}

const (
	nginxUpstream = `	upstream u { server %s; keepalive 512; keepalive_requests 1000000000; }
`
	nginxProxy = `proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection "";
		proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;`
)

// nginx is plain, over TCP and over TLS 1.3.
func (b *bench) nginx(up string) (*candidate, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	secure, err := freeAddr()
	if err != nil {
		return nil, err
	}
	pem, err := b.certificate()
	if err != nil {
		return nil, err
	}
	cmd, err := b.runNginx(proxyCore, addr, fmt.Sprintf(nginxUpstream+`	server { listen %s; listen %s ssl; ssl_certificate %[4]s; ssl_certificate_key %[4]s; ssl_protocols TLSv1.3;
		location / { `+nginxProxy+` } }`, up, addr, secure, pem))
	if err != nil {
		return nil, err
	}
	return &candidate{url: "http://" + addr + "/", secure: "https://" + secure + "/", pid: cmd.Process.Pid}, nil
}

// nginxChain does what the guide's plugins do, as far as nginx can: keys, agents, addresses, two
// limits, a bound of bodies, headers both ways and a log in JSON, written 64 KiB at a time. It has
// no metrics, and limits by a rate, not by windows.
func (b *bench) nginxChain(up string) (*candidate, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	cmd, err := b.runNginx(proxyCore, addr, fmt.Sprintf(nginxUpstream+`	map $http_x_api_key $consumer { default ""; "`+guideKey+`" "ai-dev-user"; }
	map $http_user_agent $bot { default 0; ~*(chrome|firefox|curl) 0; ~*(bot|crawl|spider|wget|scrapy|python-requests) 1; }
	limit_req_zone $consumer zone=minute:1m rate=1000000r/s; limit_req_zone $consumer zone=hour:1m rate=1000000r/s;
	log_format entry escape=json '{"request":{"id":"$request_id","uri":"$request_uri","method":"$request_method","size":$request_length,"headers":{"host":"$http_host","user-agent":"$http_user_agent","x-api-key":"$http_x_api_key"}},'
		'"upstream_uri":"$uri","upstream_status":"$upstream_status","response":{"status":$status,"size":$bytes_sent,"headers":{"content-type":"$sent_http_content_type","content-length":"$sent_http_content_length"}},'
		'"latencies":{"request":$request_time,"proxy":"$upstream_response_time"},"tries":[{"ip":"$upstream_addr"}],"consumer":"$consumer","client_ip":"$remote_addr","started_at":$msec}';
	server { listen %s; client_max_body_size 10m; access_log %s entry buffer=64k flush=1s;
		location / { if ($consumer = "") { return 401; } if ($bot) { return 403; }
			allow 127.0.0.1; allow ::1; allow 10.0.0.0/8; allow 172.16.0.0/12; allow 192.168.0.0/16; deny all;
			limit_req zone=minute burst=1000000 nodelay; limit_req zone=hour burst=1000000 nodelay;
			proxy_set_header X-Gateway nginx; proxy_set_header X-Consumer-Username $consumer; proxy_set_header X-Request-Id $request_id;
			add_header Access-Control-Allow-Origin *; add_header X-Request-Id $request_id;
			add_header X-RateLimit-Limit-Minute 1000000000; add_header X-RateLimit-Limit-Hour 1000000000;
			`+nginxProxy+` } }`, up, addr, filepath.Join(b.dir, "nginx.log")))
	if err != nil {
		return nil, err
	}
	return &candidate{url: "http://" + addr + "/", headers: guideHeaders, pid: cmd.Process.Pid}, nil
}

const guideKey = "ai-dev-key-2025"

var guideHeaders = []string{"X-API-Key: " + guideKey, "User-Agent: curl/8.5.0"}

func (b *bench) reverseProxy(up string) (*candidate, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd, err := b.spawn(proxyCore, []string{"GOMAXPROCS=1"}, self, "serve-reverseproxy", addr, up)
	if err != nil {
		return nil, err
	}
	return &candidate{url: "http://" + addr + "/", pid: cmd.Process.Pid}, nil
}

// gateway starts seki, which it builds where it is missing, and returns its Admin API's URL.
func (b *bench) gateway(bin string) (c *candidate, admin string, err error) {
	if _, err := os.Stat(bin); err != nil {
		if out, err := exec.Command("go", "build", "-o", bin, "./cmd/seki").CombinedOutput(); err != nil {
			return nil, "", fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	var addrs [4]string
	for i := range addrs {
		if addrs[i], err = freeAddr(); err != nil {
			return nil, "", err
		}
	}
	env := []string{"GOMAXPROCS=1"}
	if b.profile != "" && bin != b.before {
		env = append(env, "SEKI_CPU_PROFILE="+filepath.Join(b.profile, fmt.Sprintf("seki%d.prof", len(b.running))))
	}
	cmd, err := b.spawn(proxyCore, env, bin, "run", "--data-dir", filepath.Join(b.dir, "data"+addrs[0][10:]),
		"--proxy-listen", addrs[0], "--admin-listen", addrs[1], "--status-listen", addrs[2],
		"--proxy-tls-listen", addrs[3], "--console-listen", "off", "--grpc-listen", "off")
	if err != nil {
		return nil, "", err
	}
	return &candidate{url: "http://" + addrs[0] + "/", secure: "https://" + addrs[3] + "/", pid: cmd.Process.Pid}, "http://" + addrs[1], nil
}

func (b *bench) seki(bin string) func(up string) (*candidate, error) {
	return func(up string) (*candidate, error) {
		c, admin, err := b.gateway(bin)
		if err != nil {
			return nil, err
		}
		return c, put(admin,
			"/services/up", `{"url":"http://`+up+`"}`,
			"/services/up/routes/all", `{"paths":["/"]}`)
	}
}

// sekiChain is the guide's nine plugins, with counts in the process and the log in a file.
func (b *bench) sekiChain(bin string) func(up string) (*candidate, error) {
	return func(up string) (*candidate, error) {
		c, admin, err := b.gateway(bin)
		if err != nil {
			return nil, err
		}
		c.headers = guideHeaders
		return c, put(admin, b.guide(up)...)
	}
}

func (b *bench) guide(up string) []string {
	const big = 1_000_000_000
	return []string{
		"/services/up", `{"url":"http://` + up + `"}`,
		"/services/up/routes/all", `{"paths":["/"]}`,
		"/consumers/ai-dev-user", `{}`,
		"/consumers/ai-dev-user/key-auth/" + guideKey, `{}`,
		"/services/up/plugins/p1", `{"name":"key-auth","config":{"key_names":["X-API-Key","apikey"]}}`,
		"/services/up/plugins/p2", fmt.Sprintf(`{"name":"rate-limiting","config":{"minute":%d,"hour":%d,"policy":"local"}}`, big, big),
		"/services/up/plugins/p3", `{"name":"cors"}`,
		"/services/up/plugins/p4", `{"name":"bot-detection","config":{"allow":["chrome","firefox","curl"]}}`,
		"/services/up/plugins/p5", `{"name":"ip-restriction","config":{"allow":["127.0.0.1","::1","10.0.0.0/8","172.16.0.0/12","192.168.0.0/16"]}}`,
		"/services/up/plugins/p6", `{"name":"request-size-limiting","config":{"allowed_payload_size":10}}`,
		"/services/up/plugins/p7", `{"name":"request-transformer","config":{"add":{"headers":["X-Gateway:sekifuda"]}}}`,
		"/services/up/plugins/p8", `{"name":"file-log","config":{"path":"` + filepath.Join(b.dir, "access.log") + `"}}`,
		"/plugins/p9", `{"name":"prometheus","config":{"status_code_metrics":true,"latency_metrics":true,"bandwidth_metrics":true}}`,
	}
}

// put makes entities over the Admin API: path, body, path, body, ...
func put(admin string, pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		var res *http.Response
		var err error
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			var req *http.Request
			if req, err = http.NewRequest(http.MethodPut, admin+pairs[i], bytes.NewReader([]byte(pairs[i+1]))); err != nil {
				return err
			}
			req.Header.Set("Content-Type", "application/json")
			if res, err = http.DefaultClient.Do(req); err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("PUT %s: %s %s", pairs[i], res.Status, body)
		}
	}
	return nil
}
