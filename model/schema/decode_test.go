package schema

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"unicode/utf8"
)

func TestDecodeJSONKeepsInvalidBytes(t *testing.T) {
	t.Parallel()
	b, err := DecodeJSON([]byte("{\"a\xff\":\"\xc3y\",\"b\":[\"\u65e5\xfe\"]}"))
	if err != nil {
		t.Fatal(err)
	}
	if b["a\xff"] != "\xc3y" || b["b"].([]any)[0] != "日\xfe" {
		t.Errorf("DecodeJSON = %q", b)
	}
	for bad, other := range map[string]bool{
		"": false, "null": true, "[]": true, `"x"`: true, "{": false, `{"a":1e999}`: false, "\xff": false,
	} {
		if _, err := DecodeJSON([]byte(bad)); err == nil || errors.Is(err, ErrNotObject) != other {
			t.Errorf("DecodeJSON(%q) = %v, want an error, ErrNotObject: %v", bad, err, other)
		}
	}
}

func TestInvalidUTF8NamesThePosition(t *testing.T) {
	t.Parallel()
	want := "invalid utf-8 character sequence detected at position 4"
	if got := invalidUTF8("日" + "\xff"); got != want {
		t.Errorf("invalidUTF8 = %q, want %q", got, want)
	}
	if got := invalidUTF8("a\uFFFDb"); got != "" {
		t.Errorf("invalidUTF8 of a replacement character = %q, want nothing", got)
	}
}

// FuzzDecodeJSON holds the decoder to encoding/json on sound text, and to no panic elsewhere.
func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte("{\"a\xff\":[\"\xc3\",{\"\xfe\":\"x\"}]}"))
	f.Add([]byte(`{"a":"\ud800","b":1e5}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := DecodeJSON(data)
		var want Body
		stdErr := json.Unmarshal(data, &want)
		if (err == nil) != (stdErr == nil && want != nil) {
			t.Fatalf("DecodeJSON: %v, encoding/json: %v", err, stdErr)
		}
		if err == nil && utf8.Valid(data) && !reflect.DeepEqual(got, want) {
			t.Fatalf("DecodeJSON = %v, want %v", got, want)
		}
	})
}
