package grpcapi

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/sekifuda/sekifuda/model/fault"
)

// codeOf gives each fault its gRPC code; what is not here is InvalidArgument.
var codeOf = map[fault.Kind]codes.Code{
	fault.NotFound:             codes.NotFound,
	fault.UniqueViolation:      codes.AlreadyExists,
	fault.PrimaryKeyViolation:  codes.AlreadyExists,
	fault.ForeignKeyViolation:  codes.FailedPrecondition,
	fault.ReferencedByOthers:   codes.FailedPrecondition,
	fault.Forbidden:            codes.PermissionDenied,
	fault.Conflict:             codes.Aborted,
	fault.TooLarge:             codes.ResourceExhausted,
	fault.Unavailable:          codes.Unavailable,
	fault.OperationUnsupported: codes.Unimplemented,
}

// status translates an error for a client. What is neither a fault nor a status is a bug or
// an outage: the log gets the detail, the client "internal".
func status(log *slog.Logger, method string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := grpcstatus.FromError(err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return grpcstatus.FromContextError(err).Err()
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		log.Error("admin call", "method", method, "error", err)
		return grpcstatus.Error(codes.Internal, "internal error; the log has the detail")
	}
	code, ok := codeOf[f.Kind]
	if !ok {
		code = codes.InvalidArgument
	}
	st := grpcstatus.New(code, f.Message)
	if v := violations("", map[string]any(f.Fields)); len(v) > 0 {
		if with, err := st.WithDetails(&errdetails.BadRequest{FieldViolations: v}); err == nil {
			st = with
		}
	}
	return st.Err()
}

// violations flattens a fault's fields to paths: "config.minute".
func violations(prefix string, fields map[string]any) []*errdetails.BadRequest_FieldViolation {
	var list []*errdetails.BadRequest_FieldViolation
	for name, v := range fields {
		path := name
		if prefix != "" {
			path = prefix + "." + name
		}
		switch v := v.(type) {
		case string:
			list = append(list, &errdetails.BadRequest_FieldViolation{Field: path, Description: v})
		case fault.Tree:
			list = append(list, violations(path, v)...)
		case map[string]any:
			list = append(list, violations(path, v)...)
		case []any:
			for _, x := range v {
				if s, ok := x.(string); ok {
					list = append(list, &errdetails.BadRequest_FieldViolation{Field: path, Description: s})
				}
			}
		}
	}
	return list
}
