// Package upstream reaches the servers behind the gate: which address gets a request
// (balancing, health, DNS), over which connection (pools, TLS), and whether to try again.
//
// It knows addresses and connections; it does not know routes, plugins or where
// configuration comes from. Enter at New.
package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// Spec is all that configuration says of how to reach one service. It is immutable.
type Spec struct {
	ID       string // of the service
	Protocol string // http, https, grpc, grpcs, tcp, tls
	Host     string
	Port     int

	Retries        int // tries after the first
	ConnectTimeout time.Duration
	WriteTimeout   time.Duration // between two writes
	ReadTimeout    time.Duration // between two reads

	TLSVerify      bool
	TLSVerifyDepth int
	RootCAs        *x509.CertPool // nil: the system's
	ClientCert     *tls.Certificate

	Balancer *BalancerSpec // nil: Host is resolved, or is an address
}

// BalancerSpec is an upstream entity with its targets. It is immutable.
type BalancerSpec struct {
	ID         string
	Name       string
	Algorithm  string // round-robin, consistent-hashing, least-connections, latency
	HostHeader string
	Slots      int
	Hash       [2]HashSpec // first choice and fallback
	CookiePath string
	Targets    []TargetSpec
	Health     HealthSpec
}

// HashSpec is what a consistent hash is taken of.
type HashSpec struct {
	On   string // none, consumer, ip, header, cookie, path, query_arg, uri_capture
	Name string // of the header, cookie, argument or capture
}

// TargetSpec is one target.
type TargetSpec struct {
	ID     string
	Host   string
	Port   int
	Weight int // 0: takes nothing
}

// HealthSpec is how health is judged.
type HealthSpec struct {
	Threshold float64 // percent of weight below which the upstream as a whole is unhealthy
	Active    ActiveSpec
	Passive   PassiveSpec
}

// ActiveSpec is how targets are probed; an interval of 0 is off.
type ActiveSpec struct {
	Type              string // tcp, http, https, grpc, grpcs
	Path              string
	Timeout           time.Duration
	Concurrency       int
	Headers           map[string][]string
	VerifyCert        bool
	SNI               string
	HealthyInterval   time.Duration
	UnhealthyInterval time.Duration
	Healthy           []int
	Unhealthy         []int
	Successes         int
	HTTPFailures      int
	TCPFailures       int
	Timeouts          int
}

// PassiveSpec is how traffic itself is judged; a count of 0 is off.
type PassiveSpec struct {
	Type         string
	Healthy      []int
	Unhealthy    []int
	Successes    int
	HTTPFailures int
	TCPFailures  int
	Timeouts     int
}
