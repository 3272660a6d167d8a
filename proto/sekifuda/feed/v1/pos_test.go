package feedv1

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func samplePos() Pos {
	return Pos{
		Epoch: "6f1c2b6e-6d7c-4bb0-9d3e-0b1f4ad0c001", Generation: 3, Staged: 41, Live: 44,
		Hash: Leaf("services/a", []byte("x")),
	}
}

func TestPositionSurvivesTextAndMessage(t *testing.T) {
	t.Parallel()
	p := samplePos()
	if got, err := ParsePos(p.String()); err != nil || got != p {
		t.Errorf("ParsePos(%q) = %v, %v, want %v", p, got, err, p)
	}
	if got, err := PosOf(p.Proto()); err != nil || got != p {
		t.Errorf("PosOf(Proto()) = %v, %v, want %v", got, err, p)
	}
	v := Version{To: p, Chunk: 2, Chunks: 3}
	if got, err := ParseVersion(v.String()); err != nil || got != v || !got.Last() {
		t.Errorf("ParseVersion(%q) = %v, %v, want %v", v, got, err, v)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	t.Parallel()
	h := SetHash{}.String()
	for _, s := range []string{
		"", "/", "e.1.2.3", "e.1.2/" + h, ".1.2.3/" + h, "e.1.2.-3/" + h, "e.1.2.3/zz", "e.1.2.3.4/" + h,
		strings.Repeat("e", 65) + ".1.2.3/" + h,
	} {
		if p, err := ParsePos(s); err == nil {
			t.Errorf("ParsePos(%q) = %v, want an error", s, p)
		}
	}
	for _, s := range []string{
		"e.1.2.3/0/0/" + h, "e.1.2.3/1/1/" + h, "e.1.2.3/-1/1/" + h, "e.1.2.3/0/70000/" + h, "e.1.2.3/0/1",
	} {
		if v, err := ParseVersion(s); err == nil {
			t.Errorf("ParseVersion(%q) = %v, want an error", s, v)
		}
	}
}

func TestSetHashForgetsOrderAndUndoes(t *testing.T) {
	t.Parallel()
	names := []string{"a/1", "a/2", "b/1", "b/2"}
	var want, got SetHash
	for _, n := range names {
		want = want.Plus(Leaf(n, []byte(n)))
	}
	for _, i := range rand.Perm(len(names)) {
		got = got.Plus(Leaf(names[i], []byte(names[i])))
	}
	if got != want {
		t.Errorf("order changes the hash: %v, want %v", got, want)
	}
	if got := want.Plus(Leaf("c/1", nil)).Minus(Leaf("c/1", nil)); got != want {
		t.Errorf("adding and removing a member leaves %v, want %v", got, want)
	}
	if Leaf("a/1", []byte("2")) == Leaf("a/12", nil) {
		t.Error("name and body run into each other")
	}
	if back, err := SetHashOf(want.Bytes()); err != nil || back != want {
		t.Errorf("SetHashOf(Bytes()) = %v, %v, want %v", back, err, want)
	}
}

func FuzzParsePos(f *testing.F) {
	f.Add(samplePos().String())
	f.Add("e.1.2.3/" + SetHash{}.String())
	f.Add("e.1.2/..")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePos(s)
		if err != nil {
			return
		}
		if again, err := ParsePos(p.String()); err != nil || again != p {
			t.Errorf("ParsePos(%q) = %v, %v, want %v", p, again, err, p)
		}
	})
}

func FuzzParseVersion(f *testing.F) {
	f.Add(Version{To: samplePos(), Chunk: 1, Chunks: 4}.String())
	f.Add("e.1.2.3/0/1/" + SetHash{}.String())
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVersion(s)
		if err != nil {
			return
		}
		if v.Chunk < 0 || v.Chunk >= v.Chunks || v.Chunks > maxChunks {
			t.Errorf("ParseVersion(%q) = %v, out of bounds", s, v)
		}
		if again, err := ParseVersion(v.String()); err != nil || again != v {
			t.Errorf("ParseVersion(%q) = %v, %v, want %v", v, again, err, v)
		}
	})
}
