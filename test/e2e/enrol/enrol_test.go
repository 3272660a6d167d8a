package enrol_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sekifuda/sekifuda/controlplane/authority"
	"github.com/sekifuda/sekifuda/controlplane/keyring"
	"github.com/sekifuda/sekifuda/dataplane/feed"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestJoin enrols a node, which is then known by its certificate: id and group.
func TestJoin(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		n := h.machine()
		if err := n.enroll(h.token(&controlv1.CreateJoinTokenRequest{Group: "blue"}), "n1"); err != nil {
			t.Fatalf("Enroll = %v", err)
		}
		n.startAs(h.office, "n1", "red") // the group is not the node's to say
		if got := h.seen(h.office, "n1", true).GetGroup(); got != "blue" {
			t.Errorf("node is in group %q, want blue", got)
		}
		err := filepath.WalkDir(n.dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err == nil && info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		again, err := feed.OpenIdentity(filepath.Join(n.dir, "identity"), h.clock)
		if err != nil {
			t.Fatalf("OpenIdentity = %v", err)
		}
		if id, group := again.Node(); id != "n1" || group != "blue" {
			t.Errorf("on disk is %q of %q", id, group)
		}
	})
}

// TestRefusals tries to join by what should not do; each is told why.
func TestRefusals(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		good := h.token(&controlv1.CreateJoinTokenRequest{})
		parts := strings.Split(good, ".")
		used := h.token(&controlv1.CreateJoinTokenRequest{})
		if err := h.machine().enroll(used, "first"); err != nil {
			t.Fatalf("Enroll = %v", err)
		}
		revoked := h.token(&controlv1.CreateJoinTokenRequest{})
		_, err := h.access.RevokeJoinToken(t.Context(), &controlv1.RevokeJoinTokenRequest{Id: strings.Split(revoked, ".")[0]})
		if err != nil {
			t.Fatal(err)
		}
		expired := h.token(&controlv1.CreateJoinTokenRequest{Ttl: durationpb.New(time.Minute)})
		h.clock.move(2 * time.Minute)
		blue := h.token(&controlv1.CreateJoinTokenRequest{Group: "blue"})
		for name, c := range map[string]struct{ token, id, want string }{
			"no token":        {"hello", "n", "expected ID.SECRET.DIGEST"},
			"wrong secret":    {parts[0] + "." + strings.Repeat("0", 64) + "." + parts[2], "n", "its secret is wrong"},
			"unknown token":   {"00000000." + parts[1] + "." + parts[2], "n", "there is none of that id"},
			"revoked token":   {revoked, "n", "there is none of that id"},
			"expired token":   {expired, "n", "expired at"},
			"replayed token":  {used, "second", "used up, 1 of 1; last by node first"},
			"other cluster":   {parts[0] + "." + parts[1] + "." + strings.Repeat("0", 64), "n", "authority is not that of the join token"},
			"wild id":         {good, "../n", "letters, digits"},
			"id of another":   {blue, "first", "is enrolled in group default"},
			"id with a slash": {good, "a/group/b", "letters, digits"},
		} {
			if err := h.machine().enroll(c.token, c.id); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: Enroll = %v, want %q", name, err, c.want)
			}
		}
		if err := h.machine().enroll(good, "n"); err != nil {
			t.Errorf("the good token was spent by refusals: %v", err)
		}
	})
}

// TestClockSkew enrols a node whose clock is wrong: it is told so, and the token is not spent.
func TestClockSkew(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		token := h.token(&controlv1.CreateJoinTokenRequest{})
		for _, skew := range []time.Duration{-time.Hour, time.Hour, 48 * time.Hour} {
			n := h.machine()
			wrong := &clock{}
			wrong.move(skew)
			identity, err := feed.OpenIdentity(filepath.Join(n.dir, "identity"), wrong)
			n.identity = must(t, identity, err)
			if err := n.enroll(token, "n"); err == nil || !strings.Contains(err.Error(), "clock") {
				t.Errorf("Enroll with a clock %v off = %v", skew, err)
			}
		}
		if err := h.machine().enroll(token, "n"); err != nil {
			t.Errorf("Enroll = %v", err)
		}
	})
}

