package replicas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sekifuda/sekifuda/model/fault"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

const (
	// part is how much of a body one message holds; a feed takes none above a MiB.
	part = 256 << 10
	// maxCall bounds the body of a call: what the Admin API takes, and a little.
	maxCall = 11 << 20
)

// Carrier takes along with a call who asks, and what is to be noted of it.
type Carrier interface {
	// Pack is what goes along with a call.
	Pack(ctx context.Context) []byte
	// Serve answers a call that came with that, and reports whether what it did is in the audit log.
	Serve(w http.ResponseWriter, r *http.Request, packed []byte) (noted bool)
	// Noted says at the replica that was asked that the other one has it in the log.
	Noted(ctx context.Context)
}

// Forward has another replica answer a call of the Admin API.
func (r *Replicas) Forward(w http.ResponseWriter, q *http.Request, replica string) error {
	p := r.peer(replica)
	if p == nil || p.client == nil {
		return unreached(errors.New("it has no feed"))
	}
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(q.Context())
	defer cancel()
	s, err := p.client.Call(ctx)
	if err != nil {
		return unreached(err)
	}
	head := &controlv1.CallRequest{Method: q.Method, Target: q.URL.RequestURI(), Remote: q.RemoteAddr, Host: q.Host, Headers: headers(q.Header), Packed: r.Carrier.Pack(q.Context())}
	if err := s.Send(head); err != nil {
		return unreached(err)
	}
	for chunk := range slices.Chunk(body, part) {
		if err := s.Send(&controlv1.CallRequest{Body: chunk}); err != nil {
			return unreached(err)
		}
	}
	if err := s.CloseSend(); err != nil {
		return unreached(err)
	}
	return r.answer(w, q, s)
}

// Everywhere has all replicas that keep windows answer a call without a body, and returns the
// bodies of those that do.
func (r *Replicas) Everywhere(q *http.Request) (bodies [][]byte, err error) {
	keepers, err := r.keepers(q.Context())
	for _, replica := range keepers {
		w := newRecorded()
		if err := r.Forward(w, q, replica); err == nil {
			bodies = append(bodies, w.body.Bytes())
		}
	}
	return bodies, err
}

func (r *Replicas) answer(w http.ResponseWriter, q *http.Request, s controlv1.ReplicaService_CallClient) error {
	first, err := s.Recv()
	if err != nil {
		return unreached(err)
	}
	if first.GetNoted() {
		r.Carrier.Noted(q.Context())
	}
	h := w.Header()
	for _, x := range first.GetHeaders() {
		h[x.GetName()] = x.GetValues()
	}
	w.WriteHeader(int(first.GetStatus()))
	for {
		res, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			panic(http.ErrAbortHandler) // the client must not take a part for the whole
		}
		if _, err := w.Write(res.GetBody()); err != nil {
			return nil // the client is gone
		}
	}
}

func unreached(err error) error {
	return &fault.Error{Kind: fault.Unavailable, Err: err,
		Message: "the control plane that keeps this window does not answer: " + status.Convert(err).Message()}
}

func headers(h http.Header) []*controlv1.Header {
	list := make([]*controlv1.Header, 0, len(h))
	for name, values := range h {
		list = append(list, &controlv1.Header{Name: name, Values: values})
	}
	return list
}

// Call implements controlv1.ReplicaServiceServer.
func (s *service) Call(stream controlv1.ReplicaService_CallServer) error {
	if err := s.admit(stream.Context()); err != nil {
		return err
	}
	head, err := stream.Recv()
	if err != nil {
		return err
	}
	if s.replicas.Carrier == nil {
		return status.Error(codes.Unimplemented, "this control plane has no Admin API")
	}
	body, err := whole(stream)
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(stream.Context(), head.GetMethod(), head.GetTarget(), bytes.NewReader(body))
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	q.RemoteAddr, q.Host, q.RequestURI = head.GetRemote(), head.GetHost(), head.GetTarget()
	for _, x := range head.GetHeaders() {
		q.Header[x.GetName()] = x.GetValues()
	}
	w := newRecorded()
	noted := s.replicas.Carrier.Serve(w, q, head.GetPacked())
	if err := stream.Send(&controlv1.CallResponse{Status: uint32(w.status), Headers: headers(w.header), Noted: noted}); err != nil {
		return err
	}
	for chunk := range slices.Chunk(w.body.Bytes(), part) {
		if err := stream.Send(&controlv1.CallResponse{Body: chunk}); err != nil {
			return err
		}
	}
	return nil
}

func whole(stream controlv1.ReplicaService_CallServer) ([]byte, error) {
	var body []byte
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
		if body = append(body, res.GetBody()...); len(body) > maxCall {
			return nil, status.Error(codes.ResourceExhausted, fmt.Sprintf("a call has at most %d bytes", maxCall))
		}
	}
}

// recorded is an answer until it is sent on.
type recorded struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

func newRecorded() *recorded { return &recorded{header: http.Header{}, status: http.StatusOK} }

// Header implements http.ResponseWriter.
func (w *recorded) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *recorded) WriteHeader(code int) {
	if !w.wrote {
		w.wrote, w.status = true, code
	}
}

// Write implements http.ResponseWriter.
func (w *recorded) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}
