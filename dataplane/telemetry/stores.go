package telemetry

// Store is a store of shared limits as this gate sees it. Counts are since the start.
type Store struct {
	Name     string
	Down     bool // limits are decided without it
	Keys     int64
	Calls    uint64
	Asks     uint64 // questions in these calls
	Admitted uint64 // while it was away
	Refused  uint64 // while it was away
	Outages  uint64
	Gates    int
}

// appendStores writes how limits are decided: by leases or, while a store is away, alone.
func (m *Metrics) appendStores(b []byte) []byte {
	if m.options.Stores == nil {
		return b
	}
	all := m.options.Stores()
	if len(all) == 0 {
		return b
	}
	for _, s := range [...]struct {
		name, kind, help string
		value            func(*Store) uint64
	}{
		{"sekifuda_limits_store_down", "gauge", "Whether shared limits are decided without their store: 1 yes, 0 no.", func(s *Store) uint64 { return truth(s.Down) }},
		{"sekifuda_limits_identifiers", "gauge", "Identifiers that the gate knows of shared limits.", func(s *Store) uint64 { return uint64(max(0, s.Keys)) }},
		{"sekifuda_limits_gates", "gauge", "Gates that share the limits, by what this one heard last.", func(s *Store) uint64 { return unsigned(s.Gates) }},
		{"sekifuda_limits_calls_total", "counter", "Calls that leased tokens.", func(s *Store) uint64 { return s.Calls }},
		{"sekifuda_limits_questions_total", "counter", "Questions in these calls.", func(s *Store) uint64 { return s.Asks }},
		{"sekifuda_limits_outages_total", "counter", "Times that the store was found away.", func(s *Store) uint64 { return s.Outages }},
		{"sekifuda_limits_admitted_alone_total", "counter", "Requests admitted while the store was away.", func(s *Store) uint64 { return s.Admitted }},
		{"sekifuda_limits_refused_alone_total", "counter", "Requests refused while the store was away.", func(s *Store) uint64 { return s.Refused }},
	} {
		b = head(b, s.name, s.kind, s.help)
		for i := range all {
			b = line(b, s.name, `store="`+escape(all[i].Name)+`"`, s.value(&all[i]))
		}
	}
	return b
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
