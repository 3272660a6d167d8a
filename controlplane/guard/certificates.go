package guard

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is how often files are looked at, when somebody connects: a certificate that was
// renewed is shown soon, and a flood of connections reads nothing.
const lookEvery = time.Second

// CertificateFiles are what the doors of the Admin API show, and whom they believe, in PEM.
type CertificateFiles struct {
	Certificate string // with those that vouch for it behind it
	Key         string
	Clients     string // authorities of clients' certificates; empty: clients are not asked for one
}

// Certificates are what the files hold now. All methods may be called concurrently.
type Certificates struct {
	files CertificateFiles
	log   *slog.Logger
	now   func() time.Time

	mu     sync.Mutex
	config *tls.Config
	looked time.Time
	stamp  string // of the files that were read, or could not be
}

// ReadCertificates reads the files.
func ReadCertificates(files CertificateFiles, now func() time.Time, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{files: files, now: now, log: log}
	return c, c.Reload()
}

// Reload reads the files anew. When they cannot be used, what was read before stays.
func (c *Certificates) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

func (c *Certificates) read() error {
	c.looked, c.stamp = c.now(), c.stamps()
	pair, err := tls.LoadX509KeyPair(c.files.Certificate, c.files.Key)
	if err != nil {
		return fmt.Errorf("--admin-tls-cert %s, --admin-tls-key %s: %w", c.files.Certificate, c.files.Key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.files.Clients != "" {
		if config.ClientCAs, err = ReadAuthorities(c.files.Clients); err != nil {
			return fmt.Errorf("--admin-client-ca: %w", err)
		}
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	c.config = config
	return nil
}

// ReadAuthorities reads certificates that others are verified by.
func ReadAuthorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New(path + " holds no certificate in PEM")
	}
	return pool, nil
}

// stamps tell whether a file was changed.
func (c *Certificates) stamps() (all string) {
	for _, path := range []string{c.files.Certificate, c.files.Key, c.files.Clients} {
		if info, err := os.Stat(path); err == nil {
			all += fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size(), "\n")
		}
	}
	return all
}

// current is what the files hold now.
func (c *Certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Sub(c.looked) < lookEvery {
		return c.config
	}
	c.looked = c.now()
	if c.stamps() == c.stamp {
		return c.config
	}
	if err := c.read(); err != nil {
		c.log.Error("the certificate of the Admin API stays as it was", "error", err)
	} else {
		c.log.Info("the certificate of the Admin API was read anew")
	}
	return c.config
}

// TLS is the configuration of a door for protocols ("h2", "http/1.1").
func (c *Certificates) TLS(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			config := c.current().Clone()
			config.NextProtos = protocols
			// What was proven long ago is not proven now.
			config.SessionTicketsDisabled = config.ClientCAs != nil
			return config, nil
		},
		// http.Server wants to see one.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &c.current().Certificates[0], nil },
	}
}
