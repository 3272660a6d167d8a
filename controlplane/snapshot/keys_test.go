package snapshot

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// TestNodesSeeNoKeys hashes API keys on their way to nodes, and nothing else.
func TestNodesSeeNoKeys(t *testing.T) {
	t.Parallel()
	rules := &Rules{}
	rules.HashKeys([]byte("pepper"))
	m := &entityv1.KeyauthCredential{Id: proto.String("k"), Consumer: proto.String("c"), Key: proto.String("s3cret"), Tags: []string{"a", "b"}}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	empty := New("e", rules)
	s := empty.Apply(1, []Change{
		{Rev: 1, Kind: "keyauth_credentials", ID: "k", After: body},
		{Rev: 1, Kind: "keyauth_credentials", ID: "broken", After: []byte{0x22, 0x7f}},
		{Rev: 1, Kind: "services", ID: "s", After: body},
	})
	seen := s.Find("keyauth_credentials", "k")
	if bytes.Contains(seen.Body, []byte("s3cret")) {
		t.Fatalf("nodes see %q", seen.Body)
	}
	got := &entityv1.KeyauthCredential{}
	if err := proto.Unmarshal(seen.Body, got); err != nil {
		t.Fatal(err)
	}
	m.Key = proto.String(feedv1.HashKey([]byte("pepper"), "s3cret"))
	if !proto.Equal(got, m) {
		t.Errorf("nodes see %v, want %v", got, m)
	}
	if s.Find("keyauth_credentials", "broken") != nil {
		t.Error("what cannot be read is shown")
	}
	if !bytes.Equal(s.Find("services", "s").Body, body) {
		t.Error("another kind was changed")
	}
	p := &feedv1.KeyHash{}
	for _, at := range []*Snapshot{empty, s} {
		if e := at.Find(feedv1.KeyHashKind, feedv1.KeyHashID); e == nil || proto.Unmarshal(e.Body, p) != nil || string(p.GetPepper()) != "pepper" {
			t.Errorf("revision %d: pepper is %v", at.Rev(), p)
		}
	}
	back := s.Apply(2, []Change{{Rev: 2, Kind: "keyauth_credentials", ID: "k", Before: body}, {Rev: 2, Kind: "services", ID: "s", Before: body}})
	if back.Hash("keyauth_credentials") != empty.Hash("keyauth_credentials") || back.Len() != empty.Len() {
		t.Error("a deletion does not find what the creation left")
	}
}
