package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

type applierFunc func(Move) error

func (f applierFunc) Apply(_ context.Context, m Move) error { return f(m) }

func yes(Move) error { return nil }

// node makes a client on dir that runs what its disk gives it.
func node(t *testing.T, dir string, apply func(Move) error) *Client {
	t.Helper()
	c, err := New(Options{Applier: applierFunc(apply), NodeID: "n", Version: "1", Dir: dir, Clock: newFakeClock()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// step is a move of c by one revision, in force.
func step(c *Client, changes ...Change) Move {
	from := c.running()
	to := Pos{Epoch: "e", Generation: 1, Staged: from.Staged + 1, Live: from.Live + 1}
	m := Move{From: from, To: to, Full: from == Pos{}, Changes: changes}
	m.To.Hash = c.set.after(m.Full, changes)
	c.enforced(m)
	return m
}

// write makes revisions on disk and returns what each of them holds.
func write(t *testing.T, c *Client, revisions int, body func(i int) []byte) []map[string]string {
	t.Helper()
	var all []map[string]string
	for i := range revisions {
		step(c, Change{Kind: "k", ID: fmt.Sprint(i % 7), Rev: uint64(i), Body: body(i)},
			Change{Kind: "k", ID: fmt.Sprint((i + 3) % 7)})
		all = append(all, c.holds())
		if err := c.disk.flush(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func small(i int) []byte { return fmt.Appendf(nil, "body %d", i) }

func newest(t *testing.T, dir string) string {
	t.Helper()
	all := files(dir)
	if len(all) == 0 {
		t.Fatal("no file")
	}
	return filePath(dir, all[0])
}

// Whatever happens to the file, what comes back is a revision that was, whole.
func TestDamageLeavesARevisionThatWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := node(t, dir, yes)
	want := write(t, c, 40, small)
	good, err := os.ReadFile(newest(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, data []byte) int {
		t.Helper()
		r, err := recoverFrom(bytes.NewReader(data), c.disk.key, 0)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		n := len(r.commits)
		if n > 0 && !maps.Equal(r.set.plain(), want[n-1]) {
			t.Fatalf("%s: revision %d holds %v, want %v", what, n, r.set.plain(), want[n-1])
		}
		return n
	}
	if n := check("as written", good); n != 40 {
		t.Fatalf("recovered %d revisions, want 40", n)
	}
	r := rand.New(rand.NewPCG(1, 2))
	least, most := 40, 0
	for range 400 {
		torn := check("torn", good[:r.IntN(len(good))])
		bad := bytes.Clone(good)
		bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		flipped := check("flipped", bad)
		if flipped == 40 {
			t.Fatal("a flipped bit went unnoticed")
		}
		least, most = min(least, torn, flipped), max(most, torn, flipped)
	}
	if least > 2 || most < 37 {
		t.Errorf("damage left between %d and %d revisions: the test does not reach both ends", least, most)
	}
	for range 50 { // two records of one file in each other's place
		a, b := 1+r.IntN(38), 1+r.IntN(38)
		if a == b {
			continue
		}
		if n := check("swapped", swapped(t, c.disk.key, good, a, b)); n > min(a, b) {
			t.Fatalf("records %d and %d swapped: %d revisions recovered", a, b, n)
		}
	}
}

// swapped exchanges two records, as an attacker without the key could.
func swapped(t *testing.T, key, data []byte, a, b int) []byte {
	t.Helper()
	var at []int
	for pos := headerSize; pos < len(data); {
		at = append(at, pos)
		pos += frameSize + int(uint32(data[pos])<<24|uint32(data[pos+1])<<16|uint32(data[pos+2])<<8|uint32(data[pos+3]))
	}
	at = append(at, len(data))
	if a > b {
		a, b = b, a
	}
	out := bytes.Clone(data[:at[a]])
	out = append(out, data[at[b]:at[b+1]]...)
	out = append(out, data[at[a+1]:at[b]]...)
	out = append(out, data[at[a]:at[a+1]]...)
	return append(out, data[at[b+1]:]...)
}

func TestBootAfterDamageGoesOn(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte) []byte{
		"torn tail": func(b []byte) []byte { return b[:len(b)-3] },
		"flip":      func(b []byte) []byte { b[len(b)-3] ^= 4; return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			want := write(t, node(t, dir, yes), 5, small)
			path := newest(t, dir)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			c := node(t, dir, yes)
			at, err := c.Boot(context.Background())
			if at.Staged != 4 || !errors.Is(err, errDamaged) || !maps.Equal(c.holds(), want[3]) {
				t.Fatalf("Boot = %v, %v, holds %v, want revision 4 and why not 5", at, err, c.holds())
			}
			// What follows is appended behind the last good revision, and found again.
			step(c, Change{Kind: "k", ID: "new", Body: []byte("x")})
			if err := c.disk.flush(); err != nil {
				t.Fatal(err)
			}
			again := node(t, dir, yes)
			if at, err := again.Boot(context.Background()); err != nil || at != c.running() || !maps.Equal(again.holds(), c.holds()) {
				t.Errorf("Boot = %v, %v, want %v", at, err, c.running())
			}
		})
	}
}

func TestLostBaseFallsBackToTheOlderFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := node(t, dir, yes)
	write(t, c, 5, small)
	c.disk.rebase = true
	if err := c.disk.flush(); err != nil {
		t.Fatal(err)
	}
	if got := len(files(dir)); got != 2 {
		t.Fatalf("files = %d, want the base and the one before it", got)
	}
	if err := os.WriteFile(newest(t, dir), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := node(t, dir, yes)
	if at, _ := again.Boot(context.Background()); at != c.running() || !maps.Equal(again.holds(), c.holds()) {
		t.Fatalf("Boot = %v, want %v", at, c.running())
	}
	step(again, Change{Kind: "k", ID: "new", Body: []byte("x")})
	if err := again.disk.flush(); err != nil {
		t.Fatal(err)
	}
	third := node(t, dir, yes)
	if at, err := third.Boot(context.Background()); at != again.running() || err != nil {
		t.Errorf("Boot = %v, %v, want %v", at, err, again.running())
	}
}

// The last twenty revisions can be started on, also right after a new base.
func TestOlderRevisionsStayRecoverable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := node(t, dir, yes)
	bases := 0
	for i := range 50 { // four revisions are more than the growth that a base is worth
		step(c, Change{Kind: "k", ID: "1", Rev: uint64(i), Body: bytes.Repeat([]byte{byte(i)}, 1100<<10)})
		before := c.disk.number
		if err := c.disk.flush(); err != nil {
			t.Fatal(err)
		}
		if c.disk.number == before {
			continue
		}
		bases++
		if got := count(t, dir, c.disk.key); i > recoverable && got < recoverable {
			t.Fatalf("after %d revisions and %d bases %d can be recovered, want %d", i+1, bases, got, recoverable)
		}
	}
	if bases < 3 {
		t.Errorf("bases written = %d: the test does not reach a new one", bases)
	}
	if got := len(files(dir)); got > 3 {
		t.Errorf("files = %d, want at most 3", got)
	}
	// The applier refuses all but one revision of long ago.
	target := c.running().Staged - recoverable + 1
	again := node(t, dir, func(m Move) error {
		if m.To.Staged != target {
			return &Refused{}
		}
		return nil
	})
	if at, _ := again.Boot(context.Background()); at.Staged != target {
		t.Errorf("Boot = %v, want revision %d", at, target)
	}
}

// Bases that are written for other reasons do not push the older revisions out.
func TestBasesInARowKeepOlderRevisions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := node(t, dir, yes)
	write(t, c, 30, small)
	for range 2 {
		if err := c.disk.startOver(); err != nil {
			t.Fatal(err)
		}
		step(c, Change{Kind: "k", ID: "1", Body: []byte("x")})
		if err := c.disk.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(t, dir, c.disk.key); got < recoverable {
		t.Errorf("%d revisions can be recovered, want %d", got, recoverable)
	}
}

func TestRecordsAreBoundToFileAndPlace(t *testing.T) {
	t.Parallel()
	key := make([]byte, keySize)
	a, err := newSealer(key)
	if err != nil {
		t.Fatal(err)
	}
	a.header()
	first, second := a.seal(nil, []byte("first")), a.seal(nil, []byte("second"))
	read := func(salt [saltSize]byte, n uint64, record []byte) (string, error) {
		s, err := newSealer(key)
		if err != nil {
			t.Fatal(err)
		}
		s.salt, s.n = salt, n
		ops, _, err := s.open(bytes.NewReader(record))
		return string(ops), err
	}
	if got, err := read(a.salt, 1, second); err != nil || got != "second" {
		t.Errorf("record in its place = %q, %v", got, err)
	}
	if got, err := read(a.salt, 1, first); err == nil {
		t.Errorf("record in another place = %q, want an error", got)
	}
	if got, err := read([saltSize]byte{1}, 0, first); err == nil {
		t.Errorf("record in another file = %q, want an error", got)
	}
}

func count(t *testing.T, dir string, key []byte) int {
	t.Helper()
	seen := map[Pos]bool{}
	for _, n := range files(dir) {
		r, err := recoverFile(filePath(dir, n), key, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range r.commits {
			seen[at] = true
		}
	}
	return len(seen)
}

// fullDisk is a file on a disk with so many bytes left.
type fullDisk struct {
	file
	left *atomic.Int64
}

func (f fullDisk) Write(b []byte) (int, error) {
	left := f.left.Add(-int64(len(b)))
	if left >= 0 {
		return f.file.Write(b)
	}
	n, _ := f.file.Write(b[:max(0, len(b)+int(left))]) // a torn write, as a full disk leaves it
	return n, &os.PathError{Op: "write", Path: "lkg", Err: syscall.ENOSPC}
}

func TestFullDiskDoesNotStopEnforcement(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := node(t, dir, yes)
	left := new(atomic.Int64)
	left.Store(1 << 30)
	create := c.disk.create
	c.disk.create = func(path string) (file, error) {
		f, err := create(path)
		return fullDisk{f, left}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	defer func() { cancel(); <-done }()
	until := func(what string, ok func(Status) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(c.Status()); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: status %+v", what, c.Status())
			}
		}
	}
	step(c, Change{Kind: "k", ID: "1", Body: []byte("x")})
	until("first revision", func(s Status) bool { return s.OnDisk })

	left.Store(10)
	step(c, Change{Kind: "k", ID: "2", Body: []byte("y")})
	until("full disk", func(s Status) bool { return errors.Is(s.DiskError, syscall.ENOSPC) })
	if s := c.Status(); s.OnDisk || s.Running.Staged != 2 {
		t.Errorf("status on a full disk = %+v, want revision 2 in force and not on disk", s)
	}
	// A restart meanwhile would find what was written before.
	if r, err := recoverFile(newest(t, dir), c.disk.key, 0); err != nil || r.last().Staged != 1 || r.damage != nil {
		t.Errorf("on the full disk is %v, %v, %v, want revision 1", r.last(), r.damage, err)
	}
	left.Store(1 << 30)
	c.Clock.(*fakeClock).advance(retryDisk)
	until("room again", func(s Status) bool { return s.OnDisk && s.DiskError == nil })
	again := node(t, dir, yes)
	if at, err := again.Boot(context.Background()); err != nil || at != c.running() {
		t.Errorf("Boot = %v, %v, want %v", at, err, c.running())
	}
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	c := node(t, t.TempDir(), yes)
	big := make([]byte, 1<<20)
	for i := range 100 {
		step(c, Change{Kind: "k", ID: fmt.Sprint(i % 2), Rev: uint64(i), Body: big})
		if c.disk.queued > maxPending {
			t.Fatalf("queue holds %d bytes", c.disk.queued)
		}
	}
	if err := c.disk.flush(); err != nil {
		t.Fatal(err)
	}
	again := node(t, c.Dir, yes)
	if at, err := again.Boot(context.Background()); err != nil || at != c.running() {
		t.Errorf("Boot = %v, %v, want %v", at, err, c.running())
	}
}

func TestFilesTellNothingWithoutTheKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := node(t, dir, yes)
	step(c, Change{Kind: "consumers", ID: "alice", Body: []byte("a secret worth keeping")})
	if err := c.disk.flush(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(newest(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"alice", "consumers", "secret"} {
		if bytes.Contains(data, []byte(word)) {
			t.Errorf("the file says %q", word)
		}
	}
	for _, name := range []string{"node.key", filepath.Base(newest(t, dir))} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v, want 0600", name, info.Mode(), err)
		}
	}
	r, err := recoverFrom(bytes.NewReader(data), make([]byte, keySize), 0)
	if err != nil || len(r.commits) != 0 || r.damage == nil || errors.Is(r.damage, errDamaged) {
		t.Errorf("another key reads %d revisions, %v, %v", len(r.commits), r.damage, err)
	}
}

func TestKeysAreChecked(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(string) error{
		"mode":  func(p string) error { return os.Chmod(p, 0o640) },
		"bytes": func(p string) error { return os.WriteFile(p, []byte("short"), 0o600) },
	} {
		dir := t.TempDir()
		node(t, dir, yes)
		if err := spoil(filepath.Join(dir, "node.key")); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{Applier: applierFunc(yes), NodeID: "n", Dir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New with a spoiled key = %v, want an error about its %s", err, want)
		}
	}
}

func FuzzRecover(f *testing.F) {
	key := make([]byte, keySize)
	s, err := newSealer(key)
	if err != nil {
		f.Fatal(err)
	}
	set := newSet()
	changes := []Change{{Kind: "k", ID: "1", Body: []byte("x")}, {Kind: "k", ID: "2"}}
	records, err := encodeMove(Move{To: Pos{Epoch: "e", Hash: set.after(true, changes)}, Full: true, Changes: changes})
	if err != nil {
		f.Fatal(err)
	}
	file := s.header()
	for _, ops := range records {
		f.Add(ops, true)
		file = s.seal(file, ops)
	}
	f.Add(appendOp(nil, opCommit, []byte(Pos{Epoch: "e", Hash: feedv1.SetHash{1}}.String())), true) // a lie
	f.Add(file, false)
	f.Add(file[:len(file)-1], false)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		if sealed { // past the cipher: the ops themselves
			s, _ := newSealer(key)
			data = s.seal(s.header(), data)
		}
		r, err := recoverFrom(bytes.NewReader(data), key, 0)
		if err != nil {
			t.Fatal(err)
		}
		var h feedv1.SetHash
		for name, e := range r.set.entries {
			h = h.Plus(feedv1.Leaf(name, e.body))
		}
		if h != r.last().Hash {
			t.Errorf("recovered set has hash %v, its revision says %v", h, r.last().Hash)
		}
	})
}

