package limits

import (
	"context"
	"crypto/tls"
	_ "embed"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/plugin"
)

//go:embed charge.lua
var chargeText string

var chargeScript = redis.NewScript(chargeText)

// redisBackend counts in a Redis, alone, behind sentinels or as a cluster.
type redisBackend struct {
	client redis.UniversalClient
}

// dialTimeout bounds a new connection; each call has its own bound besides.
const dialTimeout = 2 * time.Second

// dial makes a client. It connects when it is first asked.
func dial(r plugin.Redis) redis.UniversalClient {
	o := &redis.Options{
		Addr: r.Addr, Username: r.Username, Password: r.Password, DB: r.DB,
		DialTimeout: dialTimeout, ContextTimeoutEnabled: true,
		MaxRetries: -1, // a request does not wait for a second try
	}
	if r.TLS {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: r.ServerName, InsecureSkipVerify: !r.TLSVerify}
	}
	return redis.NewClient(o)
}

// dialURL makes a client of a URL: redis, rediss or unix; ?addr= names more nodes of a
// cluster, ?master_name= a sentinel's master.
func dialURL(raw string) (redis.UniversalClient, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	more, master := q["addr"], q.Get("master_name")
	q.Del("addr")
	q.Del("master_name")
	u.RawQuery = q.Encode()
	o, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, err
	}
	universal := &redis.UniversalOptions{
		Addrs: append([]string{o.Addr}, more...), DB: o.DB, Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig,
		MasterName: master, DialTimeout: dialTimeout, ContextTimeoutEnabled: true, MaxRetries: -1,
	}
	if o.Network == "unix" {
		o.DialTimeout, o.ContextTimeoutEnabled, o.MaxRetries = dialTimeout, true, -1
		return redis.NewClient(o), nil
	}
	return redis.NewUniversalClient(universal), nil
}

// Charge implements backend in one call.
func (b *redisBackend) Charge(ctx context.Context, c *charge) error {
	keys := make([]string, len(c.windows))
	args := make([]any, 0, 1+3*len(c.windows))
	args = append(args, c.n)
	for i, w := range c.windows {
		keys[i] = "seki:{" + c.key + "}:" + w.name + ":" + strconv.FormatInt(w.start.Unix(), 10)
		args = append(args, w.limit, w.start.Unix(), w.end.Unix())
	}
	answer, err := chargeScript.Run(ctx, b.client, keys, args...).Int64Slice()
	if err != nil {
		return err
	}
	if len(answer) < 3 {
		return fmt.Errorf("the script answered %d numbers", len(answer))
	}
	c.now = time.Unix(answer[1], answer[2]*1000).UTC()
	if answer[0] < 0 {
		return errMoved
	}
	if len(answer) != 3+len(c.windows) {
		return fmt.Errorf("the script answered %d numbers for %d windows", len(answer), len(c.windows))
	}
	c.granted = answer[0] == 1
	copy(c.used[:], answer[3:])
	return nil
}

// Ping implements backend.
func (b *redisBackend) Ping(ctx context.Context) error { return b.client.Ping(ctx).Err() }

// Close implements backend.
func (b *redisBackend) Close() error { return b.client.Close() }

// tagOf makes a rule and identifier into a hash tag: braces would end it early.
func tagOf(rule, identifier string) string {
	tag := rule + ":" + identifier
	if strings.ContainsAny(tag, "{}") {
		tag = strconv.Quote(strings.NewReplacer("{", "%7B", "}", "%7D").Replace(tag))
	}
	return tag
}
