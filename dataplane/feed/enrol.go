package feed

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// renewable is how long an expired certificate can still be renewed; the control plane has
// the last word.
const renewable = 7 * 24 * time.Hour

// callTimeout bounds one try to enrol or to renew.
const callTimeout = 10 * time.Second

// Enroll trades a join token for the node's certificate. It waits for a control plane that
// does not answer; a refusal is the error.
func (i *Identity) Enroll(ctx context.Context, target, token, node string, log *slog.Logger, dial ...grpc.DialOption) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(parts[2]) != 64 {
		return errors.New("join token: expected ID.SECRET.DIGEST as seki token create prints it")
	}
	csr, err := i.request()
	if err != nil {
		return err
	}
	verdict := &verdict{}
	cc, err := Dial(target, i.pinned(parts[2], verdict), dial...)
	if err != nil {
		return err
	}
	defer cc.Close()
	for failed := 0; ; failed++ {
		err := i.enroll(ctx, cc, &feedv1.EnrollRequest{Token: token, NodeId: node, Csr: csr, NodeTime: timestamppb.New(i.clock.Now())})
		if err == nil {
			return nil
		}
		if said := verdict.get(); said != nil {
			return said
		}
		if !temporary(err) {
			return said(err)
		}
		d := backoff(failed)
		log.WarnContext(ctx, "waiting for the control plane to enrol", "control_plane", target, "error", err, "again_in", d)
		select {
		case <-i.clock.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (i *Identity) enroll(ctx context.Context, cc grpc.ClientConnInterface, q *feedv1.EnrollRequest) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := feedv1.NewBootstrapServiceClient(cc).Enroll(ctx, q)
	if err != nil {
		return err
	}
	return i.keep(res.GetIdentity())
}

// temporary tells an outage from a refusal.
func temporary(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Canceled, codes.ResourceExhausted:
		return true
	}
	return false
}

// said is a refusal in the control plane's words alone.
func said(err error) error {
	if st, ok := status.FromError(err); ok {
		return errors.New(st.Message())
	}
	return err
}

// verdict is what a handshake found wrong with the other end: gRPC only says that there is no
// connection.
type verdict struct {
	mu  sync.Mutex
	err error
}

func (v *verdict) set(err error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
	return err
}

func (v *verdict) get() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

// renewal is when the certificate is to be renewed: at two thirds of its life.
func (i *Identity) renewal() time.Time {
	i.mu.RLock()
	defer i.mu.RUnlock()
	c := i.certificate
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3)
}

// renewAgain is the longest pause before a renewal that was refused is tried again: an
// operator may have changed their mind.
const renewAgain = time.Minute

// renewing keeps the certificate fresh until ctx ends. The node works on with what it runs,
// whatever comes of it.
func (i *Identity) renewing(ctx context.Context, cc grpc.ClientConnInterface, log *slog.Logger) {
	for failed := 0; ; {
		wait := i.renewal().Sub(i.clock.Now())
		if failed > 0 {
			wait = min(backoff(failed)*time.Duration(failed), renewAgain)
		}
		select {
		case <-i.clock.After(max(wait, 0)):
		case <-ctx.Done():
			return
		}
		err := i.renew(ctx, cc)
		switch {
		case err == nil:
			log.InfoContext(ctx, "certificate renewed", "expires", i.Expires())
			failed = 0
			i.conns.drop() // the new one is shown on new connections
		case ctx.Err() != nil:
			return
		default:
			failed++
			log.WarnContext(ctx, "certificate is not renewed", "expires", i.Expires(), "error", said(err))
		}
	}
}

func (i *Identity) renew(ctx context.Context, cc grpc.ClientConnInterface) error {
	csr, err := i.request()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := feedv1.NewBootstrapServiceClient(cc).Renew(ctx, &feedv1.RenewRequest{Csr: csr})
	if err != nil {
		return err
	}
	return i.keep(res.GetIdentity())
}
