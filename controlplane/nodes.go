package controlplane

import "github.com/sekifuda/sekifuda/controlplane/fleet"

// dataPlanes shows the fleet as Kong's /clustering/data-planes does.
type dataPlanes struct{ fleet *fleet.Fleet }

// DataPlanes implements adminapi.Fleet.
func (d dataPlanes) DataPlanes() []map[string]any {
	rows := []map[string]any{}
	for _, n := range d.fleet.Nodes() {
		labels := map[string]any{}
		for k, v := range n.Labels {
			labels[k] = v
		}
		state := "normal"
		if n.Refusal != nil {
			state = "filter_set_incompatible"
		}
		rows = append(rows, map[string]any{
			"id": n.ID, "hostname": n.Hostname, "ip": n.IP, "version": n.Version, "last_seen": n.LastSeen.Unix(),
			"updated_at": n.LastSeen.Unix(), "config_hash": n.Running.Hash.String()[:32], "sync_status": state,
			"labels": labels, "cert_details": map[string]any{}, "rpc_capabilities": []any{},
			"connected": n.Connected, "revision": n.Running.Staged, "target_revision": n.Target.Staged,
		})
	}
	return rows
}
