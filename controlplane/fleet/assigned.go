package fleet

import "context"

// WaitAssigned waits until every connected node of the groups, each given with a generation,
// runs what that assignment or a later one gives it, or ctx ends; and tells how many do then,
// and how many are connected.
func (f *Fleet) WaitAssigned(ctx context.Context, groups map[string]uint64) (current, connected int) {
	w := f.Watch()
	defer w.Close()
	for {
		current, connected = f.assigned(groups)
		if current == connected {
			return current, connected
		}
		if _, err := w.Next(ctx); err != nil {
			return f.assigned(groups)
		}
	}
}

func (f *Fleet) assigned(groups map[string]uint64) (current, connected int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.nodes {
		generation, ok := groups[m.Group]
		if !ok || !m.Connected {
			continue
		}
		connected++
		if ours(f.epoch, m.Running) && m.Running.Generation >= generation {
			current++
		}
	}
	return current, connected
}

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