func FuzzGuard(f *testing.F) {
	f.Add("version 1\ncrashed e.1.2.3/" + feedv1.SetHash{}.String() + "\napplying e.1.2.4/" + feedv1.SetHash{}.String())
	f.Add("version 1\napplying")
	f.Add("version 1\nend\napplying e.1.2.4/" + feedv1.SetHash{}.String())
	f.Fuzz(func(t *testing.T, text string) {
		g := &guard{version: "1"}
		g.read(text)
		if len(g.dead) > maxDeaths {
			t.Errorf("guard remembers %d deaths", len(g.dead))
		}
	})
}

func BenchmarkRecover100k(b *testing.B) {
	var changes []Change
	for i := range 100_000 {
		changes = append(changes, Change{Kind: "routes", ID: fmt.Sprint(i), Body: bytes.Repeat([]byte("x"), 300)})
	}
	set, key := newSet(), make([]byte, keySize)
	s, _ := newSealer(key)
	var buf bytes.Buffer
	m := Move{To: Pos{Epoch: "e", Hash: set.after(true, changes)}, Full: true, Changes: changes}
	records, err := encodeMove(m)
	if err != nil {
		b.Fatal(err)
	}
	buf.Write(s.header())
	for _, ops := range records {
		buf.Write(s.seal(nil, ops))
	}
	for b.Loop() {
		if r, err := recoverFrom(bytes.NewReader(buf.Bytes()), key, 0); err != nil || len(r.commits) != 1 {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendOneRevision(b *testing.B) {
	c, err := New(Options{Applier: applierFunc(yes), NodeID: "n", Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	body := bytes.Repeat([]byte("x"), 300)
	for i := 0; b.Loop(); i++ {
		step(c, Change{Kind: "k", ID: "1", Rev: uint64(i), Body: body})
		if err := c.disk.flush(); err != nil {
			b.Fatal(err)
		}
	}
}