// TestLostAnswer asks twice with one key, as a node does whose answer was lost.
func TestLostAnswer(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		n, token := h.machine(), h.token(&controlv1.CreateJoinTokenRequest{})
		for range 2 {
			if err := n.enroll(token, "n1"); err != nil {
				t.Fatalf("Enroll = %v", err)
			}
		}
		if err := h.machine().enroll(token, "n1"); err == nil || !strings.Contains(err.Error(), "used up") {
			t.Errorf("Enroll with another key = %v", err)
		}
	})
}

// TestUsesAreExact has many nodes run for few places, at two control planes.
func TestUsesAreExact(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		other := h.open()
		token := h.token(&controlv1.CreateJoinTokenRequest{Uses: 3})
		var joined atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			n := h.machine()
			at := []*office{h.office, other}[i%2]
			wg.Go(func() {
				err := n.identity.Enroll(h.Context(), at.feed, token, fmt.Sprintf("n%d", i), n.logger())
				if err == nil {
					joined.Add(1)
				} else if !strings.Contains(err.Error(), "used up") {
					t.Errorf("Enroll = %v", err)
				}
			})
		}
		wg.Wait()
		if n := joined.Load(); n != 3 {
			t.Errorf("%d nodes joined by a token of 3 uses", n)
		}
	})
}

// TestLiar connects a node that says it is another than its certificate says.
func TestLiar(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.enrolled("n1").startAs(h.office, "n2", "").says("node n1: says that it is n2")
	})
}

// TestForeignCluster connects a node of another cluster, first as it is and then with this
// cluster's authority among those it believes.
func TestForeignCluster(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		foreign := &house{T: t, store: elsewhere(t), clock: h.clock, kek: keyring.NewRaw()}
		foreign.office = foreign.open()
		n := foreign.enrolled("n1")
		n.start(h.office).says("that this node does not know")
		n.stop()
		forge(t, h.enrolled("n1"), n)
		again, err := feed.OpenIdentity(filepath.Join(n.dir, "identity"), h.clock)
		n.identity = must(t, again, err)
		n.start(h.office).says("issued by another authority than this cluster")
	})
}

// TestNoCertificate asks for configuration without any.
func TestNoCertificate(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		if code, err := ask(t, h, anyTLS()); code != codes.Unauthenticated || !strings.Contains(err.Error(), "seki token create") {
			t.Errorf("Recv = %v", err)
		}
	})
}

// ask opens a stream of configuration and returns why it ended.
func ask(t *testing.T, h *house, creds credentials.TransportCredentials) (codes.Code, error) {
	t.Helper()
	cc, err := feed.Dial(h.feed, creds)
	must(t, cc, err)
	defer cc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := discovery.NewAggregatedDiscoveryServiceClient(cc).DeltaAggregatedResources(ctx)
	must(t, s, err)
	_, err = s.Recv()
	return status.Code(err), err
}

// TestRevoke cuts a node off at the control plane that is not asked, and lets it back.
func TestRevoke(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		other := h.open()
		n := h.enrolled("n1").start(other)
		h.enrolled("n2").start(other)
		h.seen(other, "n1", true)
		h.seen(other, "n2", true)
		before := n.client.Status()
		_, err := h.access.RevokeNode(t.Context(), &controlv1.RevokeNodeRequest{NodeId: "n1", Reason: "stolen"})
		if err != nil {
			t.Fatal(err)
		}
		h.seen(other, "n1", false)
		n.says("node n1: was revoked")
		n.says("stolen")
		if got := n.client.Status().Running; got != before.Running {
			t.Errorf("a revoked node runs %v, not %v", got, before.Running)
		}
		if err := h.machine().enroll(h.token(&controlv1.CreateJoinTokenRequest{}), "n1"); err == nil || !strings.Contains(err.Error(), "was revoked") {
			t.Errorf("Enroll of a revoked node = %v", err)
		}
		h.clock.move(17 * time.Hour)
		n.says("certificate is not renewed")
		h.seen(other, "n2", true)
		if _, err := h.access.AllowNode(t.Context(), &controlv1.AllowNodeRequest{NodeId: "n1"}); err != nil {
			t.Fatal(err)
		}
		h.seen(other, "n1", true)
	})
}

