package place

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Bucket is a place in an S3-compatible store.
type Bucket struct {
	endpoint *url.URL
	bucket   string
	prefix   string // "" or ends with "/"
	signer   signer
	client   *http.Client
}

// maxBody bounds what is uploaded in one request: S3 takes no more.
const maxBody = 5 << 30

// openBucket reads BUCKET/PREFIX. The bucket is part of the path, which every compatible store
// understands.
func openBucket(text string, getenv func(string) string) (*Bucket, error) {
	bucket, prefix, _ := strings.Cut(text, "/")
	if bucket == "" {
		return nil, errors.New("s3://BUCKET/PREFIX: the bucket is missing")
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	region := cmp.Or(getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"), "us-east-1")
	endpoint, err := url.Parse(cmp.Or(getenv("AWS_ENDPOINT_URL_S3"), getenv("AWS_ENDPOINT_URL"), "https://s3."+region+".amazonaws.com"))
	if err != nil || endpoint.Host == "" {
		return nil, fmt.Errorf("AWS_ENDPOINT_URL: say a URL such as https://s3.example.com")
	}
	s := signer{key: getenv("AWS_ACCESS_KEY_ID"), secret: getenv("AWS_SECRET_ACCESS_KEY"), token: getenv("AWS_SESSION_TOKEN"), region: region, now: time.Now}
	if s.key == "" || s.secret == "" {
		return nil, errors.New("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say who may use the bucket")
	}
	return &Bucket{endpoint: endpoint, bucket: bucket, prefix: prefix, signer: s, client: &http.Client{Transport: transport()}}, nil
}

// stall is how long a store may be silent before it has answered.
const stall = 60 * time.Second

func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = stall
	return t
}

// Path implements Place.
func (b *Bucket) Path(name string) string { return "s3://" + b.bucket + "/" + b.prefix + name }

// Put implements Place.
func (b *Bucket) Put(ctx context.Context, name string, file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > maxBody {
		return fmt.Errorf("%s: %d bytes are more than the %d that are uploaded in one piece", b.Path(name), info.Size(), int64(maxBody))
	}
	digest, err := copyAll(io.Discard, file)
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	// The digest is signed: the store refuses a body that is not this one.
	res, err := b.do(ctx, http.MethodPut, name, nil, io.NopCloser(file), info.Size(), hex.EncodeToString(digest[:]))
	if err != nil {
		return err
	}
	res.Body.Close()
	back, err := b.Get(ctx, name)
	if err != nil {
		return err
	}
	defer back.Close()
	if err := same(back, digest); err != nil {
		return fmt.Errorf("%s: %w", b.Path(name), err)
	}
	return nil
}

// Get implements Place.
func (b *Bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	res, err := b.do(ctx, http.MethodGet, name, nil, nil, 0, emptyDigest)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// Names implements Place.
func (b *Bucket) Names(ctx context.Context) ([]string, error) {
	var names []string
	q := url.Values{"list-type": {"2"}, "prefix": {b.prefix}, "delimiter": {"/"}}
	for {
		res, err := b.do(ctx, http.MethodGet, "", q, nil, 0, emptyDigest)
		if err != nil {
			return nil, err
		}
		var page struct {
			Contents              []struct{ Key string }
			NextContinuationToken string
		}
		err = xml.NewDecoder(res.Body).Decode(&page)
		res.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: the store's list cannot be read: %w", b.Path(""), err)
		}
		for _, c := range page.Contents {
			if name := strings.TrimPrefix(c.Key, b.prefix); name != "" {
				names = append(names, name)
			}
		}
		if page.NextContinuationToken == "" {
			slices.Sort(names)
			return names, nil
		}
		q.Set("continuation-token", page.NextContinuationToken)
	}
}

// do asks the store; an answer that is no success is an error in its words.
func (b *Bucket) do(ctx context.Context, method, name string, q url.Values, body io.ReadCloser, size int64, digest string) (*http.Response, error) {
	u := *b.endpoint
	u.Path = path.Join("/", u.Path, b.bucket)
	if name != "" {
		u.Path += "/" + b.prefix + name
	}
	u.RawPath, u.RawQuery = escaped(u.Path), canonicalQuery(q)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	b.signer.sign(req, digest)
	res, err := b.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Path(name), err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	var refusal struct{ Code, Message string }
	raw, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // what cannot be read explains nothing
	if xml.Unmarshal(raw, &refusal) != nil || refusal.Code == "" {
		refusal.Code, refusal.Message = res.Status, strings.TrimSpace(string(raw[:min(len(raw), 200)]))
	}
	return nil, fmt.Errorf("%s: the store says %s: %s", b.Path(name), refusal.Code, refusal.Message)
}
