package snapshot

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

var tracks = &Rules{Live: func(kind string) bool { return kind == "consumers" }}

func put(rev uint64, kind, id, body string) Change {
	return Change{Rev: rev, Kind: kind, ID: id, After: []byte(body)}
}

func drop(rev uint64, kind, id, before string) Change {
	return Change{Rev: rev, Kind: kind, ID: id, Before: []byte(before)}
}

// dump is the plain content of a view.
func dump(v View) map[string]string {
	m := make(map[string]string)
	for e := range v.All() {
		m[e.Name()] = fmt.Sprintf("%d:%s", e.Rev, e.Body)
	}
	return m
}

// hashOf is the set hash by its definition.
func hashOf(v View) (h feedv1.SetHash) {
	for e := range v.All() {
		h = h.Plus(feedv1.Leaf(e.Name(), e.Body))
	}
	return h
}

func whole(s *Snapshot) View { return View{s, s} }

// history makes revisions of random changes, and the plain content that each must have.
func history(r *rand.Rand, revisions int) ([]*Snapshot, []map[string]string) {
	kinds := []string{"consumers", "routes", "services"}
	s, plain := New("e", tracks), map[string]string{}
	snaps, want := []*Snapshot{s}, []map[string]string{{}}
	for rev := uint64(1); rev <= uint64(revisions); rev++ {
		var changes []Change
		for range 1 + r.IntN(40) {
			kind, id := kinds[r.IntN(3)], fmt.Sprint(r.IntN(300))
			name := kind + "/" + id
			if _, ok := plain[name]; ok && r.IntN(3) == 0 {
				changes = append(changes, drop(rev, kind, id, "?"))
				delete(plain, name)
				continue
			}
			body := fmt.Sprint(r.IntN(5))
			changes = append(changes, put(rev, kind, id, body))
			plain[name] = fmt.Sprintf("%d:%s", rev, body)
		}
		s = s.Apply(rev, changes)
		snaps, want = append(snaps, s), append(want, maps.Clone(plain))
	}
	return snaps, want
}

func TestOldSnapshotsStayAsTheyWere(t *testing.T) {
	t.Parallel()
	snaps, want := history(rand.New(rand.NewPCG(1, 2)), 120)
	for i, s := range snaps {
		if got := dump(whole(s)); !maps.Equal(got, want[i]) {
			t.Fatalf("revision %d = %v, want %v", i, got, want[i])
		}
		if s.Len() != len(want[i]) || s.Rev() != uint64(i) {
			t.Errorf("revision %d: Len, Rev = %d, %d, want %d, %d", i, s.Len(), s.Rev(), len(want[i]), i)
		}
	}
}

func TestIncrementalEqualsFullBuild(t *testing.T) {
	t.Parallel()
	snaps, _ := history(rand.New(rand.NewPCG(3, 4)), 80)
	for _, s := range snaps {
		var all []Change
		for e := range s.All() {
			all = append(all, Change{Rev: e.Rev, Kind: e.Kind, ID: e.ID, After: e.Body})
		}
		full := New("e", tracks).Apply(s.Rev(), all)
		if whole(full).Pos(1) != whole(s).Pos(1) {
			t.Fatalf("revision %d: full build stands at %v, want %v", s.Rev(), whole(full).Pos(1), whole(s).Pos(1))
		}
		for before, after := range Diff(whole(full), whole(s)) {
			t.Fatalf("revision %d: full build differs in %v, %v", s.Rev(), before, after)
		}
	}
}

func TestHashesFollowTheirDefinition(t *testing.T) {
	t.Parallel()
	snaps, _ := history(rand.New(rand.NewPCG(5, 6)), 60)
	for _, staged := range snaps[50:] {
		for _, live := range snaps[50:] {
			v := View{Staged: staged, Live: live}
			if got, want := v.Hash(), hashOf(v); got != want {
				t.Fatalf("view %d/%d: Hash = %v, want %v", staged.Rev(), live.Rev(), got, want)
			}
		}
	}
	last := snaps[len(snaps)-1]
	sum := last.Hash("consumers").Plus(last.Hash("routes")).Plus(last.Hash("services"))
	if got := whole(last).Hash(); got != sum {
		t.Errorf("Hash = %v, want the sum of its kinds %v", got, sum)
	}
	if got := last.Hash("nothing"); got != (feedv1.SetHash{}) {
		t.Errorf("Hash of a kind without entries = %v, want zero", got)
	}
}

func TestDiffLeadsFromAnyViewToAnyOther(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	snaps, _ := history(r, 60)
	for range 300 {
		from := View{snaps[r.IntN(61)], snaps[r.IntN(61)]}
		to := View{snaps[r.IntN(61)], snaps[r.IntN(61)]}
		got, seen := dump(from), map[string]bool{}
		for before, after := range Diff(from, to) {
			e := after
			if e == nil {
				e = before
				delete(got, e.Name())
			} else {
				got[e.Name()] = fmt.Sprintf("%d:%s", e.Rev, e.Body)
			}
			if seen[e.Name()] {
				t.Fatalf("Diff names %s twice", e.Name())
			}
			seen[e.Name()] = true
		}
		if want := dump(to); !maps.Equal(got, want) {
			t.Fatalf("after Diff the view is %v, want %v", got, want)
		}
	}
}

func TestDiffEntersOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	var all []Change
	for i := range 50_000 {
		all = append(all, put(1, "routes", fmt.Sprint(i), "x"))
	}
	a := New("e", nil).Apply(1, all)
	b := a.Apply(2, []Change{put(2, "routes", "77", "y")})
	// What both share is made unreadable: whoever enters it panics.
	shared := 0
	for _, n := range a.sets[0].root.nodes {
		if slices.Contains(b.sets[0].root.nodes, n) {
			n.entries, n.nodes = nil, nil
			shared++
		}
	}
	if shared != 31 {
		t.Fatalf("shared branches = %d, want all but one of 32", shared)
	}
	for before, after := range Diff(whole(a), whole(b)) {
		if before.ID != "77" || after.ID != "77" {
			t.Errorf("Diff yields %v, %v", before, after)
		}
	}
	if got := b.Added(); got < 1 || got > 10_000 {
		t.Errorf("Added = %d bytes for one entry", got)
	}
}

func TestProjectionDecidesWhatNodesSee(t *testing.T) {
	t.Parallel()
	rules := &Rules{Project: func(kind string, body []byte) (string, []byte, bool) {
		if kind == "secrets" || bytes.HasPrefix(body, []byte("hidden")) {
			return "", nil, false
		}
		return kind, bytes.ToUpper(body), true
	}}
	s := New("e", rules).Apply(1, []Change{
		put(1, "secrets", "1", "pepper"),
		put(1, "keys", "1", "abc"),
		put(1, "keys", "2", "def"),
	})
	if got, want := dump(whole(s)), map[string]string{"keys/1": "1:ABC", "keys/2": "1:DEF"}; !maps.Equal(got, want) {
		t.Fatalf("nodes see %v, want %v", got, want)
	}
	s = s.Apply(2, []Change{
		{Rev: 2, Kind: "keys", ID: "1", Before: []byte("abc"), After: []byte("hidden")},
		drop(2, "keys", "2", "def"),
		drop(2, "keys", "3", "never there"),
	})
	if s.Len() != 0 || whole(s).Hash() != (feedv1.SetHash{}) {
		t.Errorf("nodes still see %v, hash %v", dump(whole(s)), whole(s).Hash())
	}
}

// Entries whose hashes are the same in every level must still be told apart.
func TestCollidingIdsStandInAList(t *testing.T) {
	t.Parallel()
	ed := new(edit)
	var root *node
	const same = uint64(0x1234)
	for i := range 5 {
		root, _ = insert(root, &Entry{ID: fmt.Sprint(i)}, same, hashBits, ed)
	}
	before := root
	root, old := insert(root, &Entry{ID: "3", Rev: 9}, same, hashBits, new(edit))
	if old == nil || find(root, "3", same, hashBits).Rev != 9 || find(before, "3", same, hashBits).Rev != 0 {
		t.Error("replacing a listed entry must leave the older list alone")
	}
	root, _ = remove(root, "0", same, hashBits, new(edit))
	var got []string
	diff(before, root, hashBits, func(b, a *Entry) bool {
		if a == nil {
			got = append(got, "-"+b.ID)
		} else {
			got = append(got, "~"+a.ID)
		}
		return true
	})
	slices.Sort(got)
	if s := strings.Join(got, " "); s != "-0 ~3" {
		t.Errorf("difference of lists = %q, want %q", s, "-0 ~3")
	}
	if find(root, "0", same, hashBits) != nil {
		t.Error("a removed entry is still found")
	}
}

// FuzzApply drives random writes and holds every snapshot to a plain map.
func FuzzApply(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 250, 1, 2})
	f.Add(bytes.Repeat([]byte{7, 130, 9}, 40))
	f.Fuzz(func(t *testing.T, script []byte) {
		s, plain := New("e", tracks), map[string]string{}
		for i, b := range script {
			rev, id := uint64(i+1), fmt.Sprint(b&63)
			if b&64 != 0 {
				s = s.Apply(rev, []Change{drop(rev, "routes", id, "?")})
				delete(plain, "routes/"+id)
			} else {
				s = s.Apply(rev, []Change{put(rev, "routes", id, fmt.Sprint(b))})
				plain["routes/"+id] = fmt.Sprintf("%d:%d", rev, b)
			}
		}
		if got := dump(whole(s)); !maps.Equal(got, plain) {
			t.Errorf("snapshot = %v, want %v", got, plain)
		}
		if got, want := whole(s).Hash(), hashOf(whole(s)); got != want {
			t.Errorf("Hash = %v, want %v", got, want)
		}
	})
}

func BenchmarkApplyOneOf100k(b *testing.B) {
	var all []Change
	for i := range 100_000 {
		all = append(all, put(1, "routes", fmt.Sprint(i), strings.Repeat("x", 300)))
	}
	s := New("e", tracks).Apply(1, all)
	body := bytes.Repeat([]byte("y"), 300)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s = s.Apply(uint64(i), []Change{{Rev: uint64(i), Kind: "routes", ID: "77", After: body}})
	}
}

func BenchmarkBuild100k(b *testing.B) {
	var all []Change
	for i := range 100_000 {
		all = append(all, put(1, "routes", fmt.Sprint(i), strings.Repeat("x", 300)))
	}
	for b.Loop() {
		New("e", tracks).Apply(1, all)
	}
}