// TestRenew moves the clock to two thirds of the certificate's life.
func TestRenew(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		n := h.enrolled("n1").start(h.office)
		h.seen(h.office, "n1", true)
		was := n.identity.Expires()
		h.clock.move(15 * time.Hour)
		if got := n.identity.Expires(); !got.Equal(was) {
			t.Errorf("renewed too early: %v", got)
		}
		h.clock.move(time.Hour)
		stack.Eventually(t, func() error {
			if got := n.identity.Expires(); !got.After(was) {
				return fmt.Errorf("certificate still expires %v", got)
			}
			return nil
		})
		again, err := feed.OpenIdentity(filepath.Join(n.dir, "identity"), h.clock)
		if got := must(t, again, err).Expires(); !got.Equal(n.identity.Expires()) {
			t.Errorf("on disk is a certificate until %v", got)
		}
		h.seen(h.office, "n1", true)
	})
}

// TestAway brings nodes back whose certificates expired: within a week they renew.
func TestAway(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		soon, late := h.enrolled("soon"), h.enrolled("late")
		h.clock.move(6 * 24 * time.Hour)
		if _, err := ask(t, h, soon.identity.Credentials()); !strings.Contains(err.Error(), "it has to be renewed first") {
			t.Errorf("a stream with an expired certificate = %v", err)
		}
		soon.start(h.office)
		h.seen(h.office, "soon", true)
		h.clock.move(3 * 24 * time.Hour)
		if !late.identity.Lost() {
			t.Error("Lost = false after nine days")
		}
		late.start(h.office).says("which is too long to renew it")
		late.stop()
		if err := late.enroll(h.token(&controlv1.CreateJoinTokenRequest{}), "late"); err != nil {
			t.Fatalf("Enroll anew = %v", err)
		}
		late.start(h.office)
		h.seen(h.office, "late", true)
	})
}

// TestRotateAuthority turns the authority over under nodes that know the old one.
func TestRotateAuthority(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		other := h.open()
		n, away := h.enrolled("n1"), h.enrolled("away")
		token := h.token(&controlv1.CreateJoinTokenRequest{Ttl: durationpb.New(time.Hour)})
		res, err := h.access.RotateCA(t.Context(), &controlv1.RotateCARequest{})
		if list := must(t, res, err).GetAuthorities(); len(list) != 2 || !list[0].GetSigning() || list[1].GetSigning() {
			t.Fatalf("RotateCA = %v", list)
		}
		n.start(h.office)
		h.seen(h.office, "n1", true)
		if err := h.machine().enroll(token, "n2"); err != nil {
			t.Errorf("Enroll by a token of before = %v", err)
		}
		h.clock.move(17 * time.Hour)
		n.says("certificate renewed")
		h.clock.move(7*24*time.Hour + 7*time.Hour + time.Minute)
		n.stop()
		// The old authority is gone; who renewed meanwhile knows the new one.
		stack.Eventually(t, func() error {
			id, err := authorityDigests(h)
			if err != nil || len(id) != 1 {
				return fmt.Errorf("authorities %v, %v", id, err)
			}
			return nil
		})
		n.start(other)
		h.seen(other, "n1", true)
		away.start(h.office).says("issued by another authority than this cluster")
	})
}

