package awslambda

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestSignature holds signatures against those that Amazon publishes: "get-vanilla" of its test
// suite, and the example of its documentation.
func TestSignature(t *testing.T) {
	t.Parallel()
	k := keys{id: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	now := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	for _, tt := range []struct{ url, kind, service, want string }{
		{"https://example.amazonaws.com/", "", "service", "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{
			"https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "application/x-www-form-urlencoded; charset=utf-8", "iam",
			"SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
		},
	} {
		r, err := http.NewRequest(http.MethodGet, tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.kind != "" {
			r.Header.Set("Content-Type", tt.kind)
		}
		sign(r, nil, k, "us-east-1", tt.service, now)
		if got := r.Header.Get("Authorization"); !strings.HasSuffix(got, tt.want) ||
			!strings.HasPrefix(got, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/"+tt.service+"/aws4_request, ") {
			t.Errorf("%s: %s, want %s", tt.url, got, tt.want)
		}
	}
}

func TestCanonicalForms(t *testing.T) {
	t.Parallel()
	r, err := http.NewRequest(http.MethodGet, "https://h.test/a%3Ab/c?b=2&a=x%20y&a=%2B", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-A", "  b   c ")
	if got := canonicalPath(r.URL.EscapedPath()); got != "/a%253Ab/c" {
		t.Errorf("path = %q", got)
	}
	if got := canonicalQuery(r); got != "a=%2B&a=x%20y&b=2" {
		t.Errorf("query = %q", got)
	}
	if names, lines := canonicalHeaders(r); names != "host;x-a" || lines != "host:h.test\nx-a:b c\n" {
		t.Errorf("headers = %q, %q", names, lines)
	}
}
