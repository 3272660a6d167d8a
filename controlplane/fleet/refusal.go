package fleet

// Refusal tells why a connected node of the group turned a revision of its staged track down,
// "" when none did.
func (f *Fleet) Refusal(group string, rev uint64) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, m := range f.nodes {
		r := m.Refusal
		if m.Group != group || r.GetRefused().GetStagedRev() != rev || r.GetRefused().GetEpoch() != f.epoch {
			continue
		}
		why := "node " + id + " refused it"
		if r.GetCrashed() {
			why = "node " + id + " died of it"
		}
		if v := r.GetViolations(); len(v) > 0 {
			return why + ": " + v[0].GetObject() + ": " + v[0].GetReason()
		}
		return why + ": " + m.Reason
	}
	return ""
}