// TestReplicasProveThemselves has one control plane ask another one over TLS, also after the
// authority was turned over; nodes and strangers may not ask, whatever they know.
func TestReplicasProveThemselves(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		other := h.open()
		h.enrolled("n1").start(other)
		n2 := h.enrolled("n2")
		if h.seen(h.office, "n1", true).GetReplica() != other.feed {
			t.Error("the node is not said to be at the other control plane")
		}
		if _, err := h.access.RotateCA(t.Context(), &controlv1.RotateCARequest{ForgetOld: true}); err != nil {
			t.Fatal(err)
		}
		n3 := h.enrolled("n3")
		n3.start(other)
		h.seen(h.office, "n3", true)
		for name, creds := range map[string]credentials.TransportCredentials{
			"a node": n3.identity.Credentials(), "a node of before": n2.identity.Credentials(), "a stranger": h.machine().identity.Credentials(),
			"one who takes anybody": credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}),
		} {
			conn, err := grpc.NewClient(h.office.feed, grpc.WithTransportCredentials(creds))
			must(t, conn, err)
			ctx := metadata.AppendToOutgoingContext(t.Context(), "sekifuda-replica", base64.RawURLEncoding.EncodeToString([]byte("of the cluster")))
			_, err = controlv1.NewReplicaServiceClient(conn).Seen(ctx, &controlv1.SeenRequest{})
			if code := status.Code(err); code != codes.Unauthenticated && code != codes.Unavailable {
				t.Errorf("%s asks as a control plane does = %v", name, err)
			}
			_ = conn.Close()
		}
	})
}

func authorityDigests(h *house) ([]string, error) {
	key, err := keyring.NewKey(h.kek)
	if err != nil {
		return nil, err
	}
	keys, err := keyring.Open(h.Context(), h.store, []keyring.Key{key})
	if err != nil {
		return nil, err
	}
	a, err := authority.Open(h.Context(), authority.Options{Store: h.store, Sealer: keys, Now: h.clock.Now})
	if err != nil {
		return nil, err
	}
	var list []string
	for _, i := range a.Authorities() {
		list = append(list, i.Digest)
	}
	return list, nil
}

// TestForgetAuthority drops the old authority at once: its nodes are cut off and must enrol.
func TestForgetAuthority(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		n := h.enrolled("n1").start(h.office)
		h.seen(h.office, "n1", true)
		if _, err := h.access.RotateCA(t.Context(), &controlv1.RotateCARequest{ForgetOld: true}); err != nil {
			t.Fatal(err)
		}
		n.says("that this node does not know")
		h.seen(h.office, "n1", false)
	})
}

// TestKeyIsSealed looks for the authority's key in what the store keeps.
func TestKeyIsSealed(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		wrong, err := keyring.NewKey(keyring.NewRaw())
		must(t, wrong, err)
		_, err = keyring.Open(t.Context(), h.store, []keyring.Key{wrong})
		if err == nil || !strings.Contains(err.Error(), "--kek-file") {
			t.Errorf("Open with another key = %v", err)
		}
		right, err := keyring.NewKey(h.kek)
		must(t, right, err)
		keys, err := keyring.Open(t.Context(), h.store, []keyring.Key{wrong, right})
		must(t, keys, err)
		r, err := keys.Rotate(t.Context(), true)
		if err != nil || r.Rewrapped != 1 || r.DataKeys != 2 || r.Key != wrong.Name {
			t.Fatalf("Rotate = %+v, %v", r, err)
		}
		only, err := keyring.Open(t.Context(), h.store, []keyring.Key{wrong})
		must(t, only, err)
		a, err := authority.Open(t.Context(), authority.Options{Store: h.store, Sealer: only, Now: h.clock.Now})
		if err != nil || len(a.Authorities()) != 1 {
			t.Errorf("the authority after rotation: %v", err)
		}
	})
}

// forge gives to a node the certificate of another cluster's while it believes this one.
func forge(t *testing.T, here, there *node) {
	t.Helper()
	read := func(n *node) []string {
		text, err := os.ReadFile(filepath.Join(n.dir, "identity", "certificates.pem"))
		return strings.SplitAfter(string(must(t, text, err)), "-----END CERTIFICATE-----\n")
	}
	mine, theirs := read(there), read(here)
	text := mine[0] + strings.Join(theirs[1:], "")
	if err := os.WriteFile(filepath.Join(there.dir, "identity", "certificates.pem"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
