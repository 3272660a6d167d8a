package lease

import "math"

// demand is how much is asked for in a time constant: an average that forgets exponentially.
type demand struct {
	perNano float64
	at      int64
	issued  int64   // tokens that were put into the bucket less those that were taken out unused
	spent   int64   // of these, known to perNano
	joined  int64   // requests that took the slow path since the last measure
	peak    float64 // as of the last question
}

// measure returns what is spent in a horizon. held is what is in the bucket.
func (d *demand) measure(now, held, horizon int64) float64 {
	spent := d.issued - held
	events := float64(spent - d.spent + d.joined)
	d.spent, d.joined = spent, 0
	h := float64(horizon)
	if d.at == 0 {
		d.at = now
	}
	dt := float64(now - d.at)
	if dt < 1 {
		d.perNano += events / h
		return d.perNano * h
	}
	d.at = now
	kept := math.Exp(-dt / h)
	d.perNano = d.perNano*kept + events/dt*(1-kept)
	return d.perNano * h
}

// put notes that tokens came, or with a negative n that they were taken back.
func (d *demand) put(n int64) { d.issued += n }
