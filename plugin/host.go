package plugin

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// ErrBodyTooLarge says that a body is above the bound with which it was read.
var ErrBodyTooLarge = errors.New("body is too large")

// Route is what filters may know of the route that matched. Immutable.
type Route struct {
	ID   string
	Name string // "" when it has none
	JSON []byte // the entity without nulls, as log entries carry it
	Tags []string
}

// Label is the name, else the id.
func (r *Route) Label() string {
	if r.Name != "" {
		return r.Name
	}
	return r.ID
}

// Service is what filters may know of the service behind a route. Immutable.
type Service struct {
	ID   string
	Name string
	Host string
	JSON []byte
	Tags []string
}

// Label is the name, else the host, as Kong's metrics have it.
func (s *Service) Label() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Host
}

// Consumer is who a request was found to come from. Immutable.
type Consumer struct {
	ID       string
	Username string
	CustomID string
	Groups   []string // ACL groups
	JSON     []byte
	Tags     []string
}

// Credential is by what a consumer was recognised. Immutable.
type Credential struct {
	ID       string
	Kind     string // "keyauth_credentials", ...
	Consumer *Consumer
	Expires  time.Time // zero: never
	Key      string    // name or key by which it is found; not a secret one
	Secret   any       // what the kind's plugin needs to verify
}

// Directory answers who is known, as of one revision. Its methods do not allocate or block.
type Directory interface {
	// Credential returns the credential of a kind ("keyauth_credentials") that key finds, or nil if
	// there is none or it has expired.
	Credential(kind, key string) *Credential
	// CredentialByID is Credential by the entity's id.
	CredentialByID(kind, id string) *Credential
	// Consumer returns the consumer of that id or username, or nil.
	Consumer(idOrName string) *Consumer
	// Token returns the token of OAuth 2.0 of an operator (gates keep their own as records)
	// that is the access or the refresh token given, or nil. It may allocate.
	Token(accessOrRefresh string) *Token
}

// Token is a token of OAuth 2.0. Immutable.
type Token struct {
	ID         string
	Credential string // id of the application's
	Service    string // id; "": it is good at all
	Access     string
	Refresh    string // "": it cannot be renewed
	User       string
	Scope      string
	Issued     time.Time
	ExpiresIn  time.Duration // 0: never
	Ends       time.Time     // when also the refresh token is over; zero: never
}

// Host is what a gate lends to the filters it compiles. The control plane lends one that
// does nothing, when it checks a configuration.
type Host interface {
	Logger() *slog.Logger
	NodeID() string
	// Limiter returns the counters of a rule. Filters of the same rule ID share them, also
	// across revisions, and a changed limit acts on the counts that are there.
	Limiter(r Rule) (Limiter, error)
	// Slots returns what may run at once under a rule. Filters of the same rule ID share it, as
	// with Limiter.
	Slots(r SlotRule) (Slots, error)
	// Metrics is where traffic is counted.
	Metrics() Metrics
	// Scope says for what this filter is configured.
	Scope() Scope
	// Records is what filters of all gates keep together.
	Records() Records
}

// Records keeps what filters make while they serve and other gates must know too: sessions,
// tokens. A gate without a shared store keeps them for itself, across restarts. It is safe for
// concurrent use, and waits a few seconds at most.
type Records interface {
	// Get returns the record of a kind that key finds; nil when there is none, or it expired.
	Get(ctx context.Context, kind, key string) ([]byte, error)
	// Put keeps a record for ttl, instead of one that was there; a ttl of 0 is for ever.
	Put(ctx context.Context, kind, key string, value []byte, ttl time.Duration) error
	// Take is Get that also forgets the record: of many who take, one gets it.
	Take(ctx context.Context, kind, key string) ([]byte, error)
}

// Scope is the plugin entity's own: what one configuration applies to.
type Scope struct {
	PluginID   string
	InstanceID string
	RouteID    string
	ServiceID  string
	ConsumerID string
}

// Period is a length of a counting window.
type Period uint8

// Kong's periods: calendar windows in UTC.
const (
	Second Period = iota
	Minute
	Hour
	Day
	Month
	Year
)

var periodNames = [...]string{"second", "minute", "hour", "day", "month", "year"}

// String is the period's name in settings and headers.
func (p Period) String() string { return periodNames[p] }

// Window is one limit: at most Limit in each period.
type Window struct {
	Period Period
	Limit  int64
}

