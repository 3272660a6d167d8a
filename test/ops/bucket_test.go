package ops

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sekifuda/sekifuda/test/stack"
)

// gateway starts an S3 server that checks signatures, on a folder with a bucket, and returns the
// environment of its clients. versitygw is what SEKI_TEST_VERSITYGW names (make ops builds it), or
// in the path.
func gateway(t *testing.T) (env []string, bucket string) {
	t.Helper()
	program, err := exec.LookPath(os.Getenv("SEKI_TEST_VERSITYGW"))
	if err != nil {
		if program, err = exec.LookPath("versitygw"); err != nil {
			t.Skip("not run: there is no versitygw; make ops builds one")
		}
	}
	dir := t.TempDir()
	bucket = filepath.Join(dir, "data", "backups")
	if err := os.MkdirAll(bucket, 0o700); err != nil {
		t.Fatal(err)
	}
	addr := stack.FreePorts(t, 1)[0]
	cmd := exec.Command(program, "--access", "a-key", "--secret", "a-secret", "--port", addr, "posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data"))
	if err := os.Mkdir(filepath.Join(dir, "meta"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Log(said.String())
		}
	})
	stack.Eventually(t, func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	return []string{"AWS_ACCESS_KEY_ID=a-key", "AWS_SECRET_ACCESS_KEY=a-secret", "AWS_REGION=us-east-1", "AWS_ENDPOINT_URL=http://" + addr}, bucket
}

// TestBackupsInABucket does with an S3-compatible store what is done with a folder, and has it
// refuse strangers.
func TestBackupsInABucket(t *testing.T) {
	t.Parallel()
	env, bucket := gateway(t)
	backupsInSteps(t, "s3://backups/night ly/one", env)
	files, _ := filepath.Glob(filepath.Join(bucket, "night ly", "one", "*.backup"))
	if len(files) != 3 {
		t.Errorf("the bucket has %v", files)
	}
	c := newClinic(t)
	for want, more := range map[string]string{
		"SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY=guess",
		"the store says ":       "AWS_ACCESS_KEY_ID=nobody",
		"say who may use":       "AWS_ACCESS_KEY_ID=",
		"connection refused":    "AWS_ENDPOINT_URL=http://127.0.0.1:1",
	} {
		line := stack.Binary(t) + " backup --plain --to s3://backups/x"
		out, code := stack.Shell(t, append([]string{"SEKI_SERVER=" + c.gate.Addr("admin gRPC")}, append(env, more)...), line)
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d %s, want %s", more, code, out, want)
		}
	}
	line := stack.Binary(t) + " backup --plain --to s3://nowhere/x"
	if out, code := stack.Shell(t, append([]string{"SEKI_SERVER=" + c.gate.Addr("admin gRPC")}, env...), line); code != 1 || !strings.Contains(out, "NoSuchBucket") {
		t.Errorf("a bucket that is not there: exit %d %s", code, out)
	}
}
