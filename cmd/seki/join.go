package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sekifuda/sekifuda/dataplane"
	"github.com/sekifuda/sekifuda/dataplane/feed"
)

// joinSettings say which control plane a node joins, and by what.
type joinSettings struct {
	target    string
	token     string
	tokenFile string
	insecure  bool
}

func (s *joinSettings) flags(f *flags) {
	f.StringVar(&s.target, "control-plane", "", "address of the control plane's feed")
	f.StringVar(&s.token, "join-token", "", "token to enrol with, the first time; seki token create prints one")
	f.StringVar(&s.tokenFile, "join-token-file", "", "file that holds the token to enrol with")
	f.BoolVar(&s.insecure, "feed-insecure", false, "feed without TLS and tokens, on loopback only")
}

func (s *joinSettings) check() error {
	switch {
	case s.target == "":
		return errNoControlPlane
	case s.insecure && !onLoopback(s.target):
		return fmt.Errorf("--feed-insecure is for loopback only, not for --control-plane %s", s.target)
	case s.insecure && (s.token != "" || s.tokenFile != ""):
		return errors.New("--join-token has no use with --feed-insecure")
	case s.token != "" && s.tokenFile != "":
		return errors.New("--join-token and --join-token-file exclude each other")
	}
	return nil
}

// read returns the token, "" for none.
func (s *joinSettings) read() (string, error) {
	if s.tokenFile == "" {
		return strings.TrimSpace(s.token), nil
	}
	text, err := os.ReadFile(s.tokenFile)
	if err != nil {
		return "", fmt.Errorf("--join-token-file: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// join returns who the node is to its control plane, which it asks the first time. With
// --feed-insecure a node is nobody in particular: nil.
func (p *process) join(ctx context.Context, s *joinSettings, nodeID string) (*feed.Identity, error) {
	if s.insecure {
		return nil, nil
	}
	dir := filepath.Join(p.dataDir, "identity")
	identity, err := feed.OpenIdentity(dir, nil)
	if err != nil {
		return nil, err
	}
	is, group := identity.Node()
	if identity.Enrolled() && nodeID != "" && nodeID != is {
		return nil, fmt.Errorf("--node-id %s: the certificate in %s is for node %s; remove that folder to enrol anew", nodeID, dir, is)
	}
	if identity.Enrolled() && !identity.Lost() {
		p.log.Info("enrolled before", "node", is, "group", group, "certificate_until", identity.Expires())
		return identity, nil
	}
	token, err := s.read()
	if err != nil {
		return nil, err
	}
	switch {
	case token != "":
	case identity.Enrolled():
		// It may serve what it has; the control plane says what it thinks of the certificate.
		p.log.Error("the node's certificate expired too long ago to be renewed; enrol with --join-token", "node", is, "expired", identity.Expires())
		return identity, nil
	default:
		return nil, errors.New("the node has not enrolled yet: give it --join-token (seki token create prints one), " +
			"or say --feed-insecure with a control plane on loopback")
	}
	if nodeID == "" {
		if nodeID = is; nodeID == "" {
			if nodeID, err = dataplane.KeptID(filepath.Join(p.dataDir, "node-id")); err != nil {
				return nil, err
			}
		}
	}
	if err := identity.Enroll(ctx, s.target, token, nodeID, p.log); err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	notice(ctx, p.log, "enrolled", "node", nodeID, "certificate_until", identity.Expires())
	return identity, nil
}
