package telemetry

import "time"

// State is how the node stands.
type State struct {
	Staged, Live uint64 // revisions of the two tracks that it enforces; 0: none yet
	Connected    bool   // to a control plane
	Refusing     bool   // it goes on with what it runs instead of what it was sent last
	OnDisk       bool   // what it runs would survive a restart without a control plane
	// Certificate is when the node's own certificate expires; zero: it has none.
	Certificate time.Time
}

// appendState writes how the node stands.
func (m *Metrics) appendState(b []byte) []byte {
	if m.options.State == nil {
		return b
	}
	s := m.options.State()
	b = head(b, "sekifuda_node_revision", "gauge", "Revision that the node enforces, by track.")
	b = line(b, "sekifuda_node_revision", `track="staged"`, s.Staged)
	b = line(b, "sekifuda_node_revision", `track="live"`, s.Live)
	for _, g := range []struct {
		name, help string
		is         bool
	}{
		{"sekifuda_feed_connected", "Whether the node has a stream from a control plane: 1 yes, 0 no.", s.Connected},
		{"sekifuda_feed_refusing", "Whether the node refused what it was sent last and goes on with what it runs: 1 yes, 0 no.", s.Refusing},
		{"sekifuda_snapshot_on_disk", "Whether what the node runs would survive a restart without a control plane: 1 yes, 0 no.", s.OnDisk},
	} {
		b = head(b, g.name, "gauge", g.help)
		b = line(b, g.name, "", truth(g.is))
	}
	if !s.Certificate.IsZero() {
		b = head(b, "sekifuda_node_certificate_expires_timestamp_seconds", "gauge", "When the node's own certificate expires.")
		b = line(b, "sekifuda_node_certificate_expires_timestamp_seconds", "", uint64(max(s.Certificate.Unix(), 0)))
	}
	return b
}
