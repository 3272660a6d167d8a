package h1

import (
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
)

func TestParseRequestReadsForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, host, path, query string }{
		{"/a?b=c", "a", "/a", "b=c"},
		{"/a?", "a", "/a", ""},
		{"/a?b?c", "a", "/a", "b?c"},
		{"http://b:81/x?y", "b:81", "/x", "y"},
		{"https://b", "b", "/", ""},
		{"http://b?q", "b", "/", "q"},
	} {
		h, _, err := parse("GET " + c.target + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		if h.Host != c.host || h.Path != c.path || h.Query != c.query {
			t.Errorf("%q = %q %q %q, want %q %q %q", c.target, h.Host, h.Path, h.Query, c.host, c.path, c.query)
		}
	}
}

func TestConnectionSemantics(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		minor, field string
		close        bool
	}{
		{"1", "", false}, {"0", "", true},
		{"1", "Connection: close", true}, {"1", "Connection: Close, x", true},
		{"0", "Connection: keep-alive", false}, {"0", "Connection: Keep-Alive", false},
		{"0", "Connection: keep-alive, close", true},
	} {
		in := "GET / HTTP/1." + c.minor + "\r\nHost: a\r\n"
		if c.field != "" {
			in += c.field + "\r\n"
		}
		h, _, err := parse(in + "\r\n")
		if err != nil || h.Close != c.close {
			t.Errorf("1.%s %q: close = %v, %v, want %v", c.minor, c.field, h.Close, err, c.close)
		}
	}
}

func TestDropNamedKeepsFraming(t *testing.T) {
	t.Parallel()
	h, f, err := parse(post + "Content-Length: 2\r\nConnection: X-A, content-length, Host, x-b\r\nX-A: 1\r\nx-B: 2\r\nX-C: 3\r\nX-A: 4\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	h.DropNamed(f)
	var names []string
	for _, l := range f.Fields() {
		names = append(names, l.Name)
	}
	if got, want := strings.Join(names, " "), "Host Content-Length Connection X-C"; got != want {
		t.Errorf("fields = %q, want %q", got, want)
	}
}

func TestScanResumes(t *testing.T) {
	t.Parallel()
	in := get + "X: 1\r\n\r\nrest"
	next := 0
	for i := 1; i <= len(in); i++ {
		end, resume, err := RequestLimits.Scan([]byte(in[:i]), next)
		if err != nil {
			t.Fatal(err)
		}
		if end > 0 {
			if in[end:] != "rest" {
				t.Errorf("head ends at %d", end)
			}
			return
		}
		if next = resume; next > 0 && in[next-1] != '\n' {
			t.Fatalf("resumes inside a line at %d", next)
		}
	}
	t.Error("no end found")
}

func TestFrameChunk(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 9, 10, 15, 16, 255, 4096, 70000} {
		b := make([]byte, SizeRoom+n+EndRoom)
		for i := range b {
			b[i] = 'x'
		}
		lo, hi := FrameChunk(b, SizeRoom, SizeRoom+n)
		got, done, err := decodeAll(string(b[lo:hi])+LastChunk, 1<<20)
		if err != nil || !done || got != strings.Repeat("x", n) {
			t.Errorf("chunk of %d: %d bytes, %v, %v", n, len(got), done, err)
		}
	}
}

func TestAppendFieldCannotSplit(t *testing.T) {
	t.Parallel()
	got := string(AppendField(nil, "X-A", "a\r\nSet-Cookie: b\x00"))
	if want := "X-A: a  Set-Cookie: b \r\n"; got != want {
		t.Errorf("field = %q, want %q", got, want)
	}
	if got := AppendField(nil, "X A", "1"); len(got) != 0 {
		t.Errorf("field with a bad name = %q", got)
	}
}

// TestAppendLineFollowsEdits edits lines in place: what goes out is what they say now, and cannot
// split.
func TestAppendLineFollowsEdits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		edit func(*plugin.Field)
		want string
	}{
		{func(*plugin.Field) {}, "X-Name: a value\r\n"},
		{func(f *plugin.Field) { f.Name = "Y" }, "Y: a value\r\n"},
		{func(f *plugin.Field) { f.Name = f.Name[2:] }, "Name: a value\r\n"},
		{func(f *plugin.Field) { f.Name = f.Name[:1] }, "X: a value\r\n"},
		{func(f *plugin.Field) { f.Value = f.Value[2:] }, "X-Name: value\r\n"},
		{func(f *plugin.Field) { f.Value = f.Value[:1] }, "X-Name: a\r\n"},
		{func(f *plugin.Field) { f.Value = "b\r\nc: d" }, "X-Name: b  c: d\r\n"},
		{func(f *plugin.Field) { f.Value = "" }, "X-Name: \r\n"},
		{func(f *plugin.Field) { f.Name = "a b" }, ""},
	} {
		_, fields, err := parse(get + "X-Name: a value\r\nX-Odd:\t b \r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		line := &fields.Fields()[1]
		if _, ok := line.Wire(); !ok {
			t.Fatal("a line as it came is not known as one")
		}
		c.edit(line)
		if got := string(AppendLine(nil, line)); got != c.want {
			t.Errorf("line = %q, want %q", got, c.want)
		}
		if got := string(AppendLine(nil, &fields.Fields()[2])); got != "X-Odd: b\r\n" {
			t.Errorf("a line with other blanks goes out as %q", got)
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	b := []byte(get + "User-Agent: x\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n")
	var h Head
	var f plugin.Header
	if n := testing.AllocsPerRun(100, func() {
		end, _, err := RequestLimits.Scan(b, 0)
		if err != nil || h.ParseRequest(b[:end], 100, &f) != nil {
			t.Fatal("refused")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
