package tracing

import (
	"encoding/hex"
	"fmt"

	"github.com/sekifuda/sekifuda/plugin"
)

// Settings are Kong's "propagation", and the deprecated header_type.
type Settings struct {
	Extract, Inject, Clear []string
	Default                string // format that is written when none was found
	HeaderType             string // counts when the lists say nothing
}

// Propagation is which headers are read, taken out and written.
type Propagation struct {
	extract  []*Format
	clear    []string
	inject   []*Format
	preserve bool // also write the format that was found
	other    *Format
}

// Compile reads settings. An error names the field.
func Compile(c Settings) (Propagation, error) {
	p := Propagation{extract: formats, clear: c.Clear}
	if p.other = formatOf(c.Default); p.other == nil {
		return p, fmt.Errorf("config.propagation.default_format: unknown format %q", c.Default)
	}
	extract, inject := c.Extract, c.Inject
	if len(extract) > 0 {
		p.extract = nil
		for _, name := range extract {
			if name == "b3" { // both of its forms
				p.extract = append(p.extract, formatOf("b3-single"))
			}
			f := formatOf(name)
			if f == nil {
				return p, fmt.Errorf("config.propagation.extract: unknown format %q", name)
			}
			p.extract = append(p.extract, f)
		}
	}
	if len(inject) == 0 {
		inject = []string{"preserve"}
		if len(extract) == 0 && len(p.clear) == 0 {
			switch c.HeaderType {
			case "", "preserve":
			case "ignore":
				p.extract = nil
			default:
				inject = append(inject, c.HeaderType)
			}
		}
	}
	for _, name := range inject {
		if name == "preserve" {
			p.preserve = true
			continue
		}
		f := formatOf(name)
		if f == nil {
			return p, fmt.Errorf("config.propagation.inject: unknown format %q", name)
		}
		p.inject = append(p.inject, f)
	}
	return p, nil
}

// Read finds the trace that a request belongs to, and takes out what is to be taken out. A
// format whose headers are not well formed is passed over. in belongs to the caller, so that
// nothing is allocated.
func (p *Propagation) Read(x *plugin.Exchange, in *Span) (by *Format) {
	h := &x.Request.Header
	*in = Span{}
	for _, f := range p.extract {
		if f.extract(h, in) {
			by = f
			break
		}
		*in = Span{}
	}
	for _, name := range p.clear {
		h.Del(name)
	}
	return by
}

// Write tells the upstream, and the log: there each format that is written has the trace id.
func (p *Propagation) Write(x *plugin.Exchange, s *Span, found *Format) {
	kept := p.other
	if found != nil {
		kept = found
	}
	log := append(make([]byte, 0, 64), '{')
	write := func(f *Format) {
		f.inject(x, s)
		if len(log) > 1 {
			log = append(log, ',')
		}
		log = append(append(append(log, '"'), f.name...), `":"`...)
		log = append(hex.AppendEncode(log, s.Trace[:]), '"')
	}
	if p.preserve {
		write(kept)
	}
	for _, f := range p.inject {
		if !p.preserve || f != kept {
			write(f)
		}
	}
	x.AddLogField("trace_id", append(log, '}'))
}
