package guide

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"

	"github.com/sekifuda/sekifuda/test/stack"
)

// TestFleetComposeFile holds the fleet's compose file to the binary: it is valid, what it
// sets are settings of the verbs that it starts, and nodes start once there is a token.
func TestFleetComposeFile(t *testing.T) {
	t.Parallel()
	o, err := cli.NewProjectOptions([]string{filepath.Join(stack.Root(), "deploy/compose/fleet.yml")})
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nodes := 0
	for name, s := range p.Services {
		if !strings.HasPrefix(s.Image, "sekifuda/") {
			continue
		}
		help, _ := stack.Shell(t, nil, stack.Binary(t)+" "+s.Command[0]+" --help")
		for key := range s.Environment {
			if key != "SEKI_KEK" && !strings.Contains(help, key+")") {
				t.Errorf("%s sets %s, which seki %s does not know", name, key, s.Command[0])
			}
		}
		for _, word := range s.Command[1:] {
			if strings.HasPrefix(word, "--") && !strings.Contains(help, word+" ") {
				t.Errorf("%s says %s, which seki %s does not know", name, word, s.Command[0])
			}
		}
		if s.Command[0] != "dataplane" {
			continue
		}
		nodes++
		if d := s.DependsOn["seki-token"]; d.Condition != "service_completed_successfully" {
			t.Errorf("%s does not wait for its token", name)
		}
		if *s.Environment["SEKI_NODE_ID"] != strings.TrimPrefix(name, "seki-") {
			t.Errorf("%s is node %s", name, *s.Environment["SEKI_NODE_ID"])
		}
	}
	if nodes != 2 {
		t.Errorf("%d nodes, want 2", nodes)
	}
}
