package plugintest

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Example reads the config of the JSON block in the README beside the test.
func Example(t *testing.T, into proto.Message) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatalf("read README: %v", err)
	}
	_, block, ok := strings.Cut(string(text), "```json\n")
	block, _, closed := strings.Cut(block, "```")
	if !ok || !closed {
		t.Fatal("the README has no JSON block")
	}
	var entity struct {
		Config json.RawMessage
	}
	if err := json.Unmarshal([]byte(block), &entity); err != nil {
		t.Fatalf("parse example: %v", err)
	}
	if err := protojson.Unmarshal(entity.Config, into); err != nil {
		t.Fatalf("parse config of the example: %v", err)
	}
}