// Rule is what a limiter enforces.
type Rule struct {
	ID      string   // counters are shared by all with this ID
	Windows []Window // ascending by period, none twice
	Redis   *Redis   // where counts are shared; nil: in this process
	Outage  Outage   // what is done while the store of the counts is away
}

// Outage is what a limiter does while the store of its counts is away.
type Outage uint8

// The outage modes.
const (
	// EqualShare gives every gate the same part of what was left.
	EqualShare Outage = iota
	// DemandShare gives gates parts as they asked last. Views that are seconds old may sum to
	// more than there was.
	DemandShare
	// Open admits everything, and charges it later.
	Open
	// Closed admits nothing: Take returns an error.
	Closed
)

var outageNames = [...]string{"equal_share", "demand_share", "open", "closed"}

// String is the mode's name in settings, metrics and headers.
func (o Outage) String() string { return outageNames[o] }

// Redis is how to reach a Redis server.
type Redis struct {
	Addr       string // host:port; "": the gate's own shared store, or this process if it has none
	Username   string
	Password   string
	DB         int
	TLS        bool
	TLSVerify  bool
	ServerName string
	Timeout    time.Duration
}

// Decision is what a limiter answered. The caller owns it and lends it to Take, so that
// nothing is allocated.
type Decision struct {
	Allowed bool
	// Counted is false when the counters could not be reached and the request was let
	// through uncounted: there is then nothing to tell the client.
	Counted bool
	// Stop is the index of the window that refused.
	Stop int
	// Remaining of each of the rule's windows, after this request.
	Remaining [6]int64
	// Now is the time at which the windows were read.
	Now time.Time
	// Mode is how it was decided: "local" in this process, "shared" by all gates, or the name
	// of an Outage.
	Mode string
}

// Limiter counts. It is safe for concurrent use.
type Limiter interface {
	// Take asks for n of every window of the rule for one identifier: all of them are
	// charged, or none. It may wait for Redis, no longer than ctx() allows; ctx is only
	// called when it must wait.
	Take(ctx func() context.Context, identifier string, n int64, d *Decision) error
	// Reserve is Take of what a request may use at most, or is likely to, when that is known
	// only afterwards. What it returns is nil when d says that n was refused or not counted.
	Reserve(ctx func() context.Context, identifier string, n int64, d *Decision) (Reservation, error)
}

// Reservation is what a limiter keeps for a request until its use is known. It is safe for
// concurrent use.
type Reservation interface {
	// Settle says what was used, in the windows that were charged. What is over goes back, what
	// is missing is charged, if need be above the limit. Only the first call counts.
	Settle(used int64)
}

// SlotRule is how many requests of one identifier may run at once.
type SlotRule struct {
	ID     string // slots are shared by all with this ID
	Limit  int64
	Redis  *Redis // where they are shared; nil: in this process
	Outage Outage
	// Queue is how many requests of an identifier may wait at a gate, and Patience how long.
	Queue    int
	Patience time.Duration
}

// SlotDecision is what became of a request for a slot. The caller owns it, so that nothing is
// allocated.
type SlotDecision struct {
	Allowed bool
	Counted bool  // as in Decision
	Left    int64 // free after this request, as far as it is known here
	Waited  bool  // for a slot
	Mode    string
}

// Slots hands out slots. It is safe for concurrent use.
type Slots interface {
	// Acquire takes a slot for one identifier, or returns nil when d says that there is none. It
	// may wait, for Redis or in the queue, no longer than ctx() allows; ctx is only called when
	// it must wait.
	Acquire(ctx func() context.Context, identifier string, d *SlotDecision) (Slot, error)
}

// Slot is a request's until it is released, once.
type Slot interface {
	Release()
}

// MetricSet says which of Kong's prometheus series an exchange is counted in.
type MetricSet uint8

// The switches of Kong's prometheus plugin.
const (
	StatusMetrics MetricSet = 1 << iota
	LatencyMetrics
	BandwidthMetrics
	UpstreamHealthMetrics
	AIMetrics
	PerConsumer
)

// Metrics counts traffic.
type Metrics interface {
	// Observe counts a finished exchange in the series of set.
	Observe(x *Exchange, set MetricSet)
	// Enable says that a configuration wants these series exported. It is called when a
	// filter is compiled.
	Enable(set MetricSet)
}
