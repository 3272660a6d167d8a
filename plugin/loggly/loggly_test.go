package loggly

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func TestDatagrams(t *testing.T) {
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	server := plugintest.NewDatagrams(t)
	f, err := New(&Config{
		Host: proto.String("127.0.0.1"), Port: &server.Port, Key: proto.String("123456789"), Tags: []string{"kong", `a"b]`},
		LogLevel: proto.String("warning"), ClientErrorsSeverity: proto.String("warning"), ServerErrorsSeverity: proto.String("crit"),
		CustomFieldsByLua: map[string]string{"mine": "return 'x'"},
	}, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	plugintest.Run(t, f)
	for _, status := range []int{200, 404, 503} { // the first is not severe enough
		x := plugintest.Logged(time.Unix(1700000000, 0))
		x.Response.Status = status
		f.(plugin.LogFilter).OnLog(x)
	}
	for _, priority := range []string{"<12>", "<10>"} {
		got := server.Next()
		head := priority + "1 2023-11-14T22:13:20Z " + host + ` kong - - [123456789@41058 tag="kong" tag="a\"b\]"] `
		entry, ok := strings.CutPrefix(got, head)
		if !ok {
			t.Fatalf("datagram %q, want %q", got, head)
		}
		var e struct{ Mine string }
		if err := json.Unmarshal([]byte(entry), &e); err != nil || e.Mine != "x" {
			t.Errorf("entry %q: %v", entry, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	key := proto.String("k")
	for want, c := range map[string]*Config{
		"config.key":                  {},
		"config.port":                 {Key: key, Port: proto.Int64(0)},
		"config.host":                 {Key: key, Host: proto.String("")},
		"config.log_level":            {Key: key, LogLevel: proto.String("loud")},
		"config.custom_fields_by_lua": {Key: key, CustomFieldsByLua: map[string]string{"a": "io.write(1)"}},
	} {
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New(%v) = %v, want a complaint of %s", c, err, want)
		}
	}
}
