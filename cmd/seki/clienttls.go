package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sekifuda/sekifuda/controlplane/guard"
)

// tlsSettings say how a control plane is reached by TLS.
type tlsSettings struct{ ca, cert, key string }

// systemAuthorities is the value of --tls-ca that means those of the machine.
const systemAuthorities = "system"

// tlsFlags adds --tls-ca and those of a client's certificate.
func (f *flags) tlsFlags() {
	f.StringVar(&f.tls.ca, "tls-ca", "", "authorities (PEM) by which the control plane's certificate is verified, or \"system\" for the machine's own; empty: without TLS")
	f.StringVar(&f.tls.cert, "tls-cert", "", "with --tls-ca: certificate (PEM) by which who asks is known")
	f.StringVar(&f.tls.key, "tls-key", "", "private key (PEM) of --tls-cert")
}

// tlsConfig is what --tls-ca and its like say; nil: without TLS.
func (f *flags) tlsConfig() (*tls.Config, error) {
	s := f.tls
	if s.ca == "" {
		if s.cert != "" || s.key != "" {
			return nil, errors.New("--tls-cert and --tls-key need --tls-ca: a certificate is shown over TLS")
		}
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if s.ca != systemAuthorities {
		if c.RootCAs, err = guard.ReadAuthorities(s.ca); err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
	}
	if s.cert != "" || s.key != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func (f *flags) credentials() (credentials.TransportCredentials, error) {
	c, err := f.tlsConfig()
	if err != nil || c == nil {
		return insecure.NewCredentials(), err
	}
	return credentials.NewTLS(c), nil
}

// httpClient calls the Admin API (REST).
func (f *flags) httpClient() (*http.Client, error) {
	c, err := f.tlsConfig()
	if err != nil || c == nil {
		return http.DefaultClient, err
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}}, nil
}

// token is what the operator gave to show who asks; "": nothing.
func (f *flags) token() (string, error) {
	token := f.c.getenv("SEKI_TOKEN")
	if *f.tokenFile != "" {
		text, err := os.ReadFile(*f.tokenFile)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		token = string(text)
	}
	return strings.TrimSpace(token), nil
}
