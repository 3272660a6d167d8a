package limits

import (
	"cmp"
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/sekifuda/sekifuda/plugin"
)

const (
	// poolSize bounds the connections to one server: Kong's pool.
	poolSize = 100
	// idle is when an unused connection is closed: a server that no rule names any more
	// then costs nothing.
	idle = 5 * time.Minute
	// linger keeps a counter after its window, for a replica whose clock is behind.
	linger = 10 * time.Second
)

//go:embed charge.lua
var chargeText string

var chargeScript = redis.NewScript(chargeText)

// library is the log of the Redis library, which writes a line for every connection that it
// cannot make. What a reader needs is said by store.
type library struct{ log *slog.Logger }

func (l library) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, fmt.Sprintf(format, v...))
}

// redisBackend counts in Redis 5 or later, one call for each charge.
type redisBackend struct {
	client redis.UniversalClient
}

var _ backend = (*redisBackend)(nil)

// dial makes the client of a server that a rule names. It connects when it is first asked.
func dial(r plugin.Redis) redis.UniversalClient {
	o := &redis.Options{Addr: r.Addr, Username: r.Username, Password: r.Password, DB: r.DB}
	if r.Password == "" {
		o.Username = "" // Kong 3.9.1 authenticates only with a password
	}
	if r.TLS {
		o.TLSConfig = &tls.Config{
			ServerName: r.ServerName, InsecureSkipVerify: !r.TLSVerify, //nolint:gosec // what ssl_verify says
		}
	}
	temper(o)
	return redis.NewClient(o)
}

// temper sets what every client shares. A call is never repeated: the first may have been
// charged although its answer was lost. How long one may take is its context's to say. What a
// URL sets stands.
func temper(o *redis.Options) {
	o.MaxRetries = -1
	o.ContextTimeoutEnabled = true
	o.ReadTimeout, o.WriteTimeout = cmp.Or(o.ReadTimeout, -1), cmp.Or(o.WriteTimeout, -1)
	o.DialTimeout = cmp.Or(o.DialTimeout, defaultTimeout)
	o.DialerRetries = 1
	o.PoolSize = cmp.Or(o.PoolSize, poolSize)
	o.ConnMaxIdleTime = cmp.Or(o.ConnMaxIdleTime, idle)
	o.DisableIdentity = true
	o.Protocol = 2
	o.MaintNotificationsConfig = quiet()
}

func quiet() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// dialURL makes the client of the gate's own store.
func dialURL(address string) (redis.UniversalClient, error) {
	u, err := url.Parse(address)
	var wrong *url.Error
	if errors.As(err, &wrong) {
		err = wrong.Err // without the URL, which has a password
	}
	if err != nil {
		return nil, fmt.Errorf("parse redis URL: %w", err)
	}
	switch q := u.Query(); {
	case q.Has("master_name"):
		o, err := redis.ParseFailoverURL(address)
		if err != nil {
			return nil, fmt.Errorf("parse sentinel URL: %w", err)
		}
		o.MaxRetries, o.ContextTimeoutEnabled, o.Protocol, o.DisableIdentity = -1, true, 2, true
		return redis.NewFailoverClient(o), nil
	case q.Has("addr"):
		o, err := redis.ParseClusterURL(address)
		if err != nil {
			return nil, fmt.Errorf("parse cluster URL: %w", err)
		}
		o.MaxRetries, o.ContextTimeoutEnabled, o.Protocol = -1, true, 2
		o.DisableIdentity, o.MaintNotificationsConfig = true, quiet()
		return redis.NewClusterClient(o), nil
	}
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, fmt.Errorf("parse redis URL: %w", err)
	}
	temper(o)
	return redis.NewClient(o), nil
}

// Charge implements backend.
func (b *redisBackend) Charge(ctx context.Context, c *charge) error {
	keys := make([]string, len(c.windows))
	args := make([]any, 1, 1+4*len(c.windows))
	args[0] = c.n
	for i, w := range c.windows {
		keys[i] = "seki:{" + c.key + "}:" + w.name + ":" + strconv.FormatInt(w.start.Unix(), 10)
		args = append(args, w.limit, w.start.UnixMilli(), w.end.UnixMilli(), w.end.Add(linger).UnixMilli())
	}
	answer, err := chargeScript.Run(ctx, b.client, keys, args...).Int64Slice()
	if err != nil {
		return answered(err)
	}
	return c.read(answer)
}

// handshake begins what Redis says to a user or database that is wrong, besides what the
// library knows as such. A new connection for each request is dear, and Ping meets the same,
// so that counts as no answer.
var handshake = []string{"ERR AUTH ", "ERR DB index ", "ERR invalid DB index"}

// answered marks what Redis said itself.
func answered(err error) error {
	var said redis.Error
	if !errors.As(err, &said) || redis.IsAuthError(err) {
		return err
	}
	for _, words := range handshake {
		if strings.HasPrefix(said.Error(), words) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", errAnswered, err)
}

func (c *charge) read(answer []int64) error {
	if len(answer) < 2 {
		return fmt.Errorf("unexpected answer of %d values", len(answer))
	}
	c.now = time.UnixMilli(answer[1])
	if answer[0] < 0 {
		return errMoved
	}
	if len(answer) != 2+len(c.windows) {
		return fmt.Errorf("unexpected answer of %d values", len(answer))
	}
	c.granted = answer[0] == 1
	copy(c.used[:], answer[2:])
	return nil
}

// Ping implements backend.
func (b *redisBackend) Ping(ctx context.Context) error { return b.client.Ping(ctx).Err() }

// Close implements backend.
func (b *redisBackend) Close() error { return b.client.Close() }
