package place

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// signer signs requests by AWS Signature Version 4, for S3.
type signer struct {
	key, secret, token, region string
	now                        func() time.Time
}

// emptyDigest is the digest of no bytes.
const emptyDigest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

const (
	algorithm = "AWS4-HMAC-SHA256"
	longDate  = "20060102T150405Z"
	shortDate = "20060102"
)

// sign adds the headers that prove who asks. digest is that of the body, in hexadecimal.
func (s signer) sign(req *http.Request, digest string) {
	at := s.now().UTC()
	req.Header.Set("X-Amz-Date", at.Format(longDate))
	req.Header.Set("X-Amz-Content-Sha256", digest)
	if s.token != "" {
		req.Header.Set("X-Amz-Security-Token", s.token)
	}
	names, lines := signedHeaders(req)
	canonical := strings.Join([]string{req.Method, req.URL.EscapedPath(), req.URL.RawQuery, lines, names, digest}, "\n")
	scope := strings.Join([]string{at.Format(shortDate), s.region, "s3", "aws4_request"}, "/")
	sum := sha256.Sum256([]byte(canonical))
	text := strings.Join([]string{algorithm, at.Format(longDate), scope, hex.EncodeToString(sum[:])}, "\n")
	key := []byte("AWS4" + s.secret)
	for _, part := range strings.Split(scope, "/") {
		key = mac(key, part)
	}
	req.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s, SignedHeaders=%s, Signature=%s", algorithm, s.key, scope, names, hex.EncodeToString(mac(key, text))))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// signedHeaders are the host and all headers there are, by name.
func signedHeaders(req *http.Request) (names, lines string) {
	all := map[string]string{"host": req.URL.Host}
	for name, values := range req.Header {
		all[strings.ToLower(name)] = strings.TrimSpace(strings.Join(values, ","))
	}
	var list []string
	for name := range all {
		list = append(list, name)
	}
	slices.Sort(list)
	for _, name := range list {
		lines += name + ":" + all[name] + "\n"
	}
	return strings.Join(list, ";"), lines
}

// escaped escapes a path as the signature wants it: all but letters, digits, "-._~" and "/".
func escaped(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = escape(p)
	}
	return strings.Join(parts, "/")
}

func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// canonicalQuery is a query as the signature wants it, which servers read too.
func canonicalQuery(q url.Values) string {
	var parts []string
	for name, values := range q {
		for _, v := range values {
			parts = append(parts, escape(name)+"="+escape(v))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "&")
}
