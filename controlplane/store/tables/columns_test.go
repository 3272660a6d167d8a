package tables

import (
	"bytes"
	"slices"
	"testing"
)

func TestTagsThereAndBack(t *testing.T) {
	t.Parallel()
	for _, tags := range [][]string{nil, {""}, {"a"}, {"a", "", "b"}, {"\x00\xff", string(make([]byte, 300))}} {
		got, err := ParseTags(Tags(tags))
		if err != nil || !slices.Equal(got, tags) {
			t.Errorf("ParseTags(Tags(%q)) = %q, %v", tags, got, err)
		}
	}
	if b := Tags([]string{}); b != nil {
		t.Errorf("Tags of none = %v, want NULL", b)
	}
}

func FuzzParseTags(f *testing.F) {
	f.Add([]byte{})
	f.Add(Tags([]string{"a", "bc", ""}))
	f.Add([]byte{5, 'a'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		tags, err := ParseTags(b)
		if err != nil {
			return
		}
		again, err := ParseTags(Tags(tags))
		if err != nil || !slices.Equal(again, tags) {
			t.Errorf("ParseTags(%x) = %q, and again %q, %v", b, tags, again, err)
		}
		if canonical := Tags(tags); len(canonical) > len(b) || (len(canonical) == len(b) && !bytes.Equal(canonical, b)) {
			t.Errorf("Tags(%q) = %x, read from %x", tags, canonical, b)
		}
	})
}
