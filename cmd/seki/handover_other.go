//go:build !unix

package main

import (
	"context"
	"errors"

	"github.com/sekifuda/sekifuda/dataplane"
)

var errNoHandover = errors.New("sockets cannot be handed over on this system")

type held struct{}

func (*held) close() {}

func (*held) give(*sockets) error { return errNoHandover }

func duplicate([]socket) (*held, error) { return nil, errNoHandover }

func (p *process) spawn(*held) (*successor, error) { return nil, errNoHandover }

func (s *successor) kill() {}

// handOverOnSignal does nothing: there is no such signal.
func (p *process) handOverOnSignal(context.Context, *desk, *dataplane.DataPlane, context.CancelCauseFunc) {
}
