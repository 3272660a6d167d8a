package guard

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/store"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// Audit notes events in the store's audit log.
type Audit struct {
	Store store.Audit
	Now   func() time.Time
}

var _ Log = Audit{}

// maxText bounds what of an event comes from who asked.
const maxText = 512

// Note implements Log.
func (a Audit) Note(ctx context.Context, e Event) error {
	body, err := proto.Marshal(&controlv1.AuditEvent{
		Who: text(e.Who), From: text(e.From), What: text(e.What), Result: e.Result, Why: text(e.Why), Revision: e.Revision,
	})
	if err != nil {
		return err
	}
	_, err = a.Store.AppendAudit(ctx, a.Now(), body)
	return err
}

// text is a text that a message can hold.
func text(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "?")
}
