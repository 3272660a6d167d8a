package limits

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
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
	// defaultTimeout is Kong's.
	defaultTimeout = 2 * time.Second
)

// library is the log of the Redis library, which writes a line for every connection that it
// cannot make. What a reader needs is said by store.
type library struct{ log *slog.Logger }

func (l library) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, fmt.Sprintf(format, v...))
}

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

// temper sets what every client shares. How long a call may take, and whether it is made
// again, is for its context and its maker to say. What a URL sets stands.
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

// Dial makes the client of the gate's own store: of one server, a Sentinel or a Cluster. It
// connects when it is first asked; an error does not repeat the password of the address.
func Dial(address string) (redis.UniversalClient, error) {
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
