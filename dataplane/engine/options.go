package engine

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// Options are what a gate is told once, at its start. The zero value is Kong's defaults.
type Options struct {
	HeaderTimeout time.Duration // for a whole request head; 0: 10 s
	BodyTimeout   time.Duration // between two reads of a body, and two writes of an answer; 0: 60 s
	IdleTimeout   time.Duration // between two requests; 0: 75 s

	MaxHeaderBytes int   // of a request head; 0: 64 KiB
	MaxBodyBytes   int64 // of a request; 0: no limit

	// TrustedIPs are the peers whose X-Forwarded-* and real IP are believed.
	TrustedIPs []netip.Prefix
	// RealIPHeader is where a trusted peer names the client: a header, or FromProxyProtocol;
	// "": X-Real-IP.
	RealIPHeader string
	// RealIPRecursive skips trusted addresses in that header from its end.
	RealIPRecursive bool

	// PortMaps say under which port clients know one that is listened on, where something in
	// front translates ports.
	PortMaps map[uint16]uint16

	// Refused hears of exchanges that the gate answered itself with 4xx or 5xx, once they are
	// logged; nil: nobody does. It must not keep the exchange.
	Refused func(*plugin.Exchange)

	// ErrorType is the media type of an error page for a client that says nothing of what it
	// takes; "": text/plain.
	ErrorType string
	// Pages are the user's error pages, by media type.
	Pages map[string]Page
	// Certificate is for names that no other is for; nil: one that is made at the start.
	Certificate *tls.Certificate
	// DebugHeader tells a request that has Kong-Debug which route and service it met.
	DebugHeader bool

	Identity *Identity         // nil: KongIdentity
	Network  *upstream.Network // nil: the system's
	Logger   *slog.Logger      // nil: the default one
	Now      func() time.Time  // nil: the system's clock
}

func (o Options) withDefaults() Options {
	o.HeaderTimeout = orElse(o.HeaderTimeout, 10*time.Second)
	o.BodyTimeout = orElse(o.BodyTimeout, 60*time.Second)
	o.IdleTimeout = orElse(o.IdleTimeout, 75*time.Second)
	o.MaxHeaderBytes = orElse(o.MaxHeaderBytes, 64<<10)
	o.ErrorType = orElse(o.ErrorType, "text/plain")
	o.RealIPHeader = orElse(o.RealIPHeader, "X-Real-IP")
	if o.Identity == nil {
		o.Identity = KongIdentity()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = newClock().now
	}
	if o.Network == nil {
		o.Network = upstream.NewNetwork(upstream.NetworkOptions{Now: o.Now})
	}
	return o
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
