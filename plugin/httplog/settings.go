package httplog

import "github.com/sekifuda/sekifuda/plugin/outbox"

// settingsOf reads config.queue. The deprecated flat fields count when they differ from their
// old defaults, as in Kong 3.9.1.
func settingsOf(c *Config) (outbox.Settings, error) {
	s, err := outbox.Read(c.GetQueue(), 1)
	if c.QueueSize != nil && c.GetQueueSize() != 1 {
		s.Batch = max(int(c.GetQueueSize()), 1)
	}
	if c.FlushTimeout != nil && c.GetFlushTimeout() != 2 {
		s.Coalesce = outbox.Seconds(c.FlushTimeout, 2)
	}
	return s, err
}
