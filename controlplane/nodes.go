package controlplane

import (
	"context"
	"encoding/hex"

	"github.com/sekifuda/sekifuda/controlplane/replicas"
)

// dataPlanes shows the nodes of all replicas as Kong's /clustering/data-planes does.
type dataPlanes struct{ replicas *replicas.Replicas }

// DataPlanes implements adminapi.Fleet.
func (d dataPlanes) DataPlanes(ctx context.Context) []map[string]any {
	rows := []map[string]any{}
	for _, n := range asked(d).List(ctx) {
		labels := map[string]any{}
		for k, v := range n.GetLabels() {
			labels[k] = v
		}
		state := "normal"
		if n.GetRefusal() != nil {
			state = "filter_set_incompatible"
		}
		seen := n.GetLastSeen().AsTime().Unix()
		rows = append(rows, map[string]any{
			"id": n.GetId(), "hostname": n.GetHostname(), "ip": n.GetIp(), "version": n.GetVersion(), "last_seen": seen,
			"updated_at": seen, "config_hash": configHash(n.GetRunning().GetSetHash()), "sync_status": state,
			"labels": labels, "cert_details": map[string]any{}, "rpc_capabilities": []any{},
			"connected": n.GetConnected(), "revision": n.GetRunning().GetStagedRev(), "target_revision": n.GetTarget().GetStagedRev(),
		})
	}
	return rows
}

// configHash is as long as Kong's: 32 digits, all zero for a node that runs nothing.
func configHash(set []byte) string {
	var head [16]byte
	copy(head[:], set)
	return hex.EncodeToString(head[:])
}
