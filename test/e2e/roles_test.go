package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestLimitedRoles has an editor of one team's tags, and one of some kinds, write by every way
// there is: what is theirs is written, and of the rest nothing.
func TestLimitedRoles(t *testing.T) {
	t.Parallel()
	tokens := filepath.Join(t.TempDir(), "tokens")
	const ada, ann, kim = "token-of-the-admin-001", "token-of-team-a-000001", "token-of-kinds-0000001"
	lines := "ada admin " + ada + "\nann editor:tags=team-a " + ann + "\nkim editor:kinds=routes " + kim + "\n"
	if err := os.WriteFile(tokens, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	p := stack.Start(t, "controlplane", "--data-dir", t.TempDir(), "--admin-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0",
		"--console-listen", "off", "--status-listen", "off", "--feed-listen", "off", "--admin-token-file", tokens)
	do := func(token, line, body string, want int, text string) {
		t.Helper()
		words := strings.Fields(line)
		req, err := http.NewRequest(words[0], p.URLs["admin"]+words[1], strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		if len(words) > 2 {
			req.Header.Set("Sekifuda-Window", words[2])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var b strings.Builder
		_ = res.Write(&b)
		if res.StatusCode != want || !strings.Contains(b.String(), text) {
			t.Errorf("%s %s: want %d %s, got %s", line, body, want, text, b.String())
		}
	}
	const idA, idB = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000001"
	for line, body := range map[string]string{
		"PUT /services/" + idA: `{"name":"a","host":"a.test","tags":["team-a"]}`,
		"PUT /services/" + idB: `{"name":"b","host":"b.test","tags":["team-b"]}`,
		"PUT /services/shared": `{"host":"s.test","tags":["team-a","team-b"]}`,
	} {
		do(ada, line, body, 200, "")
	}
	do(ada, "PUT /services/mixed", `{"host":"m.test","tags":["team-a"]}`, 200, "")
	do(ada, "POST /services/mixed/plugins", `{"name":"cors","tags":["team-b"]}`, 201, "")
	const none, must, other = "carries none of your tags", "must carry one of your tags", "other than yours"
	for _, c := range []struct {
		line, body string
		want       int
		text       string
	}{
		{"PATCH /services/a", `{"retries":1}`, 200, ""},
		{"PATCH /services/b", `{"retries":1}`, 403, none},
		{"PUT /services/b", `{"host":"x.test","tags":["team-a"]}`, 403, none}, // takes it
		{"DELETE /services/b", ``, 403, none},
		{"POST /services", `{"name":"c","host":"c.test"}`, 403, must},
		{"POST /services", `{"name":"c","host":"c.test","tags":["team-a","team-b"]}`, 403, other},
		{"PATCH /services/a", `{"tags":[]}`, 403, must},
		{"PATCH /services/shared", `{"tags":["team-a"]}`, 403, other},
		{"PATCH /services/shared", `{"retries":2}`, 200, ""},
		{"POST /services/a/routes", `{"name":"ra","paths":["/a"],"tags":["team-a"]}`, 201, ""},
		{"POST /services/b/routes", `{"name":"rb","paths":["/b"],"tags":["team-a"]}`, 403, none},
		{"PATCH /routes/ra", `{"service":{"id":"` + idB + `"}}`, 403, none},
		{"POST /services/b/plugins", `{"name":"cors","tags":["team-a"]}`, 403, none},
		{"POST /routes/ra/plugins", `{"name":"cors","tags":["team-a"]}`, 201, ""},
		{"POST /plugins", `{"name":"cors","tags":["team-a"]}`, 403, "for all traffic"},
		{"DELETE /services/mixed", ``, 403, none}, // with another team's plugin
		{"POST /config", `{"_format_version":"3.0","services":[{"name":"c","host":"c.test","tags":["team-a"]}]}`, 403, none},
		{"PUT /sekifuda/blocks/cidr/192.0.2.1", `{}`, 403, "writes entities alone"},
		{"PATCH /services/b w1", `{"retries":3}`, 403, none},
		{"PATCH /services/a w1", `{"retries":3}`, 200, ""},
	} {
		do(ann, c.line, c.body, c.want, c.text)
	}
	// Who publishes a window answers for what others wrote into it.
	do(ada, "PATCH /services/b w1", `{"retries":3}`, 200, "")
	do(ann, "POST /sekifuda/windows/w1/publish", "", 403, none)
	do(ada, "POST /sekifuda/windows/w1/publish", "", 200, "")
	do(kim, "PATCH /routes/ra", `{"paths":["/aa"]}`, 200, "")
	do(kim, "PATCH /services/a", `{"retries":5}`, 403, "limited to routes")
	do(ada, "GET /services/b", "", 200, `"retries":3`)

	conn, err := grpc.NewClient(p.Addr("admin gRPC"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+ann)
	put, err := anypb.New(&entityv1.Service{Name: proto.String("d"), Host: proto.String("d.test"), Tags: []string{"team-a"}})
	if err != nil {
		t.Fatal(err)
	}
	batch := &controlv1.CommitRequest{Ops: []*controlv1.Op{{Op: &controlv1.Op_Put{Put: put}},
		{Op: &controlv1.Op_Delete{Delete: &controlv1.EntityRef{Kind: "services", IdOrKey: idB}}}}}
	if _, err := controlv1.NewConfigServiceClient(conn).Commit(ctx, batch); err == nil || !strings.Contains(err.Error(), "PermissionDenied") || !strings.Contains(grpcstatus.Convert(err).Message(), none) {
		t.Errorf("Commit = %v", err)
	}
	do(ada, "GET /services/d", "", 404, "")
	out, _ := stack.Shell(t, []string{"SEKI_SERVER=" + p.Addr("admin gRPC"), "SEKI_TOKEN=" + ada}, stack.Binary(t)+" audit")
	for _, line := range []string{`ann .*DELETE /services/mixed +403 `, `ann .*ConfigService.Commit +PermissionDenied `} {
		if !regexp.MustCompile(line).MatchString(out) {
			t.Errorf("the audit log says %s, without %s", out, line)
		}
	}
}
