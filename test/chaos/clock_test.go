package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

const ahead = time.Hour

// hasty builds seki with a clock that is wrong: programs without a C library ask the kernel for
// the time, past whatever a preloaded library would say, so the standard library is built with
// the skew in it.
func hasty(t *testing.T) string {
	t.Helper()
	const asks = "sec, nsec, mono := runtimeNow()\n"
	root, _ := stack.Shell(t, nil, "go env GOROOT")
	original := filepath.Join(strings.TrimSpace(root), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil || strings.Count(string(source), asks) != 1 {
		notHere(t, "this Go's time.Now is another one, or its source is not installed")
	}
	dir := t.TempDir()
	edited, overlay, bin := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "seki")
	raw, err := json.Marshal(map[string]map[string]string{"Replace": {original: edited}})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(source), asks, asks+fmt.Sprintf("\tsec += %d\n", int(ahead.Seconds())), 1)
	for path, content := range map[string][]byte{edited: []byte(text), overlay: raw} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := stack.Build(bin, "-overlay", overlay); err != nil {
		t.Fatal(err)
	}
	return bin
}

// TestClockSkew has a replica and a node whose clocks are an hour ahead. The order of revisions
// and how long a stage bakes do not depend on them, and the skew is shown.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	longRow(t)
	bin := hasty(t)
	db := services.Postgres(t)
	h := open(t, db)
	h.add(stack.StartBinary(t, bin, nil, "controlplane", stack.ReplicaArgs(t, db)...))
	h.replicas[1].WaitReady()
	for i := range h.replicas {
		h.witness(fmt.Sprint("w", i), "g", h.replicas[i].Addr("feed"))
	}
	stack.StartBinary(t, bin, nil, "dataplane", stack.NodeArgs(t, h.replicas[0].Addr("feed"), "default", "ahead")...)
	stack.StartNode(t, h.replicas[1].Addr("feed"), "default", "right")
	w := h.write(4)
	w.more(200)
	w.stop()
	h.converge("ahead", "right")
	w.holds(h)
	h.skew("ahead", ahead)
	h.skew("right", -ahead) // as the hasty replica sees it
	if out, _ := stack.Shell(t, []string{"SEKI_SERVER=" + h.replicas[0].Addr("admin gRPC")}, stack.Binary(t)+" nodes"); !strings.Contains(out, "+3600s") && !strings.Contains(out, "+3599s") {
		t.Errorf("seki nodes does not show the skew:\n%s", out)
	}
	begin := time.Now()
	oncePerStage(t, h.awaitRelease(0, h.release(2), func(r *controlv1.Release) bool {
		return r.GetState() == controlv1.ReleaseState_RELEASE_STATE_DONE
	}))
	if took := time.Since(begin); took < 2*bakeTime {
		t.Errorf("two stages of %v were over after %v", bakeTime, took)
	}
}

// skew waits until a node's clock is shown to be as wrong as it is.
func (h *house) skew(id string, want time.Duration) {
	h.Helper()
	stack.Eventually(h, func() error {
		n, _, err := h.node(id)
		if err != nil {
			return err
		}
		if got := n.GetClockSkew().AsDuration(); (got - want).Abs() > time.Minute {
			return fmt.Errorf("node %s has a skew of %v, want %v", id, got, want)
		}
		return nil
	})
}
