package snapshot

import (
	"google.golang.org/protobuf/encoding/protowire"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

const flavorField = 1 // of feedv1.Settings

// Require has nodes refuse the snapshot unless they were started with the same router flavor:
// otherwise they would serve other routes than the desk shows, and say nothing.
func (r *Rules) Require(routerFlavor string) {
	var body []byte
	if routerFlavor != "" {
		body = protowire.AppendString(protowire.AppendTag(nil, flavorField, protowire.BytesType), routerFlavor)
	}
	r.Fixed = append(r.Fixed, Entry{Kind: feedv1.SettingsKind, ID: feedv1.SettingsID, Body: body})
}
