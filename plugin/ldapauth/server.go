package ldapauth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

const (
	// defaultTimeout is Kong's, in milliseconds.
	defaultTimeout = 10000
	// maxIdle bounds the connections that wait for the next question.
	maxIdle = 16
)

// server is an LDAP server. It is safe for concurrent use.
type server struct {
	addr      string
	tls       bool // from the start
	startTLS  bool
	config    *tls.Config
	timeout   time.Duration
	keepalive time.Duration
	attribute string
	base      string

	mu   sync.Mutex // guards idle
	idle []resting
}

// resting is a connection that nobody uses, since a time.
type resting struct {
	conn  *ldap.Conn
	since time.Time
}

func newServer(c *Config) *server {
	timeout := c.GetTimeout()
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return &server{
		addr: net.JoinHostPort(c.GetLdapHost(), strconv.FormatInt(c.GetLdapPort(), 10)), tls: c.GetLdaps(), startTLS: c.GetStartTls(),
		config:    &tls.Config{ServerName: c.GetLdapHost(), InsecureSkipVerify: !c.GetVerifyLdapHost()}, //nolint:gosec // what verify_ldap_host says
		timeout:   time.Duration(timeout * float64(time.Millisecond)),
		keepalive: time.Duration(c.GetKeepalive() * float64(time.Millisecond)),
		attribute: c.GetAttribute(), base: c.GetBaseDn(),
	}
}

// bind reports whether the server takes the name and the password. The error is that it could
// not be asked.
func (s *server) bind(name, password string) (bool, error) {
	who := s.attribute + "=" + ldap.EscapeDN(name) + "," + s.base
	for {
		conn, used, err := s.connect()
		if err != nil {
			return false, err
		}
		err = conn.Bind(who, password)
		if refused(err) {
			s.rest(conn)
			return false, nil
		}
		if err == nil {
			s.rest(conn)
			return true, nil
		}
		_ = conn.Close() // what it told is what counts
		if !used {
			return false, fmt.Errorf("bind at %s: %w", s.addr, err)
		}
		// The server may have closed a connection that rested: another is tried.
	}
}

// refused reports whether the server has judged: everything it says of name and password that
// is not a success. What it says of itself is no judgement.
func refused(err error) bool {
	var told *ldap.Error
	if !errors.As(err, &told) {
		return false
	}
	switch told.ResultCode {
	case ldap.ErrorNetwork, ldap.ErrorUnexpectedMessage, ldap.ErrorUnexpectedResponse, ldap.LDAPResultBusy,
		ldap.LDAPResultUnavailable, ldap.LDAPResultServerDown, ldap.LDAPResultTimeout:
		return false
	}
	return true
}

// connect returns a connection, and whether it has rested.
func (s *server) connect() (conn *ldap.Conn, used bool, err error) {
	if conn := s.wake(); conn != nil {
		return conn, true, nil
	}
	dialer := &net.Dialer{Timeout: s.timeout}
	scheme, options := "ldap://", []ldap.DialOpt{ldap.DialWithDialer(dialer)}
	if s.tls {
		scheme = "ldaps://"
		options = append(options, ldap.DialWithTLSConfig(s.config))
	}
	if conn, err = ldap.DialURL(scheme+s.addr, options...); err != nil {
		return nil, false, fmt.Errorf("connect to %s: %w", s.addr, err)
	}
	conn.SetTimeout(s.timeout)
	if s.startTLS {
		if err := conn.StartTLS(s.config); err != nil {
			return nil, false, errors.Join(fmt.Errorf("start TLS with %s: %w", s.addr, err), conn.Close())
		}
	}
	return conn, false, nil
}

// wake returns a connection that has not rested too long, or nil.
func (s *server) wake() *ldap.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.idle) > 0 {
		last := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if time.Since(last.since) < s.keepalive && !last.conn.IsClosing() {
			return last.conn
		}
		_ = last.conn.Close() // it is of no use any more
	}
	return nil
}

func (s *server) rest(conn *ldap.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keepalive <= 0 || len(s.idle) >= maxIdle {
		_ = conn.Close() // it is not needed
		return
	}
	s.idle = append(s.idle, resting{conn, time.Now()})
}
