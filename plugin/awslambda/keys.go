package awslambda

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/plugin/function"
)

// keys are what requests are signed with.
type keys struct {
	id, secret, token string
	expires           time.Time // zero: never
}

// early is for how long before their end keys are no longer used.
const early = time.Minute

// purse finds keys, in Kong's order: those of the config, of the environment, of a token file, of
// the container, of the machine; then those of the role that they may assume. It is safe for
// concurrent use, and keeps keys until they end.
type purse struct {
	config  *Config
	region  string
	client  *http.Client
	now     func() time.Time
	env     func(string) string
	machine string // where the machine's own service is

	mu   sync.Mutex // guards kept; one at a time finds new ones
	kept *keys
}

func newPurse(c *Config, region string, client *http.Client) *purse {
	return &purse{config: c, region: region, client: client, now: time.Now, env: os.Getenv, machine: "http://169.254.169.254"}
}

func (p *purse) keys(ctx context.Context) (keys, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.kept; k != nil && (k.expires.IsZero() || p.now().Add(early).Before(k.expires)) {
		return *k, nil
	}
	k, err := p.own(ctx)
	if err == nil && p.config.GetAwsAssumeRoleArn() != "" {
		k, err = p.assume(ctx, k)
	}
	if err != nil {
		return keys{}, fmt.Errorf("find AWS credentials: %w", err)
	}
	p.kept = &k
	return k, nil
}

func (p *purse) own(ctx context.Context) (keys, error) {
	if p.config.GetAwsKey() != "" {
		return keys{id: p.config.GetAwsKey(), secret: p.config.GetAwsSecret()}, nil
	}
	if id := p.env("AWS_ACCESS_KEY_ID"); id != "" {
		return keys{id: id, secret: p.env("AWS_SECRET_ACCESS_KEY"), token: p.env("AWS_SESSION_TOKEN")}, nil
	}
	if file := p.env("AWS_WEB_IDENTITY_TOKEN_FILE"); file != "" && p.env("AWS_ROLE_ARN") != "" {
		return p.webIdentity(ctx, file)
	}
	if path := p.env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); path != "" {
		return p.read(ctx, "http://169.254.170.2"+path, "Authorization", p.env("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
	}
	if address := p.env("AWS_CONTAINER_CREDENTIALS_FULL_URI"); address != "" {
		return p.read(ctx, address, "Authorization", p.env("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
	}
	return p.instance(ctx)
}

// instance asks the service of the machine that the gate runs on.
func (p *purse) instance(ctx context.Context) (keys, error) {
	const header, path = "X-Aws-Ec2-Metadata-Token", "/latest/meta-data/iam/security-credentials/"
	token := ""
	if p.config.GetAwsImdsProtocolVersion() == "v2" {
		raw, err := p.fetch(ctx, http.MethodPut, p.machine+"/latest/api/token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
		if err != nil {
			return keys{}, err
		}
		token = string(raw)
	}
	role, err := p.fetch(ctx, http.MethodGet, p.machine+path, header, token)
	if err != nil {
		return keys{}, err
	}
	name, _, _ := strings.Cut(strings.TrimSpace(string(role)), "\n")
	return p.read(ctx, p.machine+path+name, header, token)
}

// read reads keys as the services of machines and containers tell them.
func (p *purse) read(ctx context.Context, address, header, value string) (keys, error) {
	raw, err := p.fetch(ctx, http.MethodGet, address, header, value)
	if err != nil {
		return keys{}, err
	}
	var told struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		Token           string
		Expiration      time.Time
	}
	if err := json.Unmarshal(raw, &told); err != nil || told.AccessKeyID == "" {
		return keys{}, errors.New("the service of the machine tells no credentials")
	}
	return keys{told.AccessKeyID, told.SecretAccessKey, told.Token, told.Expiration}, nil
}

func (p *purse) fetch(ctx context.Context, method, address, header, value string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	if value != "" {
		r.Header.Set(header, value)
	}
	answer, body, err := function.Call(p.client, r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d", r.URL.Host, answer.StatusCode)
	}
	return body, nil
}

// assume returns the keys of the configured role.
func (p *purse) assume(ctx context.Context, own keys) (keys, error) {
	session := p.config.GetAwsRoleSessionName()
	if session == "" {
		session = "kong"
	}
	return p.sts(ctx, &own, url.Values{
		"Action": {"AssumeRole"}, "RoleArn": {p.config.GetAwsAssumeRoleArn()}, "RoleSessionName": {session},
	})
}

func (p *purse) webIdentity(ctx context.Context, file string) (keys, error) {
	token, err := os.ReadFile(file)
	if err != nil {
		return keys{}, err
	}
	session := p.env("AWS_ROLE_SESSION_NAME")
	if session == "" {
		session = "kong"
	}
	return p.sts(ctx, nil, url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "RoleArn": {p.env("AWS_ROLE_ARN")}, "RoleSessionName": {session},
		"WebIdentityToken": {strings.TrimSpace(string(token))},
	})
}

// sts asks the service that gives keys of roles; own (nil: nobody's) sign the question.
func (p *purse) sts(ctx context.Context, own *keys, question url.Values) (keys, error) {
	address := p.config.GetAwsStsEndpointUrl()
	if address == "" {
		address = "https://sts." + p.region + ".amazonaws.com"
	}
	question.Set("Version", "2011-06-15")
	body := question.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(address, "/")+"/", strings.NewReader(body))
	if err != nil {
		return keys{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if own != nil {
		sign(r, []byte(body), *own, p.region, "sts", p.now())
	}
	answer, raw, err := function.Call(p.client, r)
	if err != nil {
		return keys{}, err
	}
	if answer.StatusCode != http.StatusOK {
		return keys{}, fmt.Errorf("%s: STS answers %d", question.Get("Action"), answer.StatusCode)
	}
	var told struct {
		Role     stsKeys `xml:"AssumeRoleResult>Credentials"`
		Identity stsKeys `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
	}
	if err := xml.Unmarshal(raw, &told); err != nil {
		return keys{}, fmt.Errorf("%s: %w", question.Get("Action"), err)
	}
	for _, k := range []stsKeys{told.Role, told.Identity} {
		if k.ID != "" {
			return keys{k.ID, k.Secret, k.Token, k.Expires}, nil
		}
	}
	return keys{}, fmt.Errorf("%s: STS tells no credentials", question.Get("Action"))
}

type stsKeys struct {
	ID      string    `xml:"AccessKeyId"`
	Secret  string    `xml:"SecretAccessKey"`
	Token   string    `xml:"SessionToken"`
	Expires time.Time `xml:"Expiration"`
}
