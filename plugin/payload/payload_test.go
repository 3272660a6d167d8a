package payload

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

const (
	form      = "application/x-www-form-urlencoded"
	multi     = "multipart/form-data; boundary=B"
	multiBody = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n" +
		"--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\nfile\r\n--B--\r\n"
)

func TestEdits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, contentType, body string
		edit                    func(e Editor)
		want                    string
	}{
		{"nothing", form, "a=1&b=%20x+y&&c&=z", func(Editor) {}, "a=1&b=%20x+y&c&=z"},
		{"remove all of a name", form, "a=1&b=2&a=3", func(e Editor) { e.Remove("a") }, "b=2"},
		{"remove an escaped name", form, "%61=1&b=2", func(e Editor) { e.Remove("a") }, "b=2"},
		{"rename", form, "a=1&b=2&c=3", func(e Editor) { e.Rename("a", "b") }, "b=1&c=3"},
		{"rename what is not there", form, "b=2", func(e Editor) { e.Rename("a", "b") }, "b=2"},
		{"replace", form, "a=1&b=2&a=3", func(e Editor) { e.Replace("a", "x y"); e.Replace("n", "1") }, "a=x%20y&b=2"},
		{"add", form, "a=1", func(e Editor) { e.Add("a", "2"); e.Add("b", "&") }, "a=1&b=%26"},
		{"append", form, "a=1&b=2", func(e Editor) { e.Append("a", "9"); e.Append("c", "1") }, "a=1&a=9&b=2&c=1"},
		{"append to nothing", form, "", func(e Editor) { e.Append("c", "1") }, "c=1"},
		{"JSON keeps order and spelling", "application/json", `{"a": 1.50, "b": [ 1 ] }`, func(e Editor) { e.Add("c", `<"\`) }, `{"a":1.50,"b":[ 1 ],"c":"<\"\\"}`},
		{"JSON remove, rename, replace", "application/json", `{"a":5,"b":{"x":1},"d":1}`, func(e Editor) { e.Remove("a"); e.Rename("b", "c"); e.Replace("d", "9"); e.Replace("n", "1") }, `{"d":"9","c":{"x":1}}`},
		{"JSON append", "application/json", `{"s":"1","l":["y"],"n":1,"o":{}}`, func(e Editor) {
			for _, n := range []string{"s", "l", "n", "o", "x"} {
				e.Append(n, "2")
			}
		}, `{"s":["1","2"],"l":["y","2"],"n":["2"],"o":{},"x":["2"]}`},
		{"JSON empty", "application/json; charset=utf-8", ``, func(e Editor) { e.Add("a", "1") }, `{"a":"1"}`},
		{"JSON twice", "application/json", `{"a":1,"a":2}`, func(e Editor) { e.Add("b", "1") }, `{"a":2,"b":"1"}`},
		{"multipart", multi, multiBody, func(e Editor) { e.Rename("f", "g"); e.Replace("a", "2") },
			"--B\r\nContent-Disposition: form-data; name=\"g\"; filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\nfile\r\n" +
				"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n2\r\n--B--\r\n"},
		{"multipart empty", multi, "", func(e Editor) { e.Add("a", "1") }, "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B--\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := Parse(tt.contentType, []byte(tt.body))
			if e == nil {
				t.Fatalf("Parse(%q) = nil", tt.body)
			}
			tt.edit(e)
			if got := string(e.Bytes()); got != tt.want {
				t.Errorf("Bytes = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWhatCannotBeEdited(t *testing.T) {
	t.Parallel()
	for _, tt := range [][2]string{
		{"text/plain", "a=1"}, {"", "a=1"}, {"application/json", "{bad"}, {"application/json", "[1]"},
		{"application/json", `{"a":1} x`}, {"application/json", `{"a":1`}, {"application/json", `"a"`},
		{"multipart/form-data", multiBody}, {multi, "--B\r\nbroken"},
	} {
		if e := Parse(tt[0], []byte(tt[1])); e != nil {
			t.Errorf("Parse(%q, %q) = %q, want nil", tt[0], tt[1], e.Bytes())
		}
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	tests := []struct {
		contentType, body, name, text string
		count                         int
	}{
		{form, "a=1&a=2", "a", "1", 2},
		{form, "a&b=", "a", "", 1},
		{form, "a&b=", "b", "", 1},
		{form, "A=1", "a", "", 0},
		{form, "a=%31+2%zz", "a", "1 2%zz", 1},
		{"application/json", `{"a":"k\u0041","n":5,"l":["x"]}`, "a", "kA", 1},
		{"application/json", `{"a":"k","n":5,"l":["x"]}`, "n", "", 1},
		{"application/json", `{"a":"k","n":5,"l":["x"]}`, "l", "", 2},
		{multi, multiBody, "f", "file", 1},
		{multi, multiBody, "z", "", 0},
	}
	for _, tt := range tests {
		text, count := Parse(tt.contentType, []byte(tt.body)).Lookup(tt.name)
		if text != tt.text || count != tt.count {
			t.Errorf("Lookup(%q in %q) = %q, %d, want %q, %d", tt.name, tt.body, text, count, tt.text, tt.count)
		}
	}
}

func FuzzArgs(f *testing.F) {
	f.Add("a=1&b=2", "a", "x")
	f.Add("&&=&a", "", "&=")
	f.Add("%zz=%1&+=+", " ", "")
	f.Fuzz(func(t *testing.T, s, name, value string) {
		a := ParseArgs(s)
		a.Append(name, value)
		if name == "" {
			return
		}
		_, n := a.Lookup(name)
		b := ParseArgs(string(a.Bytes()))
		if _, m := b.Lookup(name); m != n {
			t.Errorf("%q with %q: %d values before, %d after encoding", s, name, n, m)
		}
		b.Remove(name)
		if _, m := b.Lookup(name); m != 0 {
			t.Errorf("%q: %q is still there", s, name)
		}
	})
}

func FuzzObject(f *testing.F) {
	f.Add(`{"a":1,"b":[{}]}`, "a", "x")
	f.Add(``, "", "\xff")
	f.Add(`{"a":"\u2028"}`, "a", "y")
	f.Fuzz(func(t *testing.T, s, name, value string) {
		e := Parse("application/json", []byte(s))
		if e == nil {
			return
		}
		for _, edit := range []func(){func() { e.Append(name, value) }, func() { e.Add(name, value) }, func() { e.Rename(name, value) }, func() { e.Replace(name, value) }} {
			edit()
			if b := e.Bytes(); !json.Valid(b) {
				t.Errorf("%q: %q is not JSON", s, b)
			}
		}
	})
}

func FuzzParts(f *testing.F) {
	f.Add([]byte(multiBody), "a", "v")
	f.Add([]byte(""), "q\"\r\n", "--B--")
	f.Fuzz(func(t *testing.T, body []byte, name, value string) {
		e := Parse(multi, body)
		if e == nil || strings.Contains(value, "--B") || bytes.Contains(body, []byte("--B--B")) {
			return
		}
		e.Append(name, value)
		e.Rename(name, "other")
		_ = e.Bytes()
	})
}
